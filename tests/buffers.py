"""Full sockets: how much unread data the kernel buffers.

By default, Linux lets the buffers of a TCP connection grow up to ``net.ipv4.tcp_wmem`` and
``net.ipv4.tcp_rmem``. On some machines this is more than any test sends. A test that needs a full
socket gives its own sockets small buffers (:func:`bound`) and sends :data:`MANY` bytes. If the
other socket belongs to a server process, which the test cannot change, it sends
:func:`more_than_buffers`.
"""

from __future__ import annotations

import socket
from pathlib import Path

BUFFER = 1 << 16
"""The buffer size in bytes of a bounded socket, in each direction. Linux reserves twice as much."""

MANY = 4 << 20
"""Far more bytes than two bounded sockets can hold."""


def bound(sock: socket.socket) -> None:
    """Give a socket buffers of a small fixed size, which the kernel no longer tunes.

    Call this before the socket connects. A peer that has been promised more room sends more, and
    what does not fit is lost and sent again. Accepted sockets inherit the sizes of the listening
    socket.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


def bounded_listener() -> socket.socket:
    """Return a socket with small buffers that listens on a free local port."""
    listening = socket.socket()
    bound(listening)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


def bounded_client(port: int) -> socket.socket:
    """Return a socket with small buffers that is connected to a local port."""
    sock = socket.socket()
    bound(sock)
    sock.connect(("127.0.0.1", port))
    return sock


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected local TCP sockets with small buffers."""
    with bounded_listener() as listening:
        ours = bounded_client(listening.getsockname()[1])
        theirs, _ = listening.accept()
    return ours, theirs


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected Unix sockets with small buffers."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    bound(ours)
    bound(theirs)
    return ours, theirs


def most_held() -> int:
    """Return the most bytes that the kernel buffers between two processes.

    This is the sum of the largest send buffer and the largest receive buffer that it tunes to.
    """
    return _largest("tcp_wmem") + _largest("tcp_rmem")


def more_than_buffers(between: int = 0) -> int:
    """Return how many bytes fill a server's socket if its peer is bounded and does not read.

    :param between: the number of connections in between, none of which has a bounded socket.
    """
    return _largest("tcp_wmem") + between * most_held() + MANY


def _largest(name: str) -> int:
    """Return the largest size to which the kernel tunes a buffer, or Linux's default if unknown."""
    try:
        sizes = Path("/proc/sys/net/ipv4", name).read_text().split()
    except OSError:
        return 6 << 20
    return max(map(int, sizes))
