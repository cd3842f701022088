"""Callers that keep asking, and notice every request that was sent and not answered."""

import http.client
import json
import threading
import time


class Load:
    """Some callers with kept connections. A context manager: they ask while the block runs."""

    def __init__(self, port, *, callers=4, pause_s=0.002, per_connection=50):
        self.port = port
        self.pause_s = pause_s
        self.per_connection = per_connection
        self.answered = []
        self.failures = []
        self.refused = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(callers)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, caller):
        connection = None
        count = 0
        while not self._stop.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                    connection.connect()
            except OSError:
                self.refused += 1
                connection = None
                if self._stop.wait(0.05):
                    return
                continue
            count += 1
            try:
                body = json.dumps({"rows": [{"x": count % 50 + 1.0, "y": float(caller)}]})
                connection.request("POST", "/v2/models/toy/infer", body)
                answer = connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    self.answered.append((answer.getheader("shipway-event-id"), answer.getheader("shipway-variant")))
                else:
                    self.failures.append((answer.status, text))
                closing = answer.getheader("connection") == "close"
            except (OSError, http.client.HTTPException) as exc:
                self.failures.append(("lost", repr(exc)))
                closing = True
            if closing or count % self.per_connection == 0:
                connection.close()
                connection = None
            time.sleep(self.pause_s)
        if connection is not None:
            connection.close()

    def ids(self):
        return {event for event, _ in self.answered}
