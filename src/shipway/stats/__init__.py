"""Pure statistics on numpy arrays: what the rooms above decide with.

No function here reads a clock, a file or chance that was not handed in; all are functions of counts
or arrays, so that a decision recomputes from its record.

    evalue        log e-values for two arms of a split, from failure counts per propensity
    paired        log e-values for shadow pairs, from counts of discordant pairs
    intervals     Wilson interval; an always-valid interval for a difference
    sample_ratio  log Bayes factor that assignment went wrong
    metrics       weighted metrics of classifiers and regressors, with bootstrap intervals
    planner       how many requests a decision will take

Import the module you need; this package imports none by itself, because workers load parts of it.
"""
