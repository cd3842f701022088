"""How callers speak: Open Inference Protocol V2 and plain records, both as strict JSON.

A dialect turns a body into columns and columns into a body; it never runs a model. `strict` refuses
what JSON does not define (NaN, infinities, duplicate keys, lone surrogates) with a sentence.

Not here: HTTP (see `shipway.serve.transport`), and who answers (see `shipway.serve.route`).
"""
