"""Passes accepted connections from the supervisor to a worker, over a pair of Unix sockets.

A message is one descriptor (``SCM_RIGHTS``, unix(7)) and some bytes: the listener's number, the
address family, what the supervisor has decided, and the address of the peer, which may be gone by
then. The sockets keep the borders of messages (``SOCK_SEQPACKET``), so that half a message cannot
happen.

One other message goes the same way: the socket to a new process that is to go on with the worker's
connections, with its process id.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_net.policy.close_reasons import DENIED, FULL, TOO_FAST, TOO_MANY, CloseReason

MOST_LISTENERS = 255

_MESSAGE = struct.Struct("!BBB")
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
_LARGEST = 256  # bytes of a message; an address has up to 45
_OPEN = 255  # the worker decides
_SUCCESSOR = 254  # it is no connection, but the socket to a new process
_REFUSALS = (None, FULL, TOO_MANY, TOO_FAST, DENIED)

_AT_ONCE, _SECONDS = 16, 0.0005
"""As an eager port: the most connections in a turn, and the time after which there are no more."""

_FULL = (errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS)

_log = Logger()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the supervisor has decided about a connection.

    :ivar is_open: it has not: the worker decides, because it alone will know the client's address.
    :ivar refusal: why the client is refused; None if it is admitted.
    """

    is_open: bool = False
    refusal: CloseReason | None = None


@dataclass(frozen=True, slots=True)
class HandedConnection:
    """A connection that was passed on.

    :ivar listener: the number of the listener that has accepted it.
    :ivar host: the address of its peer; None for a Unix socket.
    """

    listener: int
    descriptor: int
    family: socket.AddressFamily
    decision: Decision
    host: str | None


ADMITTED = Decision()
LEFT_TO_WORKER = Decision(is_open=True)


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Return the supervisor's end and the worker's end."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    its.setblocking(False)
    return ours, its


def hand_over(
    to: socket.socket,
    connection: socket.socket,
    listener: int,
    what: Decision,
    host: str | None = None,
) -> bool:
    """Pass a connection on. This process should then close its own descriptor.

    :param host: the address of its peer; None for a Unix socket.
    :return: False if the worker has so many waiting that there is no room.
    :raises OSError: the worker is gone.
    """
    return _send(to, connection, listener, encode_decision(what), host or "")


def encode_decision(what: Decision) -> int:
    """Return a decision as a number."""
    return _OPEN if what.is_open else _REFUSALS.index(what.refusal)


def decode_decision(code: int) -> Decision:
    """Return the decision of :func:`encode_decision`."""
    return LEFT_TO_WORKER if code == _OPEN else Decision(refusal=_REFUSALS[code])


def hand_successor(to: socket.socket, end: socket.socket, pid: int) -> bool:
    """Pass on the socket to a new process, which is to go on with the worker's connections.

    :param pid: its process id.
    :return: False if there is no room.
    :raises OSError: the worker is gone.
    """
    return _send(to, end, 0, _SUCCESSOR, str(pid))


def _send(to: socket.socket, passed: socket.socket, listener: int, code: int, text: str) -> bool:
    data = _MESSAGE.pack(listener, _FAMILIES.index(passed.family), code) + text.encode()
    rights = array.array("i", [passed.fileno()])
    try:
        to.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    except OSError as error:
        if error.errno in _FULL:
            return False
        raise
    return True


@implementer(IReadDescriptor)
class HandoffReader:
    """Takes the connections that the supervisor passes on.

    :param source: the worker's end.
    :param take: called with each connection. It may keep a copy of the descriptor.
    :param succeed: called with the descriptor of the socket to a new process, and the process's id.
        It may keep a copy of the descriptor.
    """

    def __init__(
        self,
        reactor: Any,
        source: socket.socket,
        take: Callable[[HandedConnection], object],
        succeed: Callable[[int, int], object] = lambda descriptor, pid: None,
    ) -> None:
        self._reactor = reactor
        self._source = source
        self._take = take
        self._succeed = succeed
        self._is_paused = False

    def start(self) -> None:
        """Begin to take connections, or go on."""
        self._is_paused = False
        self._reactor.addReader(self)

    def pause(self) -> None:
        """Let connections wait in the socket."""
        self._is_paused = True
        self._reactor.removeReader(self)

    def close(self) -> None:
        """Take no more. What waits is another process's, if that has the socket too."""
        self.pause()
        self._source.close()

    def take_all(self) -> None:
        """Take what is waiting, and then no more."""
        while self._take_one():
            pass
        self._reactor.removeReader(self)

    # For the reactor.

    def fileno(self) -> int:
        return self._source.fileno()

    def logPrefix(self) -> str:
        return "handoff"

    def doRead(self) -> Any:
        started = perf_counter()
        for _ in range(_AT_ONCE):
            if self._is_paused or not self._take_one() or perf_counter() - started > _SECONDS:
                return None
        return None

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops, or has found the descriptor bad."""

    def _take_one(self) -> bool:
        size = socket.CMSG_SPACE(array.array("i").itemsize)
        try:
            data, rights, _, _ = self._source.recvmsg(_LARGEST, size)
        except BlockingIOError:
            return False
        except OSError:
            data, rights = b"", []
        if not data:  # the supervisor is gone; the channel says so too
            self._reactor.removeReader(self)
            return False
        descriptors = array.array("i")
        for level, kind, value in rights:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(value[: len(value) - len(value) % descriptors.itemsize])
        if not descriptors:  # none was free here: the kernel has closed the connection
            _log.warn("A connection was lost: this worker has no free file descriptor")
            return True
        try:
            self._use(data, descriptors[0])
        except Exception:
            _log.failure("A connection that was passed on could not be served")
        finally:
            os.close(descriptors[0])
        return True

    def _use(self, data: bytes, descriptor: int) -> None:
        listener, family, code = _MESSAGE.unpack_from(data)
        text = data[_MESSAGE.size :].decode()
        if code == _SUCCESSOR:
            self._succeed(descriptor, int(text))
            return
        self._take(
            HandedConnection(
                listener, descriptor, _FAMILIES[family], decode_decision(code), text or None
            )
        )
