"""The data plane: answer predictions, whatever happens around it.

`Supervisor` is the parent of one server: it holds the sockets and keeps workers alive. A `Worker`
answers: HTTP (`transport`), JSON to columns and back (`dialect`), who answers (`route`), how a model
runs (`engine`), what is written down before an answer leaves (`journal`). The `Shadow` re-scores
captured requests with a challenger that answers nobody. Started by `python -m shipway.wiring.server`.

A worker needs a route table and bundles on local disk and nothing else: with the control plane, the
database and the object store all gone it serves on. No pandas, pyarrow, SQLAlchemy, pydantic or
template engine is ever imported in these processes.

Not here: what should be served (see `shipway.endpoint`), and whether a challenger is good enough
(see `shipway.rollout`). Names are imported from their modules, so that a process loads only its own.
"""
