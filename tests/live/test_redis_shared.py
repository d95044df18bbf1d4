"""What processes tell each other through Redis: leases and notifications."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent

from tests.live.faulty_network import FaultyNetwork
from tests.live.redis_case import RedisCase
from tests.live.redis_server import Asking, pumped
from twisted_net.store.interface import StoreError
from twisted_net.store.log import Bounds
from twisted_net.store.redis.store import RedisStore

PROCESSES = "{netchat}:processes"


class Watching:
    """A watcher of leases that records the changes."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str | None, str]] = []

    def __call__(self, key: str, value: str | None, process: str) -> None:
        self.changes.append((key, value, process))

    def take(self) -> list[tuple[str, str | None, str]]:
        """Return the changes since the last call, sorted."""
        found, self.changes = self.changes, []
        return sorted(found, key=str)


class LeaseTests(RedisCase):
    """Leases of two stores, as in two processes."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = self.started(), self.started()
        self.assertNotEqual(self.one.process, self.other.process)

    def watch(self, store: RedisStore, kind: str = "name") -> Watching:
        watching = Watching()
        self.value(store.watch_leases(kind, watching))
        return watching

    def until(self, watching: Watching, count: int) -> list[tuple[str, str | None, str]]:
        """Wait for some changes, and return them."""
        self.pumped.until(lambda: len(watching.changes) >= count, "changes")
        return watching.take()

    def test_all_or_none(self) -> None:
        """A process takes all keys or none, and learns the value of one that is taken."""
        one, other = self.one, self.other
        self.assertIsNone(self.value(one.lease("name", ["a", "å"], "Ann\n'")))
        self.assertIsNone(self.value(one.lease("name", ["b"], "Bob")))
        self.assertEqual(self.value(other.lease("name", ["c", "å"], "Cy")), "Ann\n'")
        self.assertIsNone(self.value(other.lease("name", ["c"], "Cy")))
        self.assertIsNone(self.value(other.lease("other", ["a"], "x")))
        self.assertIsNone(self.value(one.lease("name", [], "x")))
        found = self.value(other.leases("name"))
        mine, theirs = one.process, other.process
        self.assertEqual(
            found,
            {"a": ("Ann\n'", mine), "å": ("Ann\n'", mine), "b": ("Bob", mine), "c": ("Cy", theirs)},
        )
        self.assertIsNone(self.value(one.lease("name", ["a"], "Anna")))
        self.assertEqual(self.value(other.leases("name"))["a"], ("Anna", mine))

    def test_releasing(self) -> None:
        """A process gives up its own keys only."""
        self.value(self.one.lease("name", ["a", "b"], "x"))
        self.value(self.other.release("name", ["a"]))
        self.assertEqual(self.value(self.other.lease("name", ["a"], "y")), "x")
        self.value(self.one.release("name", ["a", "never"]))
        self.value(self.one.release("name", []))
        self.assertIsNone(self.value(self.other.lease("name", ["a"], "y")))

    def test_watching(self) -> None:
        """Others' leases are told: those that exist, and each change; but not one's own."""
        one, other, mine = self.one, self.other, self.one.process
        self.value(one.lease("name", ["a"], "Ann"))
        self.value(other.lease("name", ["own"], "x"))
        watching = self.watch(other)
        self.assertEqual(watching.take(), [("a", "Ann", mine)])
        second = self.watch(other)
        self.assertEqual(second.take(), [("a", "Ann", mine)])
        self.value(one.lease("name", ["a", "b"], "Bob"))
        self.assertEqual(self.until(watching, 2), [("a", "Bob", mine), ("b", "Bob", mine)])
        self.value(one.lease("name", ["a", "b"], "Bob"))  # nothing has changed
        self.value(one.release("name", ["a"]))
        self.assertEqual(self.until(watching, 1), [("a", None, mine)])
        other.unwatch_leases("name", watching)
        other.unwatch_leases("name", watching)
        self.value(one.lease("name", ["c"], "Cy"))
        self.pumped.until(lambda: ("c", "Cy", mine) in second.changes, "the change")
        self.assertEqual(watching.changes, [])

    def test_a_process_that_stops(self) -> None:
        """The leases of a process that stops end at once."""
        watching = self.watch(self.other)
        mine = self.one.process
        self.value(self.one.lease("name", ["a", "b"], "x"))
        self.until(watching, 2)
        self.value(self.one.stop())
        self.assertEqual(self.until(watching, 2), [("a", None, mine), ("b", None, mine)])
        self.assertIsNone(self.value(self.other.lease("name", ["a"], "y")))

    def test_a_process_that_dies(self) -> None:
        """The leases of a process that has died are ended by others, who are told."""
        frozen = pumped("frozen")
        dead = self.begun(self.make(Bounds(), on=frozen), frozen)
        watching = self.watch(self.other)
        frozen.run(dead.lease("name", ["a", "b"], "x"))
        frozen.run(dead.lease("room:r", ["a"], "x"))
        self.until(watching, 2)
        room = self.watch(self.other, "room:r")
        room.take()
        # It is not pumped from now on, so it does not renew them, and its time passes.
        self.server.ask("ZADD", PROCESSES, 1, dead.process)
        self.assertIsNone(self.value(self.one.lease("name", ["a"], "y")))  # perhaps not ended yet
        ended = {("b", None, dead.process), ("a", "y", self.one.process)}
        self.pumped.until(lambda: ended <= set(watching.changes), "the end")
        self.assertLessEqual(set(watching.changes) - ended, {("a", None, dead.process)})
        self.assertEqual(self.until(room, 1), [("a", None, dead.process)])
        self.pumped.until(
            lambda: self.server.ask("ZSCORE", PROCESSES, dead.process) is None, "it to be forgotten"
        )
        # When it goes on, it learns that it has lost them.
        told: list[str] = []
        dead.watch_trouble(told.append)
        frozen.until(lambda: told and not dead.trouble, "it to notice")
        self.assertEqual(frozen.run(dead.lease("name", ["a"], "x")).result, "y")
        self.assertIsNone(frozen.run(dead.lease("name", ["b"], "x")).result)

    def test_after_an_interruption(self) -> None:
        """What has changed while the connection was cut is told after it."""
        watching = self.watch(self.other)
        mine = self.one.process
        self.value(self.one.lease("name", ["a", "b"], "x"))
        self.until(watching, 2)
        with Asking(self.server.port) as asking:
            for line in asking.ask("CLIENT", "LIST").splitlines():
                if self.other.process.encode() in line:
                    asking.ask("CLIENT", "KILL", "ID", line.split()[0].partition(b"=")[2])
        self.value(self.one.lease("name", ["c"], "z"))
        self.value(self.one.release("name", ["b"]))
        self.assertEqual(self.until(watching, 2), [("b", None, mine), ("c", "z", mine)])

    def test_everything_is_gone(self) -> None:
        """After FLUSHALL, each process is told that it has lost its leases; none seems to leave."""
        watching = self.watch(self.other)
        mine = self.one.process
        troubles: list[str] = []

        def retake(trouble: str) -> None:
            troubles.append(trouble)
            if not trouble:
                self.one.lease("name", ["a"], "x")

        self.value(self.one.lease("name", ["a", "b"], "x"))
        self.until(watching, 2)
        self.one.watch_trouble(retake)
        self.server.ask("FLUSHALL")
        self.pumped.until(lambda: len(troubles) == 2, "the loss to be told")
        self.assertIn("lost", troubles[0])
        self.assertEqual(self.until(watching, 1), [("b", None, mine)])

    def test_without_redis(self) -> None:
        """Everything fails at once while Redis is away."""
        self.server.kill()
        self.pumped.until(lambda: self.one.trouble, "trouble")
        for failing in (
            self.one.lease("name", ["a"], "x"),
            self.one.release("name", ["a"]),
            self.one.leases("name"),
            self.one.watch_leases("name", Watching()),
            self.one.notify("t", b"x"),
            self.one.listen("t", lambda data, process: None),
            self.one.put("ban", "a", "x"),
        ):
            self.assertTrue(failing.called)
            self.failure(failing, StoreError)


class SuspendTests(RedisCase):
    """A store that is suspended, so that another process can go on with it."""

    def setUp(self) -> None:
        super().setUp()
        self.one, self.other = self.started(), self.started()
        self.heard: list[bytes] = []
        self.value(self.one.listen("chat", lambda data, process: self.heard.append(data)))
        self.value(self.one.lease("name", ["a"], "Ann"))

    def works(self, store: RedisStore, *before: bytes) -> None:
        """Check that a store has the lease, and hears what is sent to the process, once.

        :param before: what it hears before that.
        """
        self.pumped.until(lambda: not store.trouble, "the store")
        self.assertEqual(self.value(self.other.lease("name", ["a"], "x")), "Ann")
        self.assertIsNone(self.value(store.lease("name", ["a"], "Ann")))
        self.assertEqual(self.value(self.other.notify("chat", b"hello", store.process)), 1)
        self.pumped.until(lambda: self.heard[-1:] == [b"hello"], "what was sent")
        self.assertEqual(self.heard, [*before, b"hello"])

    def test_another_goes_on(self) -> None:
        """Leases stay, nobody is reached meanwhile, and the next process has the same id."""
        self.value(self.one.suspend())
        self.assertEqual(self.value(self.other.lease("name", ["a"], "x")), "Ann")
        self.assertEqual(self.value(self.other.notify("chat", b"lost", self.one.process)), 0)
        self.assertEqual(self.value(self.other.notify("chat", b"to all")), 0)
        new = self.make(Bounds())
        new.start()
        self.stores.append(new)
        new.restore_state(self.one.export_state())
        self.assertEqual(new.process, self.one.process)
        self.value(new.listen("chat", lambda data, process: self.heard.append(data)))
        self.works(new, b"to all")

    def test_it_goes_on_itself(self) -> None:
        """It is opened again, and hears as before, and what was sent to all meanwhile."""
        self.value(self.other.notify("chat", b"before"))
        self.pumped.until(lambda: self.heard, "it")
        self.value(self.one.suspend())
        self.value(self.other.notify("chat", b"to all"))
        self.one.start()
        self.works(self.one, b"before", b"to all")

    def test_too_late(self) -> None:
        """If that takes too long and is cancelled, the store goes on, too."""
        suspending = self.one.suspend()
        suspending.addErrback(lambda _: None)
        suspending.cancel()
        self.one.start()
        self.pumped.until(lambda: self.one.trouble, "the new connection")
        self.works(self.one)


class NotificationTests(RedisCase):
    """Notifications between three stores, as in three processes."""

    def test_to_all_others_and_to_one(self) -> None:
        """A notification reaches all others that listen, or one of them, in order."""
        stores = [self.started() for _ in range(3)]
        heard: list[list[tuple[bytes, str]]] = [[], [], []]

        def listener(number: int) -> Any:
            return lambda data, process: heard[number].append((data, process))

        listeners = [listener(number) for number in range(3)]
        for store, received in zip(stores, listeners, strict=True):
            self.value(store.listen("chat", received))
        mine = stores[0].process
        self.assertEqual(self.value(stores[0].notify("chat", b"a b\n\x00\xff")), 2)
        self.assertEqual(self.value(stores[0].notify("chat", b"2", stores[1].process)), 1)
        self.assertEqual(self.value(stores[0].notify("chat", b"2", "nobody")), 0)
        self.assertEqual(self.value(stores[0].notify("chat", b"2", mine)), 0)
        self.assertEqual(self.value(stores[0].notify("other", b"x")), 0)
        stores[2].unlisten("chat", listeners[2])
        self.value(stores[2].notify("other", b"x"))  # behind it, on the same connection
        self.assertEqual(self.value(stores[0].notify("chat", b"3")), 1)
        self.pumped.until(lambda: len(heard[1]) == 3, "all of them")
        self.assertEqual(heard[1], [(b"a b\n\x00\xff", mine), (b"2", mine), (b"3", mine)])
        self.assertEqual(heard[2], heard[1][:1])
        self.assertEqual(heard[0], [])

    def test_after_an_interruption(self) -> None:
        """A listener goes on after the connection was cut."""
        one, other = self.started(), self.started()
        heard: list[bytes] = []
        self.value(other.listen("chat", lambda data, process: heard.append(data)))
        with Asking(self.server.port) as asking:
            asking.ask("CLIENT", "KILL", "TYPE", "pubsub")
        self.pumped.until(lambda: one.trouble and other.trouble, "the cut")
        self.pumped.until(lambda: not one.trouble and not other.trouble, "both to be back")
        self.assertEqual(self.value(one.notify("chat", b"x")), 1)
        self.pumped.until(lambda: heard, "it")

    def test_what_was_sent_meanwhile(self) -> None:
        """What was sent to all while a process was away is heard, once and in order."""
        network = FaultyNetwork(1, [self.server.port])
        self.addCleanup(network.end)
        one = self.started()
        away = self.begun(self.make(Bounds(), f"redis://127.0.0.1:{network.ports[0]}", timeout="1"))
        heard: list[bytes] = []
        self.value(away.listen("chat", lambda data, process: heard.append(data)))
        expected = [b"first"]
        self.value(one.notify("chat", b"first"))
        self.pumped.until(lambda: heard == expected, "the first")
        for disturb in (network.cut, network.silence):
            disturb(0)
            for _ in range(3):
                expected.append(b"%d" % len(expected))
                self.value(one.notify("chat", expected[-1]))
            self.pumped.until(lambda: away.trouble, "trouble")
            expected.append(b"%d" % len(expected))
            self.value(one.notify("chat", expected[-1]))
            network.heal(0)
            self.pumped.until(lambda: heard == expected, "what was missed")
            self.pumped.until(lambda: not away.trouble, "it to be back")
            expected.append(b"last")
            self.value(one.notify("chat", b"last"))
            self.pumped.until(lambda: heard == expected, "the last one")

    def test_what_cannot_be_kept(self) -> None:
        """A notification that is not kept, as memory is full, is heard all the same."""
        one, other = self.started(), self.started()
        heard: list[bytes] = []
        self.value(other.listen("chat", lambda data, process: heard.append(data)))
        self.server.ask("CONFIG", "SET", "maxmemory", "1")
        self.assertEqual(self.value(one.notify("chat", b"x")), 1)
        self.pumped.until(lambda: heard, "it")

    def test_a_stream_of_something_else(self) -> None:
        """What cannot be read is logged, and what comes is heard."""
        one, other = self.started(), self.started()
        heard: list[bytes] = []
        self.value(other.listen("chat", lambda data, process: heard.append(data)))
        self.server.ask("SET", "{netchat}:notifications:chat", "something else")
        with capturedLogs() as logged:
            with Asking(self.server.port) as asking:
                asking.ask("CLIENT", "KILL", "TYPE", "pubsub")
            self.pumped.until(lambda: one.trouble and other.trouble, "the cut")
            self.pumped.until(lambda: not one.trouble and not other.trouble, "both to be back")
            self.value(one.listen("chat", lambda data, process: heard.append(data)))
        texts = [text for event in logged if (text := formatEvent(event))]
        self.assertEqual(len([text for text in texts if "cannot be read" in text]), 2, texts)
        self.assertEqual(self.value(one.notify("chat", b"x")), 1)
        self.assertEqual(self.value(other.notify("chat", b"y")), 1)
        self.pumped.until(lambda: sorted(heard) == [b"x", b"y"], "both")

    def test_databases_are_apart(self) -> None:
        """Stores with another prefix or database do not hear each other, although Redis could."""
        one = self.started()
        others = [
            self.begun(self.make(Bounds(), f"{self.server.url}/3")),
            self.begun(self.make(Bounds(), prefix="second")),
        ]
        heard: list[bytes] = []
        for store in others:
            self.value(store.listen("chat", lambda data, process: heard.append(data)))
            self.value(store.put("ban", "a", "x"))
        self.assertEqual(self.value(one.notify("chat", b"x")), 0)
        self.assertEqual(self.value(one.values("ban")), {})
        self.assertEqual(heard, [])
