"""The servers that `serve.py` compares with. Each prints its port and answers until it is ended.

python bench/rivals.py hello                   a constant answer on shipway's own transport: the floor
python bench/rivals.py fastapi BUNDLE_FOLDER   FastAPI, uvicorn and ONNX Runtime, as one writes it by hand
"""

import asyncio
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def listening() -> socket.socket:
    """Take a free port and say which."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    return sock


def hello() -> None:
    """Answer every request with the same bytes."""
    from shipway.serve.transport.exchange import Exchange  # noqa: PLC0415 - only this rival is ours
    from shipway.serve.transport.http import HttpServer  # noqa: PLC0415
    from shipway.serve.transport.loop import run  # noqa: PLC0415

    def application(exchange: Exchange) -> None:
        exchange.answer(200, b'{"hello":"world"}')

    async def serve() -> int:
        await HttpServer(application, time.time).listen(listening())
        await asyncio.Event().wait()
        return 0

    run(serve())


def fastapi(folder: Path) -> None:
    """Serve the model of a bundle: pydantic checks a row, a dict finds the number of a level, one session answers."""
    import onnxruntime  # noqa: PLC0415 - a rival loads only what it needs
    import uvicorn  # noqa: PLC0415
    from fastapi import FastAPI  # noqa: PLC0415
    from pydantic import BaseModel, create_model  # noqa: PLC0415

    manifest = json.loads((folder / "manifest.json").read_bytes())
    options, signature = manifest["runtime"]["options"], manifest["signature"]
    tables = json.loads((folder / options["encoding"]).read_bytes())["columns"]
    thread = onnxruntime.SessionOptions()
    thread.intra_op_num_threads = thread.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / manifest["runtime"]["entry"]), thread)
    fields: dict[str, Any] = {c["name"]: (str if c["datatype"] == "BYTES" else float, ...) for c in signature["inputs"]}
    row = create_model("Row", **fields)
    classes, name, probability = signature["classes"], options["input"], options["probability"]
    levels = [(c["column"], c.get("levels"), c.get("unknown")) for c in tables]

    class Rows(BaseModel):
        rows: list[row]  # type: ignore[valid-type]

    app = FastAPI()

    @app.post("/predict")
    async def predict(asked: Rows) -> dict[str, Any]:
        x = np.array([
            [found.get(getattr(r, c), other) if found else getattr(r, c) for c, found, other in levels]
            for r in asked.rows
        ], np.float64)  # fmt: skip
        chances = session.run([probability], {name: x})[0].reshape(len(x), -1)
        if chances.shape[1] == 1:
            chances = np.hstack([1 - chances, chances])
        answers = [
            {"label": classes[best], "probability": dict(zip(classes, each, strict=True))}
            for best, each in zip(chances.argmax(axis=1).tolist(), chances.tolist(), strict=True)
        ]
        return {"rows": answers}

    sock = listening()
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="error")
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    if sys.argv[1] == "hello":
        hello()
    else:
        fastapi(Path(sys.argv[2]))
