"""A network between programs that a test cuts, silences, slows and corrupts.

It is a process of its own, so what passes through it does not wait for the test. It has a link for
each target: a TCP proxy with any number of connections.
"""

from __future__ import annotations

import random
import select
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from tests.live.harness import LOCALHOST, PATIENCE

CORRUPTED = 0.05
"""The share of the pieces that a corrupting link changes."""


class FaultyNetwork:
    """The process with the links, as a test sees it.

    :param targets: the port behind each link.
    :ivar ports: the port of each link.
    """

    def __init__(self, seed: int, targets: list[int]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(seed), *map(str, targets)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, f"the network has not begun within {PATIENCE:g} s"
        self.ports = [int(port) for port in self._process.stdout.readline().split()]

    def cut(self, link: int) -> None:
        """End the connections, and each new one at once, until :meth:`heal`."""
        self._order(link, "cut")

    def silence(self, link: int) -> None:
        """Keep everything back: no byte, and no end of a connection, reaches the other side."""
        self._order(link, "silence")

    def slow(self, link: int, seconds: float) -> None:
        """Delay everything."""
        self._order(link, "slow", seconds)

    def corrupt(self, link: int) -> None:
        """Change bytes now and then."""
        self._order(link, "corrupt")

    def heal(self, link: int) -> None:
        """Pass everything on again, also what was kept back."""
        self._order(link, "heal")

    def _order(self, link: int, what: str, value: float = 0.0) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{link} {what} {value}\n".encode())
        self._process.stdin.flush()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class _Orders(LineOnlyReceiver):
    """Does what the test says on the standard input, and ends with it."""

    delimiter = b"\n"

    def __init__(self, links: list[Link], ended: Deferred[None]) -> None:
        self._links = links
        self._ended = ended

    def lineReceived(self, line: bytes) -> None:
        number, what, value = line.decode().split()
        link = self._links[int(number)]
        match what:
            case "cut":
                link.is_cut = True
                link.disconnect()
            case "silence":
                link.is_silent = True
            case "slow":
                link.delay = float(value)
            case "corrupt":
                link.is_corrupting = True
            case "heal":
                link.heal()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._ended.called:
            self._ended.callback(None)


def main(reactor: Any, seed: str, *targets: str) -> Deferred[None]:
    """Make the links, write their ports, and do what the standard input says."""
    chance = random.Random(int(seed))
    links = [Link(reactor, chance, int(target)) for target in targets]
    ended: Deferred[None] = Deferred()
    StandardIO(_Orders(links, ended))
    print(*(link.port for link in links), flush=True)
    return ended


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
        self.ends: set[_End] = set()
        self.port: int = reactor.listenTCP(0, self, interface=LOCALHOST).getHost().port

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

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._early: list[bytes | None] = []

    def connectionMade(self) -> None:
        super().connectionMade()
        if self.link.is_cut:
            self.abort()
            return
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


if __name__ == "__main__":
    react(main, sys.argv[1:])
