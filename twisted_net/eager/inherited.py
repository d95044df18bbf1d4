"""Listening sockets that another process has passed to this one.

An endpoint makes its listening socket itself, deep inside. So while :func:`inheriting` is active,
what would make one takes the inherited socket instead, with everything that the endpoint adds to
it: TLS, the PROXY protocol, socket options.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.lockfile import FilesystemLock

from twisted_net.eager.ports import EagerPort

_waiting: list[socket.socket] = []


def take_inherited() -> socket.socket | None:
    """Return the socket to listen on, once; None if a new one is to be made."""
    return _waiting.pop() if _waiting else None


@contextmanager
def inheriting(listening: socket.socket | None) -> Iterator[None]:
    """Let the reactor's next port take this socket. It is closed if none has taken it.

    :param listening: None changes nothing.
    """
    if listening is None:
        yield
        return
    from twisted.internet import reactor

    _waiting.append(listening)
    is_stock = getattr(type(reactor), "listenTCP", None) is PosixReactorBase.listenTCP
    replaced = _stock_calls(reactor) if is_stock else {}
    vars(reactor).update(replaced)
    try:
        yield
    finally:
        for name in replaced:
            delattr(reactor, name)
        if take_inherited() is not None:
            listening.close()


def adopt_port(kind: Any, listening: socket.socket, factory: Any, reactor: Any) -> Any:
    """Return a TCP port that listens on an inherited socket."""
    port = kind._fromListeningDescriptor(reactor, listening.fileno(), listening.family, factory)
    listening.close()
    port.startListening()
    if isinstance(port, EagerPort):  # not of a transparent proxy: this process would make it so
        port.share_host()
    return port


def adopt_unix_port(
    kind: Any, listening: socket.socket, factory: Any, reactor: Any, mode: int, lock: bool
) -> Any:
    """Return a port of a Unix socket that listens on an inherited socket.

    :param mode: the permissions of the path.
    :param lock: whether a link beside it names the process that listens.
    """
    port = kind._fromListeningDescriptor(reactor, listening.fileno(), factory)
    listening.close()
    port.mode = mode
    port.startListening()
    if lock:
        path = port.getHost().name + b".lock"
        port.lockFile = _InheritedLock(path)  # type: ignore[no-untyped-call]
    return port


class _InheritedLock(FilesystemLock):
    """The link beside a Unix socket, which still names the process that has listened before."""

    def take_over(self) -> None:
        """Let the link name this process."""
        path = os.fsencode(self.name)
        made = path + b".%d" % os.getpid()
        os.symlink(str(os.getpid()), made)
        os.rename(made, path)
        self.locked = True
        self.clean = True

    def unlock(self) -> None:
        if self.locked:
            super().unlock()  # type: ignore[no-untyped-call]


def take_over_lock(port: Any) -> None:
    """Let the link beside a Unix socket name this process, if there is one."""
    lock = getattr(port, "lockFile", None)
    if isinstance(lock, _InheritedLock):
        lock.take_over()


def _stock_calls(reactor: Any) -> dict[str, Any]:
    """Return the methods of a reactor that listen, with Twisted's own ports."""
    kind: Any = type(reactor)

    def listen_tcp(port: Any, factory: Any, *more: Any, **named: Any) -> Any:
        listening = take_inherited()
        if listening is None:
            return kind.listenTCP(reactor, port, factory, *more, **named)
        return adopt_port(tcp.Port, listening, factory, reactor)

    def listen_unix(
        address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: Any = 0
    ) -> Any:
        listening = take_inherited()
        if listening is None:
            return kind.listenUNIX(reactor, address, factory, backlog, mode, wantPID)
        return adopt_unix_port(unix.Port, listening, factory, reactor, mode, bool(wantPID))

    return {"listenTCP": listen_tcp, "listenUNIX": listen_unix}
