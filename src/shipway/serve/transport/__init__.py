"""HTTP/1.1 for the data plane: our own protocol on uvloop and httptools.

`HttpServer` accepts on sockets that it is given, hands each complete request to one function as an
`Exchange`, and sends answers in the order of their requests. llhttp parses; we never do.

Not here: what a request means (see `shipway.serve.dialect` and `shipway.serve.worker`).
"""
