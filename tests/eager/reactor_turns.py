"""Reactors that tests turn by hand, and connections on them whose peer is a plain socket.

Nothing here runs a reactor or sleeps. The sockets are real: a turn polls the real poller.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.buffers import tcp_pair, unix_pair
from twisted_net.eager.reactor import EagerReactor
from twisted_net.eager.reactor_interfaces import eager


class Recorder(Protocol):
    """Records what happens to it.

    :ivar events: what happened, in order: ``("data", b"...")``, ``("lost", ConnectionDone)``, ...
    :ivar received: called with this protocol and the received data, so that a test can act inside
        ``dataReceived``.
    """

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.received: Callable[[Recorder, bytes], None] = lambda recorder, data: None

    def dataReceived(self, data: bytes) -> None:
        self.events.append(("data", data))
        self.received(self, data)

    def write_back(self, data: bytes) -> None:
        self.transport.write(data)

    def write_and_raise(self, data: bytes) -> None:
        self.transport.write(b"never sent")
        raise ZeroDivisionError

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        self.events.append(("lost", reason.type))

    # As a producer.

    def pauseProducing(self) -> None:
        self.events.append(("pause",))

    def resumeProducing(self) -> None:
        self.events.append(("resume",))

    def stopProducing(self) -> None:
        self.events.append(("stop",))

    def pull_from(self, pieces: Iterator[bytes]) -> None:
        """Produce one piece each time it is asked, as a pull producer, until none is left."""

        def resume() -> None:
            piece = next(pieces, None)
            if piece is None:
                self.transport.unregisterProducer()
            else:
                self.transport.write(piece)

        self.resumeProducing = resume  # type: ignore[method-assign]
        self.transport.registerProducer(self, False)


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    def readConnectionLost(self) -> None:
        self.events.append(("read lost",))

    def writeConnectionLost(self) -> None:
        self.events.append(("write lost",))


class Counting:
    """A poller that counts how often registrations change."""

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self.changes = 0

    def poll(self, *arguments: Any) -> Any:
        return self._poller.poll(*arguments)

    def __getattr__(self, name: str) -> Any:
        self.changes += 1
        return getattr(self._poller, name)


class Sending:
    """A socket that records what is sent."""

    def __init__(self, actual: socket.socket, sizes: list[int]) -> None:
        self._actual = actual
        self._sizes = sizes

    def send(self, data: bytes) -> int:
        self._sizes.append(len(data))
        return self._actual.send(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actual, name)


class TurnsTestCase(SynchronousTestCase):
    """Tests one kind of transport.

    :cvar make_reactor: makes the reactor.
    :cvar make_eager: whether to ask for eager transports on it.
    :cvar family: the address family of the sockets.
    """

    make_reactor: Any = EagerReactor
    make_eager = False
    family = socket.AF_INET

    def setUp(self) -> None:
        self.reactor = type(self).make_reactor()
        self.addCleanup(self._close_reactor)
        self.calls = eager(self.reactor) if self.make_eager else self.reactor

    def _close_reactor(self) -> None:
        reactor = self.reactor
        self.turn()  # ports close in a later turn
        reactor.disconnectAll()
        for reader in list(reactor._internalReaders):
            reactor.removeReader(reader)
            reader.connectionLost(None)
        reactor._internalReaders.clear()
        reactor._uninstallHandler()
        getattr(reactor._poller, "_poller", reactor._poller).close()

    def connect(self, protocol: Recorder | None = None) -> tuple[Recorder, socket.socket]:
        """Connect a protocol to a plain socket, both with small buffers."""
        if self.family == socket.AF_UNIX:
            ours, theirs = unix_pair()
        else:
            ours, theirs = tcp_pair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.addCleanup(theirs.close)
        made = protocol or Recorder()
        factory = Factory.forProtocol(lambda: made)
        with ours:
            self.calls.adoptStreamConnection(ours.fileno(), self.family, factory)
        return made, theirs

    def turn(self, turns: int = 1, wait: float = 0) -> None:
        """Run turns of the reactor. Each waits at most ``wait`` seconds for an event."""
        for _ in range(turns):
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(wait)

    def turn_until(self, done: Callable[[], object]) -> None:
        """Run turns of the reactor until ``done()`` is true, or fail at the deadline."""
        for _ in range(1000):
            if done():
                return
            self.turn(wait=0.005)
        self.fail("It never happened")

    def drain(self, peer: socket.socket, at_least: int = 0) -> bytes:
        """Read, with turns in between, until the stream ends or nothing more arrives.

        :param at_least: the number of bytes that must arrive, however long the kernel takes.
        """
        got = bytearray()
        idle = 0
        while idle < (5 if len(got) >= at_least else 1000):
            self.turn(wait=0.005 if len(got) < at_least else 0)
            try:
                data = peer.recv(1 << 20)
            except BlockingIOError:
                idle += 1
                continue
            except ConnectionResetError:
                break
            if not data:
                break
            got += data
            idle = 0
        return bytes(got)

    def count_changes(self) -> Counting:
        """Count the changes of the poller from now on."""
        self.reactor._poller = Counting(self.reactor._poller)
        poller: Counting = self.reactor._poller
        return poller

    def count_sends(self, protocol: Recorder) -> list[int]:
        """Record how many bytes each ``send`` of a connection takes from now on."""
        sizes: list[int] = []
        transport: Any = protocol.transport
        transport.socket = Sending(transport.socket, sizes)
        return sizes


class OnStock:
    """The reference: Twisted's own reactor and transports."""

    make_reactor = EPollReactor


class OnStockEagerly:
    """Eager transports on Twisted's own reactor."""

    make_reactor = EPollReactor
    make_eager = True


class OverUNIX:
    family = socket.AF_UNIX
