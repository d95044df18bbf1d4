"""Hooks that block the reactor."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import inlineCallbacks, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.connection.recording import factory_of
from twisted_net import Connection, GuardFactory, Raw
from twisted_net.connection.blocking import BlockWatch, hook_in, watch_of
from twisted_net.testing import connect_peer

HERE = Path(__file__).name


def block(owner: Any) -> None:
    """Do what takes long: the test looks at the reactor meanwhile."""
    owner.look(sys._getframe())


class Blocking(Connection):
    look: Any = None

    def connected(self) -> None:
        if type(self).__name__ == "InConnected":
            block(self)

    def message_received(self, message: bytes) -> None:
        block(self)


class InConnected(Blocking):
    pass


class InRaw(Blocking):
    framing = Raw


class Async(Connection):
    look: Any = None

    async def message_received(self, message: bytes) -> None:
        await succeed(None)
        block(self)


class Generator(Connection):
    look: Any = None

    @inlineCallbacks
    def message_received(self, message: bytes) -> Any:
        yield succeed(None)
        block(self)


class Looping(Connection):
    look: Any = None

    async def connected(self) -> None:
        async for _ in self:
            block(self)


class Guarded(Protocol):
    look: Any = None

    def dataReceived(self, data: bytes) -> None:
        block(self)


class NameTests(SynchronousTestCase):
    """Which hook it is."""

    def named(self, cls: Any, wrap: Callable[[Any], Any] = factory_of) -> str:
        found: list[Any] = []
        self.patch(cls, "look", lambda _, frame: found.append(hook_in(frame)))
        peer = connect_peer(wrap(cls))
        peer.send(b"a\n")
        name, where = found[0]
        self.assertIn(HERE, where)
        self.assertTrue(where.rpartition(":")[2].isdigit())
        return str(name)

    def test_hooks(self) -> None:
        """The class and the hook are named, whatever kind of function it is."""
        self.assertEqual(self.named(Blocking), "Blocking.message_received()")
        self.assertEqual(self.named(InConnected), "Blocking.connected()")  # where it is written
        self.assertEqual(self.named(InRaw), "Blocking.message_received()")
        self.assertEqual(self.named(Async), "Async.message_received()")
        self.assertEqual(self.named(Generator), "Generator.message_received()")
        self.assertEqual(self.named(Looping), "Looping.connected()")

    def test_a_guarded_protocol(self) -> None:
        """A guard only passes on what happens, so the method of the protocol inside is named."""

        def guard(cls: Any) -> GuardFactory:
            return GuardFactory(Factory.forProtocol(cls), clock=Clock())

        self.assertEqual(self.named(Guarded, guard), "Guarded.dataReceived()")

    def test_no_hook(self) -> None:
        """What blocks elsewhere in a program is not a hook's fault."""
        self.assertIs(hook_in(sys._getframe()), None)
        self.assertIs(hook_in(None), None)


class WatchTests(SynchronousTestCase):
    """When a line is written."""

    def setUp(self) -> None:
        self.time = 1000.0
        self.watch = BlockWatch(lambda: self.time)
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        if event["log_level"] is LogLevel.warn:
            self.lines.append(formatEvent(event))

    def block(self, seconds: float, cls: Any = Blocking, after: float = 0.25) -> None:
        """Let a hook block for some seconds, ``after`` seconds after a tick."""

        def look(_: Any, frame: Any) -> None:
            end = self.time + seconds
            while self.time < end:
                pause = self.watch.look(frame)
                self.time = min(end, self.time + pause)

        self.watch.beat()
        self.time += after
        self.patch(cls, "look", look)
        connect_peer(factory_of(cls)).send(b"a\n")
        self.watch.beat()

    def test_two_seconds(self) -> None:
        """A hook that blocks for two seconds has one line with its name and the seconds."""
        begins = "Blocking.message_received() blocked the reactor for about 2 s, at "
        self.watch.begin()
        for after in (0, 0.1, 0.25, 0.49):
            self.block(2, after=after)
            line = self.lines.pop()
            self.assertTrue(line.startswith(begins), line)
            self.assertNotIn("\n", line)
            self.assertEqual(self.lines, [])
            self.time += 60
            self.watch.beat()

    def test_longer(self) -> None:
        self.watch.begin()
        self.block(7)
        self.assertIn("for about 7 s", self.lines[0])

    def test_one_second(self) -> None:
        """Shorter ones have none."""
        self.watch.begin()
        for _ in range(5):
            self.block(1.2)
        self.assertEqual(self.lines, [])

    def test_one_a_minute(self) -> None:
        self.watch.begin()
        self.block(3)
        for _ in range(9):
            self.block(5)  # within a minute
        self.assertEqual(len(self.lines), 1)
        self.time += 60
        self.watch.beat()
        self.block(3)
        self.assertEqual(len(self.lines), 2)

    def test_the_longest_of_several(self) -> None:
        """If several hooks block in one turn, the one that did so for most of it is named."""
        self.watch.begin()
        self.watch.beat()
        beat = self.watch.beat
        self.watch.beat = lambda: None  # type: ignore[method-assign]  # one turn
        self.block(1.3, Guardless)
        self.block(4)
        beat()
        self.assertIn("Blocking.message_received()", self.lines[0])

    def test_the_process_was_stopped(self) -> None:
        """A process that was stopped, while it waited for events, has no line."""
        self.watch.begin()
        self.time += 600
        self.watch.look(sys._getframe())
        self.watch.beat()
        self.assertEqual(self.lines, [])

    def test_without_timers(self) -> None:
        """While no timers run, nothing can be known."""
        self.watch.begin()
        self.watch.end()
        self.block(3)
        self.assertEqual(self.lines, [])

    def test_only_for_reactors(self) -> None:
        """A clock of a test has no watch, and no thread."""
        for clock in (Clock(), MemoryReactorClock()):
            self.assertIs(watch_of(clock), None)


class Guardless(Blocking):
    def message_received(self, message: bytes) -> None:
        block(self)
