"""A small real server whose behaviour a test writes down, connection by connection."""

import socket
import threading
from contextlib import contextmanager

import pytest


class Peer:
    """Accepts connections on loopback and hands each to a function of the test."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.connections = 0
        self.requests = []

    def serve(self, *talks):
        """Give the n-th connection to the n-th function; the last one takes all further ones."""

        def run():
            while True:
                try:
                    connection, _ = self.listening.accept()
                except OSError:
                    return
                talk = talks[min(self.connections, len(talks) - 1)]
                self.connections += 1
                threading.Thread(target=self._talk, args=(talk, connection), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        return self

    @staticmethod
    def _talk(talk, connection):
        with connection, connection.makefile("rb") as reader:
            talk(reader, connection)

    def read(self, reader):
        """Read one request: (first line, headers, body), or None at the end."""
        first = reader.readline().decode().strip()
        if not first:
            return None
        headers = {}
        while line := reader.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", 0)))
        self.requests.append((first, headers, body))
        return self.requests[-1]

    def close(self):
        self.listening.close()


def response(body=b"{}", status="200 OK", *headers):
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "content-type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextmanager
def opened():
    peer = Peer()
    try:
        yield peer
    finally:
        peer.close()


@pytest.fixture
def peer():
    with opened() as one:
        yield one


@pytest.fixture
def reply():
    return response
