"""When and where a model runs: inline in the worker, or in a runner, a child process of its own.

`Loader` opens bundles in one thread beside the loop and admits none that has not answered its own
examples. An `InlineEngine` runs in the loop; a `RunnerEngine` hands columns to a child that can be
killed.

Not here: which model answers which request (see `shipway.serve.route`).
"""
