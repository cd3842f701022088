"""Who answers: the route table as a worker holds it, assignment, fallback, the fuse.

A worker swaps one reference per table; each request pins the table it began with. A challenger
that raises, answers nonsense, hangs or dies costs its caller nothing: the champion answers in the
same request, and the failure counts against the challenger.

Not here: how a model runs (see `shipway.serve.engine`), and what is published
(see `shipway.endpoint`).
"""
