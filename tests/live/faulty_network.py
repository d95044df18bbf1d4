"""A network between two programs that a test cuts, silences, slows and corrupts.

It is a TCP proxy in the test's reactor. Each link has one target, and any number of connections.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.live.harness import LOCALHOST

CORRUPTED = 0.05
"""The share of the pieces that a corrupting link changes."""


class Link(Factory):  # type: ignore[type-arg]
    """A port in front of a target. It passes everything on, unless it is told otherwise.

    :ivar delay: seconds for which each piece is on its way.
    :ivar is_cut: whether new connections are ended at once.
    :ivar is_silent: whether everything that is sent vanishes into a queue: no byte, and no end of
        a connection, reaches the other side. What was queued goes on when the silence ends.
    :ivar is_corrupting: whether bytes are changed now and then.
    """

    noisy = False

    def __init__(self, reactor: Any, chance: random.Random, target: int) -> None:
        self.reactor = reactor
        self.chance = chance
        self.target = target
        self.delay = 0.0
        self.is_cut = self.is_silent = self.is_corrupting = False
        self.corrupted = 0
        self.ends: set[_End] = set()
        self._listening = reactor.listenTCP(0, self, interface=LOCALHOST)
        self.port: int = self._listening.getHost().port

    def buildProtocol(self, addr: object) -> Any:
        return _Near(self)

    def disconnect(self) -> None:
        """End all connections."""
        for end in list(self.ends):
            end.abort()

    def heal(self) -> None:
        """Pass everything on again."""
        self.is_cut = self.is_silent = self.is_corrupting = False
        self.delay = 0.0
        for end in list(self.ends):
            end.flush()

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        self.is_cut = True
        self.disconnect()
        await self._listening.stopListening()


class _End(Protocol):
    """One end of a connection through a link.

    :ivar peer: the other end, once there is one.
    """

    peer: _End | None = None

    def __init__(self, link: Link) -> None:
        self.link = link
        self._coming: deque[tuple[float, bytes | None]] = deque()  # None is the end
        self._due: IDelayedCall | None = None
        self._is_over = False

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self.link.ends.add(self)

    def dataReceived(self, data: bytes) -> None:
        link = self.link
        if link.is_corrupting and link.chance.random() < CORRUPTED:
            link.corrupted += 1
            changed = bytearray(data)
            changed[link.chance.randrange(len(changed))] ^= 1 << link.chance.randrange(8)
            data = bytes(changed)
        self.pass_on(data)

    def pass_on(self, data: bytes | None) -> None:
        """Give something to the other end."""
        if self.peer is not None:
            self.peer.take(data)

    def take(self, data: bytes | None) -> None:
        """Send something, when it is due."""
        self._coming.append((self.link.reactor.seconds() + self.link.delay, data))
        self.flush()

    def flush(self) -> None:
        """Send what is due."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        while self._coming and not self.link.is_silent and not self._is_over:
            due, data = self._coming[0]
            ahead = due - self.link.reactor.seconds()
            if ahead > 0 and self.link.delay:
                self._due = self.link.reactor.callLater(ahead, self._flush_later)
                return
            self._coming.popleft()
            if data is None:
                self.abort()
            else:
                self.transport.write(data)  # type: ignore[union-attr]

    def _flush_later(self) -> None:
        self._due = None
        self.flush()

    def abort(self) -> None:
        """End this connection."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        self.link.ends.discard(self)
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if not self.link.is_cut:
            self.pass_on(None)


class _Near(_End):
    """The end that a program has connected to."""

    def connectionMade(self) -> None:
        super().connectionMade()
        if self.link.is_cut:
            self.abort()
            return
        self._early: list[bytes | None] = []
        self.link.reactor.connectTCP(LOCALHOST, self.link.target, _Further(self), timeout=10)

    def pass_on(self, data: bytes | None) -> None:
        if self.peer is None:
            self._early.append(data)
        else:
            super().pass_on(data)

    def joined(self, peer: _End) -> None:
        """The target is connected."""
        self.peer = peer
        for data in self._early:
            self.pass_on(data)


class _Further(ClientFactory):
    """Connects to the target."""

    noisy = False

    def __init__(self, near: _Near) -> None:
        self._near = near

    def buildProtocol(self, addr: object) -> Any:
        return _Far(self._near)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._near.take(None)


class _Far(_End):
    """The end at the target."""

    def __init__(self, near: _Near) -> None:
        super().__init__(near.link)
        self.peer = near

    def connectionMade(self) -> None:
        super().connectionMade()
        near = self.peer
        assert isinstance(near, _Near)
        near.joined(self)
        if self.link.is_cut:
            self.abort()
