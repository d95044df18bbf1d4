"""Tests for :mod:`twisted_net.services.workers.pool`: starts, deaths, replacements, the end."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.services.workers.fake_processes import SIGKILL, FakeReactor, FakeSpawner, FakeWorker
from tests.upgrade.moving import movable
from twisted_net.services.workers.deaths import MOST_QUICK_DEATHS, QUICK
from twisted_net.services.workers.handle import HUNG_SECONDS, WorkerHandle
from twisted_net.services.workers.pool import (
    SETTLE_SECONDS,
    WORKER_END_SECONDS,
    WorkerPool,
)
from twisted_net.services.workers.settings import WorkerSettings
from twisted_net.services.workers.worker_upgrade import ORPHAN_SECONDS, UPGRADE_SECONDS
from twisted_net.upgrade.frames import UpgradeFailed

DRAIN = 30.0


class PoolTestCase(SynchronousTestCase):
    """A pool of fake workers."""

    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.spawner = FakeSpawner(self.reactor)
        self.addCleanup(self.spawner.close)
        self.failures: list[str] = []
        self.gone: list[int] = []
        self.left: list[tuple[int, list[str | None]]] = []
        self.succeeded: list[int] = []
        self.stayed: list[tuple[int, Counter[str | None]]] = []
        self.pool = self.make(2)

    def make(self, count: int, overlaps: bool = True) -> WorkerPool:
        return WorkerPool(
            self.reactor,
            count,
            lambda number: WorkerSettings(number, count, "netecho", ()),
            self.spawner.spawn,
            drain=DRAIN,
            overlaps=overlaps,
            changed=lambda: None,
            gone=lambda worker: self.gone.append(worker.number),
            left=lambda worker, addresses: self.left.append((worker.number, addresses)),
            succeeded=lambda worker: self.succeeded.append(worker.number),
            stayed=lambda worker: self.stayed.append((worker.number, worker.stayed)),
            failed=self.failures.append,
            jitter=lambda: 1.0,
        )

    def serving(self) -> list[FakeWorker]:
        """Start all workers; all serve."""
        self.pool.start()
        for worker in self.spawner.started:
            worker.tell("ready")
        return self.spawner.started

    def states(self) -> list[tuple[int, bool]]:
        """Return the numbers of the workers, and whether they serve."""
        return [(worker.number, worker.ready) for worker in self.pool.running]


class StartTests(PoolTestCase):
    def test_starts(self) -> None:
        """Each number gets a process, which serves once it says so."""
        self.pool.start()
        self.assertEqual([each.settings.number for each in self.spawner.started], [1, 2])
        self.assertEqual(self.states(), [(1, False), (2, False)])
        self.spawner.started[1].tell("ready")
        self.assertEqual(self.states(), [(1, False), (2, True)])
        self.assertFalse(self.pool.has_served)
        self.spawner.started[0].tell("ready")
        self.assertTrue(self.pool.has_served)

    def test_no_process(self) -> None:
        """If the system has none, the service ends with a line."""
        self.spawner.error = OSError(11, "Resource temporarily unavailable")
        self.pool.start()
        self.assertIn("worker 1 cannot be started: Resource temporarily unavailable", self.failures)

    def test_a_worker_that_cannot_start(self) -> None:
        """Its own line ends the service."""
        self.pool.start()
        self.spawner.started[0].say("netchat: --store x: No such file")
        self.spawner.started[0].end(1)
        self.assertEqual(self.failures, ["netchat: --store x: No such file"])

    def test_a_worker_that_says_nothing(self) -> None:
        """Its status is told instead."""
        self.pool.start()
        self.spawner.started[0].end(3)
        self.assertEqual(self.failures, ["worker 1 has ended with status 3"])

    def test_an_error_just_after_the_start(self) -> None:
        """A worker that serves first, and then finds out that it cannot, ends the service too."""
        worker = self.serving()[0]
        worker.say("netidle: --upstream tcp:nowhere:1: host not found")
        worker.end(1)
        self.assertEqual(self.failures, ["netidle: --upstream tcp:nowhere:1: host not found"])


class DeathTests(PoolTestCase):
    def test_replaced(self) -> None:
        """A worker that dies is started again, after a moment, with its number."""
        first, _ = self.serving()
        self.reactor.advance(QUICK + 1)
        first.end(killed_by=SIGKILL)
        self.assertEqual(self.gone, [1])
        self.assertEqual(self.states(), [(2, True)])
        self.assertEqual(len(self.spawner.started), 2)
        self.reactor.advance(1)
        self.assertEqual(self.spawner.started[2].settings.number, 1)
        self.spawner.started[2].tell("ready")
        self.assertEqual(self.states(), [(1, True), (2, True)])
        self.assertEqual(self.failures, [])

    def test_an_error_later(self) -> None:
        """Once workers have lived for a while, one that ends with an error is started again."""
        first, _ = self.serving()
        self.reactor.advance(QUICK + 1)
        first.say("OSError: something")
        first.end(1)
        self.reactor.advance(1)
        self.assertEqual(len(self.spawner.started), 3)
        self.assertEqual(self.failures, [])

    def test_a_crash_loop(self) -> None:
        """It ends the service with a line, and nothing is started any more."""
        self.serving()
        for _ in range(MOST_QUICK_DEATHS):
            self.assertEqual(self.failures, [])
            self.spawner.started[-1].end(killed_by=SIGKILL)
            self.reactor.advance(4.0)
        (line,) = self.failures
        self.assertEqual(
            line,
            "5 workers in a row have died within 5 s of their start, the last one was killed by "
            "SIGKILL",
        )

    def test_another_worker_is_well(self) -> None:
        """That one worker lives on does not hide that another one always dies."""
        self.serving()
        for _ in range(MOST_QUICK_DEATHS - 1):
            self.spawner.started[-1].end(killed_by=SIGKILL)
            self.reactor.advance(4.9)
        self.assertEqual(self.failures, [])
        self.spawner.started[-1].end(killed_by=SIGKILL)
        self.assertEqual(len(self.failures), 1)

    def test_no_start_while_others_serve(self) -> None:
        """A start that fails, for example while Redis is away, ends nobody else's connections.

        It is tried again, ever more rarely; once nobody serves any more, the service ends.
        """
        _, other = self.serving()
        self.reactor.advance(1)
        self.spawner.started[0].end(killed_by=SIGKILL)
        self.reactor.advance(1)
        for starts in range(3, 3 + 3 * MOST_QUICK_DEATHS):
            self.assertEqual(len(self.spawner.started), starts)
            self.spawner.started[-1].say("netchat: --store redis://h: Connection refused")
            self.spawner.started[-1].end(1)
            self.reactor.advance(10.0)
        self.assertEqual(self.failures, [])
        self.spawner.started[-1].tell("ready")
        self.assertEqual(self.states(), [(1, True), (2, True)])
        other.end(killed_by=SIGKILL)
        self.spawner.started[-1].end(killed_by=SIGKILL)
        for _ in range(MOST_QUICK_DEATHS):
            self.reactor.advance(10.0)
            for worker in self.spawner.started:
                if worker.pid is not None:
                    worker.end(1)
        self.assertIn("5 workers in a row have died", self.failures[0])

    def test_no_crash_loop(self) -> None:
        """Deaths with longer lives in between do not end it."""
        self.serving()
        for _ in range(3 * MOST_QUICK_DEATHS):
            self.reactor.advance(QUICK + 1)
            self.spawner.started[-1].end(killed_by=SIGKILL)
            self.reactor.advance(1.0)
            self.spawner.started[-1].tell("ready")
        self.assertEqual(self.failures, [])

    def test_who_does_not_answer(self) -> None:
        """A worker gets nothing from the second question on, until it answers."""
        first, _ = self.serving()
        worker = self.pool.workers[1]
        for _ in range(2):
            self.assertTrue(worker.may_take)
            self.reactor.advance(1.0)
        self.assertFalse(worker.may_take)
        (ping,) = [each for each in first.heard() if each.get("ask") == "ping"]
        first.send({"id": ping["id"], "answer": {"connections": 7}})
        self.assertTrue(worker.may_take)
        self.assertEqual(self.pool.connections, 7)

    def test_who_hangs(self) -> None:
        """A worker that does not answer for a minute is killed, once."""
        first, _ = self.serving()
        self.reactor.pump([1.0] * int(HUNG_SECONDS))
        self.assertEqual(first.signals, [])
        self.reactor.pump([1.0] * 10)
        self.assertEqual(first.signals, ["KILL"])

    def test_who_wants_to_end(self) -> None:
        """A worker that somebody has sent SIGTERM is replaced, and serves its connections."""
        first, _ = self.serving()
        first.tell("leaving")
        self.assertIn({"tell": "stop"}, first.heard())
        self.assertEqual(self.states(), [(1, False), (2, True)])
        self.spawner.started[2].tell("ready")
        first.tell("leaving")
        first.end()
        self.assertEqual(self.states(), [(1, True), (2, True)])
        self.reactor.advance(60.0)
        self.assertEqual((len(self.spawner.started), self.failures), (3, []))


class UpgradeTests(PoolTestCase):
    """A new process goes on with a worker's connections."""

    def begin(self) -> tuple[FakeWorker, FakeWorker, Deferred[None]]:
        """Upgrade the first worker. Return both processes."""
        old, _ = self.serving()
        self.reactor.advance(QUICK + 1)
        upgraded = self.pool.upgrade_worker(1)
        return old, self.spawner.started[2], upgraded

    def why(self, upgraded: Deferred[None]) -> str:
        """Return why it has failed."""
        return str(self.failureResultOf(upgraded, UpgradeFailed).value)

    def check_old_goes_on(self, old: FakeWorker) -> None:
        """The old worker serves, and has heard nothing."""
        self.assertEqual(self.pool.workers[1].pid, old.pid)
        self.assertEqual(self.states(), [(1, True), (2, True)])
        heard = [each for each in old.heard() if each.get("ask") != "ping"]
        self.assertEqual((self.failures, heard, self.pool.retired), ([], [], []))

    def test_a_new_process(self) -> None:
        """The old worker serves until the new one does, and ends by itself."""
        old, new, upgraded = self.begin()
        self.assertEqual((new.settings.number, new.settings.succeeds), (1, True))
        self.assertEqual(self.pool.workers[1].pid, old.pid)
        old.tell("moved", count=3, stayed=["10.0.0.1"])
        self.assertEqual(self.stayed, [(1, {"10.0.0.1": 1})])
        self.assertNoResult(upgraded)
        new.tell("ready")
        self.successResultOf(upgraded)
        self.assertEqual(self.succeeded, [1])
        self.assertEqual(self.pool.workers[1].pid, new.pid)
        self.assertEqual(self.states(), [(1, True), (2, True)])
        self.assertNotIn({"tell": "stop"}, old.heard())
        self.assertEqual(self.pool.retired[0].pid, old.pid)
        old.end()
        self.assertEqual((self.gone, self.pool.retired), ([1], []))
        self.reactor.advance(60.0)
        self.assertEqual((len(self.spawner.started), self.failures), (3, []))

    def test_what_was_to_be_read_again(self) -> None:
        """A new process that has read its files already reads them again, once it serves."""
        _, new, _ = self.begin()
        for worker in self.pool.everybody:
            worker.reload()
        asked = [[each.get("ask") for each in one.heard()] for one in self.spawner.started]
        self.assertEqual(["reload" in each for each in asked], [True, True, False])
        new.tell("ready")
        (question,) = [each for each in new.heard() if each.get("ask") == "reload"]
        with capturedLogs() as logs:
            new.send({"id": question["id"], "error": "a.conf: gone", "status": 400})
        self.assertEqual(
            [formatEvent(each) for each in logs], ["Worker 1 goes on as before: a.conf: gone"]
        )

    def test_it_cannot_start(self) -> None:
        """The old worker goes on; the reason has what the new process has said last."""
        old, new, upgraded = self.begin()
        new.say("netecho: broken")
        new.end(1)
        self.assertNoResult(upgraded)
        old.tell("not-moved", reason="the new process ended")
        self.assertEqual(self.why(upgraded), "the new process ended: netecho: broken")
        self.check_old_goes_on(old)
        self.reactor.advance(60.0)
        self.assertEqual(len(self.spawner.started), 3)

    def test_the_old_one_says_why(self) -> None:
        """Its reason counts, and the new process is ended."""
        old, new, upgraded = self.begin()
        old.tell("not-moved", reason="the store has not finished within 5 s")
        self.assertEqual(new.signals, ["KILL"])
        new.end(killed_by=SIGKILL)
        self.assertEqual(self.why(upgraded), "the store has not finished within 5 s")
        self.check_old_goes_on(old)

    def test_it_hangs(self) -> None:
        """It is killed after a while, even if the old worker says nothing."""
        _, new, upgraded = self.begin()
        self.reactor.advance(UPGRADE_SECONDS)
        self.assertEqual(new.signals, ["KILL"])
        new.end(killed_by=SIGKILL)
        self.assertEqual(self.why(upgraded), "the new process took too long")

    def test_the_old_one_says_nothing(self) -> None:
        """It is waited for, but not for ever."""
        _, new, upgraded = self.begin()
        new.end(1)
        self.reactor.advance(ORPHAN_SECONDS)
        self.assertEqual(self.why(upgraded), "the new process has ended with status 1")

    def test_there_is_no_process(self) -> None:
        """It costs the service nothing."""
        old, _ = self.serving()
        self.spawner.error = OSError(11, "Resource temporarily unavailable")
        why = self.why(self.pool.upgrade_worker(1))
        self.assertEqual(why, "its new process cannot be started: Resource temporarily unavailable")
        self.check_old_goes_on(old)

    def test_who_does_not_serve(self) -> None:
        """A worker that has just been started is not upgraded."""
        self.pool.start()
        self.assertEqual(self.why(self.pool.upgrade_worker(1)), "it does not serve now")

    def test_the_old_one_dies(self) -> None:
        """The new process ends without it; then there is a new worker, as after any death."""
        old, new, upgraded = self.begin()
        old.end(killed_by=SIGKILL)
        self.assertEqual((self.gone, self.states()), ([], [(1, False), (2, True)]))
        new.end(1)
        self.assertEqual(self.why(upgraded), "it was killed by SIGKILL")
        self.assertEqual((self.gone, self.states()), ([1, 1], [(2, True)]))
        self.reactor.advance(1.0)
        self.assertEqual(len(self.spawner.started), 4)
        self.assertFalse(self.spawner.started[3].settings.succeeds)

    def test_an_orphan_that_hangs(self) -> None:
        """It is killed after a while, so that there is a worker again."""
        old, new, upgraded = self.begin()
        old.end(killed_by=SIGKILL)
        self.reactor.advance(ORPHAN_SECONDS)
        self.assertEqual(new.signals, ["KILL"])
        new.end(killed_by=SIGKILL)
        self.why(upgraded)

    def test_the_old_one_dies_after_it(self) -> None:
        """The new process has everything, so nothing else is started."""
        old, new, upgraded = self.begin()
        old.end(killed_by=SIGKILL)
        new.tell("ready")
        self.successResultOf(upgraded)
        self.assertEqual((self.gone, self.states()), ([1], [(1, True), (2, True)]))
        self.reactor.advance(60.0)
        self.assertEqual(len(self.spawner.started), 3)

    def test_the_new_one_dies_with_everything(self) -> None:
        """Whoever hears of it first, there is a new worker."""
        for tells_first in (True, False):
            self.setUp()
            old, new, upgraded = self.begin()
            if tells_first:
                old.tell("moved", count=3, stayed=[])
            new.end(killed_by=SIGKILL)
            if not tells_first:
                self.assertNoResult(upgraded)
                old.tell("moved", count=3, stayed=[])
            self.why(upgraded)
            self.assertEqual(self.states(), [(2, True)])
            old.end()
            self.reactor.advance(1.0)
            self.assertEqual(len(self.spawner.started), 4)
            self.assertEqual(self.states(), [(1, False), (2, True)])

    def test_the_end_meanwhile(self) -> None:
        """All end, whoever has the connections; nothing is started."""
        for is_ready in (True, False):
            self.setUp()
            old, new, upgraded = self.begin()
            stopped = self.pool.stop()
            self.assertIn({"tell": "stop"}, old.heard())
            self.assertIn({"tell": "stop"}, new.heard())
            self.assertEqual(new.signals, [], "it may have connections")
            if is_ready:
                new.tell("ready")
                self.successResultOf(upgraded)
            for each in (old, new, self.spawner.started[1]):
                self.assertNoResult(stopped)
                each.end()
            self.successResultOf(stopped)
            if not is_ready:
                self.why(upgraded)
            self.reactor.advance(60.0)
            self.assertEqual(len(self.spawner.started), 3)

    def test_who_is_about_to_end(self) -> None:
        """The supervisor waits for the end of those whose line is lost, before it is replaced."""
        old, new, _ = self.begin()
        new.tell("ready")
        with movable():
            self.successResultOf(Deferred.fromCoroutine(self.pool.settle()))
            old.disconnect()
            settled = Deferred.fromCoroutine(self.pool.settle())
            self.assertNoResult(settled)
            old.end()
            self.successResultOf(settled)
            new.disconnect()
            settled = Deferred.fromCoroutine(self.pool.settle())
        self.reactor.advance(SETTLE_SECONDS)
        self.assertIn("worker 1 does not end", str(self.failureResultOf(settled).value))
        new.end()


class ExclusiveTests(PoolTestCase):
    """A worker whose store no other process may use at the same time."""

    def setUp(self) -> None:
        super().setUp()
        self.pool = self.make(1, overlaps=False)

    def test_asked_to_end(self) -> None:
        """The new one is started when the old one, which was sent SIGTERM, has ended."""
        (old,) = self.serving()
        old.tell("leaving")
        self.assertIn({"tell": "stop"}, old.heard())
        self.assertEqual((self.states(), len(self.spawner.started)), ([], 1))
        old.end()
        self.spawner.started[1].tell("ready")
        self.assertEqual(self.states(), [(1, True)])
        self.assertEqual(self.failures, [])

    def test_the_end_meanwhile(self) -> None:
        """No other is started when the service stops."""
        (old,) = self.serving()
        old.tell("leaving")
        stopped = self.pool.stop()
        old.end()
        self.successResultOf(stopped)
        self.assertEqual(len(self.spawner.started), 1)

    def test_the_next_one_cannot_start(self) -> None:
        """It is started again, as any worker that dies."""
        (old,) = self.serving()
        self.reactor.advance(QUICK + 1)
        old.tell("leaving")
        old.end()
        self.spawner.started[1].end(1)
        self.reactor.advance(1.0)
        self.assertEqual(len(self.spawner.started), 3)


class EndTests(PoolTestCase):
    def test_all_end(self) -> None:
        """All are told to stop, and it is over when all have ended."""
        workers = self.serving()
        stopped = self.pool.stop()
        for worker in workers:
            self.assertIn({"tell": "stop"}, worker.heard())
            self.assertNoResult(stopped)
            worker.end()
        self.successResultOf(stopped)
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_who_does_not_end(self) -> None:
        """A worker that takes longer than its connections may is killed."""
        workers = self.serving()
        stopped = self.pool.stop()
        workers[1].end()
        self.reactor.advance(DRAIN + WORKER_END_SECONDS)
        self.assertEqual(workers[0].signals, ["KILL"])
        workers[0].end(killed_by=SIGKILL)
        self.successResultOf(stopped)
        self.assertEqual(len(self.spawner.started), 2)

    def test_who_has_just_been_started(self) -> None:
        """A worker that does not serve yet gets a signal: it does not listen to anything else."""
        self.pool.start()
        self.pool.stop()
        self.assertEqual([each.signals for each in self.spawner.started], [["TERM"], ["TERM"]])

    def test_nothing_is_started_any_more(self) -> None:
        """A death just before the end is not replaced."""
        first, second = self.serving()
        first.end(killed_by=SIGKILL)
        stopped = self.pool.stop()
        second.end()
        self.successResultOf(stopped)
        self.reactor.advance(60.0)
        self.assertEqual(len(self.spawner.started), 2)


class TellingTests(PoolTestCase):
    def test_who_has_left(self) -> None:
        """The addresses of ended connections are passed on, with the worker."""
        self.serving()[1].tell("left", addresses=["10.0.0.1", None])
        self.assertEqual(self.left, [(2, ["10.0.0.1", None])])

    def test_observers(self) -> None:
        """They hear of new workers, of last metrics, and of ends."""
        heard: list[Any] = []

        class Observer:
            def worker_ready(self, worker: WorkerHandle) -> None:
                heard.append(("ready", worker.number))

            def worker_adopted(self, worker: WorkerHandle) -> None:
                heard.append(("adopted", worker.number))

            def metrics_known(self, worker: WorkerHandle, families: list[dict[str, Any]]) -> None:
                heard.append((families, worker.number))

            def worker_gone(self, worker: WorkerHandle) -> None:
                heard.append(("gone", worker.number))

            def export_state(self) -> dict[str, Any]:
                raise AssertionError

            def restore_state(self, state: Any) -> None:
                raise AssertionError

        self.pool.observer = Observer()
        first, _ = self.serving()
        first.tell("final", metrics=[])
        first.end()
        self.assertEqual(heard, [("ready", 1), ("ready", 2), ([], 1), ("gone", 1)])
        heard.clear()
        for name in ("restore_state", "adopt"):
            self.patch(WorkerHandle, name, lambda worker, known: None)
        new = self.make(2)
        new.observer = Observer()
        known = [{"number": number, "is_retired": False} for number in (1, 2)]
        new.adopt({"workers": known, "starts": 2, "is_proven": True, "has_served": True})
        self.assertEqual(heard, [])
        new.resume_adopted()
        self.assertEqual(heard, [("adopted", 1), ("adopted", 2)])
