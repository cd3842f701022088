"""Listening sockets that outlive every worker."""

import socket
from collections.abc import Sequence

from shipway.errors import Unavailable

BACKLOG = 2048


def bind_all(host: str, port: int, count: int) -> list[socket.socket]:
    """Bind and listen on one SO_REUSEPORT socket per worker, all on one port.

    Args:
        host: address or name.
        port: 0 takes any free one.
        count: how many.

    Raises:
        Unavailable: the port is in use, or the address is not ours.
    """
    # With SO_REUSEPORT a second server of the same user would share the port in silence: ask without it first.
    probe = bind_one(host, port)
    port = probe.getsockname()[1]
    probe.close()
    return [_bind(host, port, shared=True) for _ in range(count)]


def adopt(descriptors: Sequence[int]) -> list[socket.socket]:
    """Take over listening sockets that the parent process holds: they outlive this process, and so do their queues."""
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for sock in sockets:
        sock.setblocking(False)
        sock.set_inheritable(False)
    return sockets


def bind_one(host: str, port: int) -> socket.socket:
    """Bind and listen on a socket of its own.

    Raises:
        Unavailable: the port is in use, or the address is not ours.
    """
    return _bind(host, port, shared=False)


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
    except OSError as exc:
        raise Unavailable(
            f"cannot listen on {host} port {port}: {exc.strerror}", fix="choose another port, or stop what uses it"
        ) from exc
    sock.setblocking(False)
    return sock
