"""Test protocols with in-memory connections and a clock that the test controls.

As in a real reactor, bytes arrive, bytes leave and ends are noticed in turns, and never inside
``write()``. The methods of :class:`Peer` run what is due. If a test calls the protocol itself, or
fires a Deferred, call :meth:`Peer.turn` afterwards::

    factory = ConnectionFactory.forProtocol(Shout, idle_timeout=60)
    peer = connect_peer(factory)
    peer.send(b"hello\\n")
    self.assertEqual(peer.received, b"HELLO\\n")
    peer.advance(61)
    self.assertTrue(peer.finished)

It works with any Twisted factory. A :class:`ConnectionFactory` without a clock is given one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    INegotiated,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.rejection import RejectingProtocol

__all__ = [
    "BUFFER_SIZE",
    "HOST",
    "PEER",
    "Pair",
    "Peer",
    "TLSPeer",
    "advance",
    "answers",
    "connect_pair",
    "connect_peer",
    "connect_tls_peer",
    "same_for_every_split",
    "splits",
]

BUFFER_SIZE = 65536
"""The bytes that a transport reads in a turn, and buffers before it pauses its producer."""

HOST = IPv4Address("TCP", "192.0.2.1", 8080)
"""The default address of the protocol (RFC 5737)."""

PEER = IPv4Address("TCP", "192.0.2.2", 54321)
"""The default address of the peer (RFC 5737)."""

_ENDLESS = 100_000  # turns at one moment, after which the two sides are assumed to never stop

Result = TypeVar("Result")
AnyPeer = TypeVar("AnyPeer", bound="Peer")


@implementer(ITCPTransport, IConsumer, IPushProducer, IHalfCloseableDescriptor)
class Peer:
    """The far end of a connection, and the protocol's transport.

    :ivar protocol: the connection's protocol; its ``transport`` is this object.
    :ivar clock: the clock of the connection.
    :ivar connected: True until the protocol is told that the connection is lost.
    :ivar reading: whether the protocol reads, that is, has not paused its transport.
    :ivar finished: whether the protocol's side has sent its last byte (FIN).
    :ivar aborted: whether the protocol's side has reset the connection.
    :ivar unread: bytes from the peer that the protocol has not read.
    :ivar unsent: bytes from the protocol that the transport still buffers.
    """

    disconnecting = False

    def __init__(self, clock: Clock, host: Any = HOST, peer: Any = PEER) -> None:
        self.clock = clock
        self.protocol: Any = None
        self.producer: Any = None
        self.connected = self.reading = True
        self.finished = self.aborted = False
        self.unread = bytearray()
        self.unsent = bytearray()
        self._host, self._peer = host, peer
        self._received = bytearray()
        self._credit = math.inf  # bytes that the peer will still read
        self._producer_paused = self._finishing = self._peer_finished = False
        self._why: Exception | None = None  # why the connection breaks
        self._scheduled = self._writing = False
        self._turns = (0.0, 0)  # the time, and the number of turns at that time

    # What a test calls.

    @property
    def received(self) -> bytes:
        """All bytes that the peer has read since the start, or since :meth:`take`."""
        self.turn()
        return bytes(self._received)

    @property
    def unsent_bytes(self) -> int:
        """How many bytes the transport holds; ``stall_timeout`` asks for it."""
        return len(self.unsent)

    def take(self) -> bytes:
        """Return :attr:`received`, and clear it."""
        received = self.received
        self._received.clear()
        return received

    def send(self, *pieces: bytes) -> None:
        """Send bytes from the peer. While the protocol reads, each piece arrives separately."""
        for piece in pieces:
            self.unread += piece
            self.turn()

    def write_eof(self) -> None:
        """Send the peer's last byte (FIN). The peer keeps reading, except over TLS."""
        self._peer_finished = True
        self.turn()

    def reset(self) -> None:
        """Reset the connection from the peer's side (RST), or let the peer vanish."""
        self._why = ConnectionLost()
        self.turn()

    def full(self) -> None:
        """Stop the peer from reading. Every buffer on the way to it is full at once."""
        self._credit = 0
        self._writing = True
        if self.producer is not None and not self._producer_paused:
            self._producer_paused = True
            self.producer.pauseProducing()

    def drain(self, size: float = math.inf) -> None:
        """Let the peer read ``size`` more bytes; by default, read everything from now on."""
        self._credit += size
        self.turn()

    def turn(self) -> None:
        """Run everything that is due now, until nothing is left.

        :raises RuntimeError: if it never ends.
        """
        self._turns = (self.clock.seconds(), 0)
        self._soon()
        self.clock.advance(0)

    def advance(self, seconds: float) -> None:
        """Advance the clock; see :func:`advance`."""
        self.turn()
        advance(self.clock, seconds)

    # A turn.

    def _soon(self) -> None:
        if self._scheduled or not self.connected:
            return
        now, (then, turns) = self.clock.seconds(), self._turns
        self._turns = (now, turns + 1 if now == then else 0)
        if turns > _ENDLESS:
            raise RuntimeError(f"not quiet after {_ENDLESS} turns")
        self._scheduled = True
        self.clock.callLater(0, self._turn)

    def _write_soon(self) -> None:
        self._writing = True
        self._soon()

    def _turn(self) -> None:
        self._scheduled = False
        if self._why is not None:
            self._lose(self._why)
        if self.connected and self.reading:
            self._read_some()
        if self.connected and self._writing and not self.aborted:
            self._write_some()

    def _read_some(self) -> None:
        if self.unread:
            data = bytes(self.unread[:BUFFER_SIZE])
            del self.unread[:BUFFER_SIZE]
            self._soon()
            self.protocol.dataReceived(data)
        elif self._peer_finished:
            self.reading = False
            self.readConnectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]

    def _write_some(self) -> None:
        size = int(min(self._room(), len(self.unsent)))
        if size:
            data = bytes(self.unsent[:size])
            del self.unsent[:size]
            self._carry(data)
        paused = self.producer is not None and self._producer_paused
        if self.unsent or (paused and self._room() <= 0):
            return
        self._writing = False
        if paused:
            # As with real transports, only the producer itself can resume the transport after this.
            self._producer_paused = False
            self.producer.resumeProducing()
        elif self.disconnecting:
            self._lose(ConnectionDone())
        elif self._finishing and not self.finished:
            self.finished = True
            self.writeConnectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]

    def _room(self) -> float:
        return self._credit

    def _carry(self, data: bytes) -> None:
        self._credit -= len(data)
        self._received += data

    def _lose(self, why: Exception) -> None:
        if self.connected:
            self.connected = self.reading = False
            self.finished = not self.aborted
            self.unsent.clear()
            producer, self.producer = self.producer, None
            if producer is not None:
                producer.stopProducing()
            self.protocol.connectionLost(Failure(why))  # type: ignore[no-untyped-call]

    # What the protocol calls: the methods of a Twisted transport.

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"a transport takes bytes, not {type(data).__name__}")
        if self.connected and not self.finished and not self.aborted:
            self.unsent += data
            self._write_soon()
            if self.producer is not None and len(self.unsent) > BUFFER_SIZE:
                self._producer_paused = True
                self.producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if not self.connected or self.disconnecting:
            return
        if self.finished:  # as with real transports: at once
            self._lose(ConnectionDone())
        else:
            self.disconnecting = True
            self.reading = False
            self._write_soon()

    def loseWriteConnection(self) -> None:
        self._finishing = True
        self._write_soon()

    def abortConnection(self) -> None:
        if self.connected and not self.aborted:
            self.aborted = True
            self.reading = False
            self._why = ConnectionAborted()
            self._soon()

    def startTLS(self, context: Any, normal: bool = True) -> None:
        """Become a :class:`TLSPeer`. The handshake is done when a test calls its ``handshake``."""
        self.__class__ = TLSPeer

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return self._host

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError("a producer is registered already")
        if not streaming:
            raise NotImplementedError("only push producers are supported")
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None
        self._write_soon()

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        if self.connected and not self.disconnecting and not self.aborted:
            self.reading = True
            self._soon()

    def stopProducing(self) -> None:
        self.loseConnection()

    def readConnectionLost(self, reason: Failure) -> None:
        half = IHalfCloseableProtocol(self.protocol, None)
        if half is None:
            self._lose(ConnectionDone())
        else:
            half.readConnectionLost()

    def writeConnectionLost(self, reason: Failure) -> None:
        half = IHalfCloseableProtocol(self.protocol, None)
        if half is not None:
            half.writeConnectionLost()

    def getTcpNoDelay(self) -> bool:
        return False

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing."""

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Do nothing."""


@implementer(INegotiated)
class TLSPeer(Peer):
    """A peer behind simulated TLS: it has a handshake, and no half-close.

    Nothing is encrypted, and there are no certificates.
    """

    negotiatedProtocol: bytes | None = None

    _waits_for_producer = False  # loseConnection() was called

    def handshake(self) -> None:
        """Complete the handshake. Until then, a protocol should not act as connected."""
        self.protocol.handshakeCompleted()
        self.turn()

    def getPeerCertificate(self) -> None:
        return None

    def loseWriteConnection(self) -> None:
        raise AssertionError("a half-close would cut the TLS stream")

    def loseConnection(self) -> None:
        self._waits_for_producer = self.producer is not None
        if not self._waits_for_producer:
            super().loseConnection()

    def unregisterProducer(self) -> None:
        super().unregisterProducer()
        if self._waits_for_producer:
            self.loseConnection()

    def readConnectionLost(self, reason: Failure) -> None:
        # The peer's end does not wait for the producer, and is not taken for a call from this side.
        # Unsent data still goes out.
        super().loseConnection()


class _Linked(Peer):
    """A peer that is another peer's transport."""

    other: _Linked

    def startTLS(self, context: Any, normal: bool = True) -> None:
        raise NotImplementedError("a pair cannot start TLS; test each side with connect_peer()")

    def _room(self) -> float:
        return BUFFER_SIZE - len(self.other.unread)

    def _carry(self, data: bytes) -> None:
        self.other.unread += data
        self.other._soon()

    def _read_some(self) -> None:
        if self.unread:
            self.other._soon()  # it will have room again
        super()._read_some()

    def writeConnectionLost(self, reason: Failure) -> None:
        self.other._peer_finished = True
        self.other._soon()
        super().writeConnectionLost(reason)

    def _lose(self, why: Exception) -> None:
        super()._lose(why)
        if self.aborted:
            self.other._why = ConnectionLost()
        self.other._peer_finished = True
        self.other._soon()


class Pair(NamedTuple):
    """A client and a server that are connected to each other.

    :ivar client: the client's protocol; ``client.transport`` is a :class:`Peer`.
    :ivar server: the server's protocol, with a :class:`Peer` as its transport.
    :ivar clock: the clock of both; see :func:`advance`.
    """

    client: Any
    server: Any
    clock: Clock

    def pump(self) -> None:
        """Carry bytes and ends in both directions, until nothing moves.

        :raises RuntimeError: if they never stop.
        """
        self.client.transport.turn()
        self.server.transport.turn()


def connect_peer(
    factory: Any, *, clock: Clock | None = None, host: Any = HOST, peer: Any = PEER
) -> Peer:
    """Connect a new protocol of ``factory`` to a peer in memory.

    :param clock: the clock; by default, the factory's or a new one.
    :param host: the protocol's own address.
    :param peer: the address of the other side.
    :raises ConnectionRefusedError: if the factory rejects the connection without a message.
    :raises TypeError: if a test cannot advance the factory's clock.
    """
    return _connected(factory, Peer(_clock_for(clock, factory), host, peer))


def connect_tls_peer(
    factory: Any, *, clock: Clock | None = None, host: Any = HOST, peer: Any = PEER
) -> TLSPeer:
    """Connect like :func:`connect_peer`, over simulated TLS; see :meth:`TLSPeer.handshake`."""
    return _connected(factory, TLSPeer(_clock_for(clock, factory), host, peer))


def connect_pair(client: Any, server: Any, *, clock: Clock | None = None) -> Pair:
    """Connect a new protocol of the factory ``client`` to one of the factory ``server``.

    :param clock: the clock; by default, the factories' or a new one.
    :raises ConnectionRefusedError: if a factory rejects the connection.
    :raises TypeError: if the factories have different clocks, or one that a test cannot advance.
    """
    clock = _clock_for(clock, client, server)
    here, there = _Linked(clock, PEER, HOST), _Linked(clock, HOST, PEER)
    here.other, there.other = there, here
    for factory, transport in ((server, there), (client, here)):
        _build(factory, transport)
    pair = Pair(here.protocol, there.protocol, clock)
    here.protocol.makeConnection(here)
    there.protocol.makeConnection(there)
    pair.pump()
    return pair


def advance(clock: Clock, seconds: float) -> None:
    """Advance the clock as in real time: each call runs at its own time, not at the end.

    ``Clock.advance`` jumps to the end at once. To a repeated call, this looks like a suspended
    process.
    """
    end = clock.seconds() + seconds
    while True:
        due = min((call.getTime() for call in clock.getDelayedCalls()), default=math.inf)
        if due > end:
            break
        clock.advance(max(0.0, due - clock.seconds()))
    clock.advance(max(0.0, end - clock.seconds()))


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Yield ``data`` whole, in two pieces split at every position, and byte by byte."""
    yield [data]
    for position in range(1, len(data)):
        yield [data[:position], data[position:]]
    if len(data) > 2:
        yield [data[position : position + 1] for position in range(len(data))]


def same_for_every_split(data: bytes, run: Callable[[Sequence[bytes]], Result]) -> Result:
    """Call ``run`` with each of the :func:`splits` of ``data``.

    :return: what it returned each time.
    :raises AssertionError: if a split changed the result; the message shows the split.
    """
    whole = run([data])
    for pieces in splits(data):
        result = run(pieces)
        if result != whole:
            how = f"split at {len(pieces[0])}" if len(pieces) == 2 else "byte by byte"
            raise AssertionError(f"whole gives {whole!r}, {how} gives {result!r}")
    return whole


def answers(make_factory: Callable[[], Any], data: bytes) -> bytes:
    """Return the answer to a peer that sends ``data`` and its FIN, however the data is split.

    :param make_factory: makes a new factory for each connection.
    :raises AssertionError: if a split changed the answer.
    """

    def converse(pieces: Sequence[bytes]) -> bytes:
        peer = connect_peer(make_factory())
        peer.send(*pieces)
        peer.write_eof()
        return peer.received

    return same_for_every_split(data, converse)


def _clock_for(clock: Clock | None, *factories: Any) -> Clock:
    """Return the one clock of all factories. A factory of ours without a clock gets this one."""
    ours = [factory for factory in factories if isinstance(factory, ConnectionFactory)]
    known = [factory.clock for factory in ours if factory.has_clock]
    found = clock or (known[0] if known else Clock())
    if not isinstance(found, Clock) or any(other is not found for other in known):
        raise TypeError("all factories of a test must share one twisted.internet.task.Clock")
    for factory in ours:
        factory.clock = found
    return found


def _build(factory: Any, transport: Peer) -> None:
    factory.doStart()
    transport.protocol = factory.buildProtocol(transport.getPeer())
    refused = transport.protocol
    if refused is None or (isinstance(refused, RejectingProtocol) and not refused.last_words):
        raise ConnectionRefusedError(f"{factory!r} rejects the connection")


def _connected(factory: Any, transport: AnyPeer) -> AnyPeer:
    _build(factory, transport)
    transport.protocol.makeConnection(transport)
    transport.turn()
    return transport
