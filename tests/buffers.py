"""Full sockets: how much the kernel holds of what is sent and not read.

By default Linux lets the buffers of a TCP connection grow to what ``net.ipv4.tcp_wmem`` and
``net.ipv4.tcp_rmem`` allow, which on some machines is more than any test sends. A test that needs
a full socket gives its own sockets small buffers (:func:`bound`), and then sends :data:`MANY`
bytes. Where the other socket belongs to a server process, which no test can reach, it sends
:func:`more_than_buffers`.
"""

from __future__ import annotations

import socket
from pathlib import Path

BUFFER = 1 << 16
"""Bytes that a bounded socket asks for, either way. Linux reserves twice as many."""

MANY = 4 << 20
"""More bytes than two bounded sockets hold, by far."""


def bound(sock: socket.socket) -> None:
    """Give a socket buffers of a small fixed size, which the kernel no longer tunes.

    This must happen before it connects: whoever has been promised more room sends more, and what
    then does not fit is lost and sent again. What a listening socket accepts inherits the sizes.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


def bounded_listener() -> socket.socket:
    """Give a socket that listens on a free port of this machine, with small buffers."""
    listening = socket.socket()
    bound(listening)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


def bounded_client(port: int) -> socket.socket:
    """Give a socket that is connected to a port of this machine, with small buffers."""
    sock = socket.socket()
    bound(sock)
    sock.connect(("127.0.0.1", port))
    return sock


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Give two sockets of this machine that are connected, with small buffers."""
    with bounded_listener() as listening:
        ours = bounded_client(listening.getsockname()[1])
        theirs, _ = listening.accept()
    return ours, theirs


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Give two Unix sockets that are connected, with small buffers."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    bound(ours)
    bound(theirs)
    return ours, theirs


def most_held() -> int:
    """Give how many bytes the kernel holds at most from one process to another.

    That is the largest send buffer and the largest receive buffer which it grows to by itself.
    """
    return _largest("tcp_wmem") + _largest("tcp_rmem")


def more_than_buffers(between: int = 0) -> int:
    """Give how many bytes fill a server's socket whose peer is bounded and does not read.

    :param between: how many connections the bytes pass before, none of them with a bounded socket.
    """
    return _largest("tcp_wmem") + between * most_held() + MANY


def _largest(name: str) -> int:
    """Give the size up to which the kernel tunes a buffer; where it cannot say, Linux's own."""
    try:
        sizes = Path("/proc/sys/net/ipv4", name).read_text().split()
    except OSError:
        return 6 << 20
    return max(map(int, sizes))
