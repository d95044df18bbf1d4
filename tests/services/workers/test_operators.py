"""Tests for the operator's view of workers: what the supervisor asks, and what a worker answers."""

from __future__ import annotations

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.services.workers.fake_processes import FakeWorker
from tests.services.workers.test_pool import PoolTestCase
from tests.web.admin.operating import LOOPBACK, request_bytes
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.echo import EchoFactory
from twisted_net.endpoints.listening import ListenerService
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.services.workers.admin import in_supervisor as module
from twisted_net.services.workers.admin.in_supervisor import PoolAnswers, open_in
from twisted_net.services.workers.admin.in_worker import WorkerAnswers
from twisted_net.services.workers.channel import ChannelError
from twisted_net.services.workers.handle import ANSWER_SECONDS
from twisted_net.testing import connect_peer
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.web.admin.answers import BadRequest, Plain, Question
from twisted_net.web.admin.histogram import Histogram
from twisted_net.web.admin.log_level import set_log_level
from twisted_net.web.admin.site import AdminResource, AdminSite
from twisted_net.web.admin.tap import MOST_QUEUED
from twisted_net.web.admin.views import ServiceView


class Service(ListenerService):
    """A service that listens nowhere."""

    pool: Any

    def __init__(self, factory: ConnectionFactory) -> None:
        super().__init__(factory, [])
        self.startService()


def counted(count: int) -> list[Any]:
    """Return the metrics of a worker that has counted so much."""
    samples = [["twisted_net_x_total", {"service": "netecho"}, count]]
    return [{"name": "twisted_net_x", "help": "X.", "type": "counter", "samples": samples}]


class PoolAnswersTests(PoolTestCase):
    def setUp(self) -> None:
        super().setUp()
        factory = ConnectionFactory(clock=self.reactor, admission=Admission(AdmissionRules()))
        self.service: Any = Service(factory)
        self.service.pool = self.pool
        self.view = ServiceView("netecho", self.service)
        self.answers = PoolAnswers(self.reactor, self.service, self.view, decides_bans=True)
        self.pool.observer = self.answers
        self.first, self.second = self.serving()
        self.heard: dict[int, list[Any]] = {}

    def ask(self, name: str, **question: Any) -> Deferred[Any]:
        answer = self.answers.answer(name, Question(who="An operator", **question))
        return Deferred.fromCoroutine(answer)

    def asked(self, worker: FakeWorker) -> dict[str, Any]:
        """Return what a worker was asked last, apart from whether it lives."""
        found = [each for each in worker.heard() if each.get("ask", "ping") != "ping"]
        return found[-1]

    def reply(self, worker: FakeWorker, answer: Any) -> dict[str, Any]:
        """Answer what a worker was asked."""
        asked = self.asked(worker)
        worker.send({"id": asked["id"], "answer": answer})
        return asked

    def metrics(self, worker: FakeWorker, count: int) -> None:
        """Answer with metrics: a counter, and as many open connections in each of two states."""
        own = {"service": "netecho"}
        gauge = [
            ["twisted_net_connections", {**own, "state": state}, count] for state in ("open", "x")
        ]
        samples = [["twisted_net_x_total", own, count]]
        self.reply(
            worker,
            [
                {"name": "twisted_net_x", "help": "X.", "type": "counter", "samples": samples},
                {"name": "twisted_net_connections", "help": "", "type": "gauge", "samples": gauge},
            ],
        )

    def scraped(self) -> list[str]:
        asked = self.ask("metrics")
        for count, worker in enumerate((self.first, self.second), 1):
            if worker.pid is not None:
                self.metrics(worker, count)
        found = self.successResultOf(asked)
        assert isinstance(found, Plain)
        return [line for line in found.body.decode().splitlines() if not line.startswith("#")]

    def test_metrics(self) -> None:
        """Sums of the workers, and what is known of each; they do not fall when one dies."""
        lines = self.scraped()
        self.assertIn('twisted_net_x_total{service="netecho"} 3.0', lines)
        self.assertIn('twisted_net_worker_up{worker="1"} 1.0', lines)
        for number in (1, 2):  # as of now
            line = f'twisted_net_worker_connections{{worker="{number}"}} {2 * number}.0'
            self.assertIn(line, lines)
        self.assertIn("twisted_net_worker_starts_total 2.0", lines)
        self.first.end(killed_by=9)
        lines = self.scraped()
        self.assertIn('twisted_net_x_total{service="netecho"} 3.0', lines)
        self.assertIn('twisted_net_worker_up{worker="1"} 0.0', lines)

    def test_a_room_of_one_worker(self) -> None:
        """A room is unknown if no worker knows it, and if all have answered."""
        problem = "There is no room #tea here, or nobody is in it."
        page = {"connections": [], "total": 1, "next": None}
        asked = self.ask("connections", arguments={"room": "tea"})
        self.reply(self.first, page | {"problem": problem})
        self.reply(self.second, page)
        found = self.successResultOf(asked)
        self.assertEqual(found["total"], 2)
        self.assertNotIn("missing_workers", found)
        asked = self.ask("connections", arguments={"room": "tea"})
        for worker in (self.first, self.second):
            self.reply(worker, page | {"problem": problem})
        refused = self.failureResultOf(asked, BadRequest).value
        self.assertEqual((refused.status, str(refused)), (404, problem))

    def test_a_last_word(self) -> None:
        """What a worker has counted until its end is in the sum, even if nobody has asked."""
        samples = [["twisted_net_x_total", {"service": "netecho"}, 10]]
        family = {"name": "twisted_net_x", "help": "X.", "type": "counter", "samples": samples}
        self.first.tell("final", metrics=[family])
        self.first.end()
        self.assertIn('twisted_net_x_total{service="netecho"} 12.0', self.scraped())

    def test_connections_of_the_dead(self) -> None:
        """They have ended with their worker, unless its successor has them."""
        name, labels = "twisted_net_connections", {"service": "netecho"}
        opened = [[name, {**labels, "state": "open"}, 4]]
        ended = [
            [f"{name}_ended_total", {**labels, "reason": reason}, 1]
            for reason in ("failed", "draining")
        ]
        told = [
            {"name": name, "help": "X.", "type": "gauge", "samples": opened},
            {"name": f"{name}_ended", "help": "X.", "type": "counter", "samples": ended},
        ]

        def ends() -> dict[str, float]:
            return {
                sample[1]["reason"]: sample[2]
                for family in self.answers._sums.totals()
                for sample in family["samples"]
                if "reason" in sample[1]
            }

        first, second = self.pool.running
        for worker in (first, second):
            self.answers.metrics_known(worker, told)
        self.first.end(killed_by=9)
        self.assertEqual(ends(), {"failed": 6, "draining": 2})
        self.pool._retire(second)
        self.second.end(killed_by=9)
        self.assertEqual(ends(), {"failed": 6, "draining": 6})
        self.answers.metrics_known(first, told)
        first.has_moved = True
        self.answers.worker_gone(first)
        self.assertEqual(ends(), {"failed": 7, "draining": 7})

    def test_who_does_not_answer(self) -> None:
        """After some seconds, the answer is without it, and says so."""
        empty = {"connections": [], "total": 0, "next": None}
        row = {"name": "a", "topic": "", "members": 1}
        self.answers = self.of_a_chat()
        for name, answer in (
            ("connections", empty),
            ("rooms", {"rooms": [row], "next": None, "total": 1}),
            ("ended", {"ended": []}),
            ("bans", {"bans": []}),
        ):
            asked = self.ask(name)
            self.reply(self.second, answer)
            self.assertNoResult(asked)
            self.reactor.advance(ANSWER_SECONDS)
            found = self.successResultOf(asked)
            self.assertEqual(found, {**answer, "missing_workers": [1]}, name)

    def test_nobody_answers(self) -> None:
        """That is an error, and no empty list."""
        self.answers = self.of_a_chat()
        for name in ("metrics", "connections", "rooms", "ended", "bans"):
            asked = self.ask(name)
            self.reactor.advance(ANSWER_SECONDS)
            error = self.failureResultOf(asked, BadRequest).value
            self.assertEqual((error.status, str(error)), (503, "No worker answers."), name)

    def test_nobody_serves(self) -> None:
        """Then nobody is connected: the lists are empty, but for bans, which hold all the same."""
        self.answers = self.of_a_chat()
        self.scraped()
        for worker in (self.first, self.second):
            worker.end(killed_by=9)
        self.assertEqual(self.successResultOf(self.ask("rooms"))["rooms"], [])
        text = self.successResultOf(self.ask("metrics")).body
        self.assertIn(b'twisted_net_x_total{service="netecho"} 3.0', text)
        self.assertEqual(self.failureResultOf(self.ask("bans"), BadRequest).value.status, 503)

    def test_one_that_dies_is_not_missing(self) -> None:
        """Its connections have ended with it."""
        asked = self.ask("ended")
        self.first.end(killed_by=9)
        self.reply(self.second, {"ended": []})
        self.assertEqual(self.successResultOf(asked), {"ended": []})

    def test_metrics_of_one_that_does_not_answer(self) -> None:
        """Those that are known are in the sums, and it is said whose these are."""
        lines = self.scraped()
        self.assertIn('twisted_net_worker_answered{worker="1"} 1.0', lines)
        asked = self.ask("metrics")
        self.metrics(self.second, 7)
        self.reactor.advance(ANSWER_SECONDS)
        lines = self.successResultOf(asked).body.decode().splitlines()
        self.assertIn('twisted_net_x_total{service="netecho"} 8.0', lines)
        self.assertIn('twisted_net_worker_answered{worker="1"} 0.0', lines)
        self.assertIn('twisted_net_worker_answered{worker="2"} 1.0', lines)

    def test_a_change_that_not_all_workers_hear(self) -> None:
        """The answer says whose is missing."""
        self.patch(module, "set_log_level", lambda _: True)
        asked = self.ask("set_log_level", body={"level": "warn"})
        self.reply(self.second, {"level": "warn"})
        self.reactor.advance(ANSWER_SECONDS)
        expected: dict[str, Any] = {"level": "warn", "missing_workers": [1]}
        self.assertEqual(self.successResultOf(asked), expected)
        asked = self.ask("drain")
        self.reactor.advance(ANSWER_SECONDS)
        self.assertEqual(self.successResultOf(asked)["missing_workers"], [1, 2])

    def of_a_chat(self) -> PoolAnswers:
        """Return the answers of a service whose workers decide who is banned."""
        answers = PoolAnswers(self.reactor, self.service, self.view, decides_bans=False)
        self.pool.observer = answers
        return answers

    def test_who_refuses_what_others_answer(self) -> None:
        """Is in the log, and missing in the answer."""
        asked = self.ask("ended")
        question = self.asked(self.first)
        self.first.send({"id": question["id"], "error": "No.", "status": 400})
        with capturedLogs() as logs:
            self.reply(self.second, {"ended": []})
        expected: dict[str, Any] = {"ended": [], "missing_workers": [1]}
        self.assertEqual(self.successResultOf(asked), expected)
        self.assertEqual(
            [formatEvent(event) for event in logs], ["A worker refuses what others answer: No."]
        )

    def test_ready(self) -> None:
        """One that is ready is enough; if none is, they say why."""
        asked = self.ask("readiness")
        self.reply(self.first, {"text": "no store\n", "status": 503})
        self.assertNoResult(asked)
        self.reply(self.second, {"text": "ready\n", "status": 200})
        self.assertEqual(self.successResultOf(asked), Plain(b"ready\n"))
        asked = self.ask("readiness")
        self.reply(self.second, {"text": "ready\n", "status": 200})
        self.assertEqual(self.successResultOf(asked), Plain(b"ready\n"))  # the other one may hang
        self.reply(self.first, {"text": "ready\n", "status": 200})
        asked = self.ask("readiness")
        for worker in (self.first, self.second):
            self.reply(worker, {"text": "no store\n", "status": 503})
        self.assertEqual(self.successResultOf(asked), Plain(b"no store\n", status=503))
        asked = self.ask("readiness")
        self.reactor.advance(ANSWER_SECONDS)
        self.assertEqual(self.successResultOf(asked), Plain(b"no worker answers\n", status=503))

    def test_closing(self) -> None:
        """The number leads to the worker, and errors have the number that was given."""
        asked = self.ask("close", number=7, body={"text": "x"})  # 3 at the second of 2
        question = self.reply(self.second, {"done": "x"})
        self.assertEqual((question["number"], question["body"]), (3, {"text": "x"}))
        self.assertEqual(self.successResultOf(asked), {"done": "Connection 7 is being closed."})
        asked = self.ask("connection", number=7)
        question = self.asked(self.second)
        self.second.send(
            {"id": question["id"], "error": "There is no connection 3.", "status": 404}
        )
        error = self.failureResultOf(asked, BadRequest).value
        self.assertEqual((error.status, str(error)), (404, "There is no connection 7."))

    def test_draining(self) -> None:
        """The connections that are open now are counted, not those of the last answers."""
        for counts in ((3, 7), (0, 4), (0, 0)):
            asked = self.ask("drain")
            for worker, count in zip((self.first, self.second), counts, strict=True):
                found = [each for each in worker.heard() if each.get("ask") == "ping"]
                worker.send({"id": found[-1]["id"], "answer": {"connections": count}})
            expected = {"done": "netecho is draining.", "open": sum(counts)}
            self.assertEqual(self.successResultOf(asked), expected)

    def test_bans(self) -> None:
        """The supervisor refuses them from now on, all workers close theirs, new ones hear it."""
        asked = self.ask("ban", body={"target": "10.0.0.0/8", "minutes": 5})
        text = "10.0.0.0/8 may not connect for 5 minutes; 2 connections closed."
        with capturedLogs() as logs:
            for worker in (self.first, self.second):
                self.assertNotIn("who", self.reply(worker, {"done": text}))
        done = text.replace("; 2", "; 4")
        self.assertEqual(self.successResultOf(asked)["done"], done)
        self.assertEqual([formatEvent(event) for event in logs], [f"An operator bans: {done}"])
        admission = self.service.factory.admission
        self.assertIsNotNone(admission.admit("10.1.2.3", 0.0))
        self.first.end(killed_by=9)
        self.reactor.advance(2.0)
        successor = self.spawner.started[2]
        successor.tell("ready")
        self.assertEqual(self.asked(successor)["body"], {"target": "10.0.0.0/8", "minutes": 5})
        self.view.stop()

    def test_a_ban_that_not_all_workers_hear(self) -> None:
        """The answer says so. In a chat, which has no ban without them, it is an error."""
        body = {"target": "10.0.0.0/8", "minutes": 5}
        text = "10.0.0.0/8 may not connect for 5 minutes; 2 connections closed."
        asked = self.ask("ban", body=body)
        self.reply(self.first, {"done": text})
        self.reactor.advance(ANSWER_SECONDS)
        expected = f"{text} 1 of 2 workers has not done so."
        self.assertEqual(self.successResultOf(asked)["done"], expected)
        asked = self.ask("ban", body=body)
        self.reactor.advance(ANSWER_SECONDS)
        expected = f"{text.replace('2 c', '0 c')} 2 of 2 workers have not done so."
        self.assertEqual(self.successResultOf(asked)["done"], expected)
        self.view.stop()
        self.answers = PoolAnswers(self.reactor, self.service, self.view, decides_bans=False)
        asked = self.ask("ban", body={"target": "bob"})
        self.reactor.advance(ANSWER_SECONDS)
        error = self.failureResultOf(asked, BadRequest).value
        self.assertEqual((error.status, str(error)), (503, "No worker answers."))

    def test_an_upgrade(self) -> None:
        """The supervisor does it; who asks hears what was done, or why it has failed."""
        upgrades: list[Deferred[str]] = [Deferred(), Deferred()]
        self.view.upgrade = iter(upgrades).__next__
        first, second = self.ask("upgrade"), self.ask("upgrade")
        upgrades[0].callback("Done.")
        self.assertEqual(self.successResultOf(first), {"done": "Done."})
        upgrades[1].errback(UpgradeFailed("it is late"))
        refused = self.failureResultOf(second, BadRequest).value
        self.assertEqual(
            (refused.status, str(refused)), (409, "The upgrade has failed: it is late.")
        )

    def test_metrics_of_a_successor(self) -> None:
        """What it has taken over counts once; nothing falls, also if the supervisor is replaced."""

        self.scraped()
        self.pool.upgrade_worker(1)
        new = self.spawner.started[2]
        new.tell("ready", metrics=counted(1))
        self.first.tell("final", metrics=counted(5))
        self.first.end()
        self.first = new
        self.assertIn('twisted_net_x_total{service="netecho"} 7.0', self.scraped())
        state = self.answers.export_state()
        self.answers = PoolAnswers(self.reactor, self.service, self.view, decides_bans=True)
        self.answers.restore_state(json.loads(json.dumps(state)))
        self.assertIn('twisted_net_x_total{service="netecho"} 7.0', self.scraped())

    def test_a_successor_that_dies(self) -> None:
        """What it has taken over stays in the sum, also if nobody has asked it for anything."""

        self.scraped()
        self.pool.upgrade_worker(1)
        new = self.spawner.started[2]
        new.tell("ready", metrics=counted(4))
        self.first.tell("final", metrics=counted(5))
        self.first.end()
        new.end(killed_by=9)
        self.assertIn('twisted_net_x_total{service="netecho"} 7.0', self.scraped())

    def become_new_code(self) -> None:
        """Go on as new code of the supervisor does: it knows what was exported, and no more."""
        state = json.loads(json.dumps(self.answers.export_state()))
        self.answers = PoolAnswers(self.reactor, self.service, self.view, decides_bans=True)
        self.pool.observer = self.answers
        self.answers.restore_state(state)
        for worker in self.pool.everybody:
            self.answers.worker_adopted(worker)

    def test_a_worker_dies_after_an_upgrade(self) -> None:
        """New code of the supervisor asks at once what workers have counted that go on.

        Of one that has not answered until its end, it knows what the old code knew.
        """
        self.scraped()
        self.become_new_code()
        self.metrics(self.first, 5)
        self.first.end(killed_by=9)
        self.second.end(killed_by=9)  # has not answered
        self.assertIn('twisted_net_x_total{service="netecho"} 7.0', self.scraped())

    def test_a_worker_hangs_after_an_upgrade(self) -> None:
        """What the old code knew of it stays in the sums."""
        self.scraped()
        self.become_new_code()
        asked = self.ask("metrics")
        self.metrics(self.first, 1)
        self.reactor.advance(ANSWER_SECONDS)
        body = self.successResultOf(asked).body
        self.assertIn(b'twisted_net_x_total{service="netecho"} 3.0', body)

    def test_no_counter_falls(self) -> None:
        """Of a killed worker, every one that it had told stays, and its successor counts on."""
        clock = Clock()
        factory = EchoFactory(clock=clock, admission=Admission(AdmissionRules()))
        view = ServiceView("netecho", Service(factory), appends=Histogram())
        worker = WorkerAnswers(clock, view, lambda *_, **__: None)
        worker.start()
        self.addCleanup(worker.stop)
        new = self.successResultOf(Deferred.fromCoroutine(worker.metrics()))
        peer = connect_peer(factory, clock=clock)
        peer.send(b"hello")
        assert view.appends is not None
        view.appends.observe(0.01)
        clock.pump([0.5] * 4)
        families = self.successResultOf(Deferred.fromCoroutine(worker.metrics()))

        def counters() -> dict[str, float]:
            body = self.successResultOf(asked).body.decode()
            return {
                f"{each.name}{sorted(each.labels.items())}": each.value
                for family in text_string_to_metric_families(body)
                for each in family.samples
                if family.type in ("counter", "histogram")
            }

        asked = self.ask("metrics")
        for fake in (self.first, self.second):
            self.reply(fake, families)
        before = counters()
        self.assertGreater(len([each for each in before.values() if each]), 10)
        self.assertTrue(any("_bucket" in name for name in before))
        for _ in range(2):
            self.spawner.started[-1].end(killed_by=9)
            self.reactor.advance(10)
            self.spawner.started[-1].tell("ready")
            asked = self.ask("metrics")
            for fake, told in (self.first, families), (self.spawner.started[-1], new):
                self.reply(fake, told)
            after = counters()
            fallen = [name for name in before if after.get(name, -1) < before[name]]
            self.assertEqual(fallen, [])
            before = after

    def test_the_log_level(self) -> None:
        """Workers that start later get the level, too, until the configuration has another one."""
        self.patch(module, "set_log_level", self.set_level)
        self.patch(module, "log_level", lambda: LogLevel.levelWithName(self.level))
        self.level = "debug"
        with capturedLogs() as logs:
            asked = self.ask("set_log_level", body={"level": "warn"})
            for worker in (self.first, self.second):
                self.assertNotIn("who", self.reply(worker, {"level": "warn"}))
            self.assertEqual(self.successResultOf(asked), {"level": "warn"})
        lines = [formatEvent(event) for event in logs]
        self.assertEqual(lines, ["An operator sets the log level to warn"])
        self.assertEqual(self.level, "warn")
        self.assertEqual(self.restarted()["body"], {"level": "warn"})
        self.level = "info"
        self.assertIsNone(self.restarted())

    def set_level(self, level: Any) -> bool:
        self.level = level.name
        return True

    def restarted(self) -> Any:
        """Let the first worker die, and return what its successor is asked about the log."""
        before = len(self.spawner.started)
        self.spawner.started[-1 if before > 2 else 0].end(killed_by=9)
        self.reactor.advance(60)
        successor = self.spawner.started[before]
        successor.tell("ready")
        asked = [each for each in successor.heard() if each.get("ask") == "set_log_level"]
        return asked[0] if asked else None

    def test_who_asks_goes_away(self) -> None:
        """Nothing of it is an error, and what is done is done, with its line in the log."""
        site: Any = AdminSite(AdminResource(self.answers, self.reactor), reactor=self.reactor)
        with capturedLogs() as logs:
            for request in (
                *(request_bytes(f"/connections{path}") for path in ("", "/7", "/7/tap")),
                request_bytes("/bans", "POST", {"target": "10.0.0.0/8", "minutes": 0}),
            ):
                peer = connect_peer(site, clock=self.reactor, host=LOOPBACK)
                peer.send(request)
                self.reactor.advance(0)
                peer.reset()
                for worker in (self.first, self.second):
                    for asked in worker.heard():
                        if asked.get("ask") == "ban":
                            worker.send({"id": asked["id"], "answer": {"done": "x"}})
                        elif "id" in asked:
                            worker.send({"id": asked["id"], "error": "Gone.", "status": 404})
        (line,) = [str(formatEvent(event)) for event in logs if event["log_level"].name == "info"]
        self.assertIn(" bans: 10.0.0.0/8 was not banned.", line)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_what_nobody_knows(self) -> None:
        """A question that only a process by itself can answer is refused."""
        self.assertEqual(self.failureResultOf(self.ask("other"), BadRequest).value.status, 501)

    def test_wrong_questions(self) -> None:
        """They are answered here, or as the workers do."""
        for name, body in (
            ("ban", {"target": "nonsense"}),
            ("ban", {"target": "10.0.0.1", "minutes": -1}),
            ("set_log_level", {"level": "loud"}),
        ):
            error = self.failureResultOf(self.ask(name, body=body), BadRequest).value
            self.assertEqual(error.status, 400)
        self.failureResultOf(self.ask("connections", arguments={"sort": "x"}), BadRequest)
        question = Question(arguments={"service": "other"})
        asked = Deferred.fromCoroutine(self.answers.answer("rooms", question))
        self.failureResultOf(asked, BadRequest)
        asked = self.ask("ended")
        for worker in (self.first, self.second):
            number = self.asked(worker)["id"]
            worker.send({"id": number, "error": "No.", "status": 404})
        self.assertEqual(str(self.failureResultOf(asked, BadRequest).value), "No.")

    def test_looking_on(self) -> None:
        """Lines of the worker go to the operator, and what the operator does goes to the worker."""
        lines: list[bytes] = []
        ends: list[bool] = []
        opened = Deferred.fromCoroutine(
            self.answers.open_tap(Question(number=7), lines.append, lambda: ends.append(True))
        )
        self.assertEqual(self.reply(self.second, {"tap": 4})["number"], 3)
        tap = self.successResultOf(opened)
        tap.begin()
        tap.pauseProducing()
        tap.resumeProducing()
        told = [each["tell"] for each in self.second.heard() if each.get("tap") == 4]
        self.assertEqual(told, ["begin-tap", "pause-tap", "resume-tap"])
        self.second.tell("tap-line", tap=4, text="{}\n")
        self.second.tell("tap-line", tap=5, text="of nobody\n")
        self.assertEqual(lines, [b"{}\n"])
        closed = tap.over()
        self.assertEqual(self.reply(self.second, {"lines": 9, "missed": 7})["number"], 4)
        self.assertEqual((ends, self.successResultOf(closed)), ([], (1, 7)))

    def opened(self) -> tuple[Any, list[bool]]:
        """Return a tap at a connection of the second worker, and its ends."""
        ends: list[bool] = []
        opening = Deferred.fromCoroutine(
            self.answers.open_tap(Question(number=7), lambda _: None, lambda: ends.append(True))
        )
        self.reply(self.second, {"tap": 4})
        return self.successResultOf(opening), ends

    def test_the_worker_of_a_tap_ends(self) -> None:
        """Nobody knows what its viewer has missed."""
        tap, ends = self.opened()
        self.second.end(killed_by=9)
        self.assertEqual((ends, self.successResultOf(tap.over())), ([True], (0, None)))

    def test_the_connection_of_a_tap_ends(self) -> None:
        """Its worker has said what was missed, and is not asked: it may end, too."""
        tap, ends = self.opened()
        self.second.tell("tap-ended", tap=4, failed=False, missed=3)
        self.assertEqual((ends, self.successResultOf(tap.over())), ([True], (0, 3)))
        self.assertEqual([each for each in self.second.heard() if each.get("ask") != "ping"], [])

    def test_a_viewer_who_has_gone_before(self) -> None:
        """A tap that comes too late is closed, so that others can look on."""
        for leave in (
            lambda opening: opening.cancel(),
            lambda opening: self.reactor.advance(ANSWER_SECONDS),
        ):
            opening = Deferred.fromCoroutine(
                self.answers.open_tap(Question(number=7), lambda _: None, lambda: None)
            )
            asked = self.asked(self.second)
            leave(opening)
            self.failureResultOf(opening)
            self.second.send({"id": asked["id"], "answer": {"tap": 4}})
            self.assertIn({"tell": "end-tap", "tap": 4}, self.second.heard())


class WorkerAnswersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = EchoFactory(clock=self.clock, admission=Admission(AdmissionRules()))
        self.told: list[Any] = []
        self.answers = WorkerAnswers(
            self.clock,
            ServiceView("netecho", Service(self.factory)),
            lambda name, **values: self.told.append((name, values)),
        )
        self.answers.start()
        self.addCleanup(self.answers.stop)
        self.peer = connect_peer(self.factory, clock=self.clock)
        self.peer.send(b"hello")

    def answer(self, name: str, values: dict[str, Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(self.answers.answer(name, values)))

    def refuse(self, name: str, values: dict[str, Any]) -> int:
        """Return the status with which a question is refused."""
        asked = Deferred.fromCoroutine(self.answers.answer(name, values))
        return int(self.failureResultOf(asked, ChannelError).value.status)

    def test_questions(self) -> None:
        """They are answered as a service without workers does."""
        page = self.answer("connections", {"arguments": {"sort": "bytes_received"}})
        self.assertEqual([row["bytes_received"] for row in page["connections"]], [5])
        self.assertEqual(self.answer("readiness", {}), {"text": "ready\n", "status": 200})
        self.assertEqual(self.refuse("connection", {"number": 9}), 404)

    def test_metrics(self) -> None:
        """They are told with their names, types and labels."""
        families = self.answer("metrics", {})
        self.assertEqual(open_in(families), 1)
        (family,) = [each for each in families if "received_bytes" in each["name"]]
        self.assertEqual(family["type"], "counter")
        self.assertEqual(
            family["samples"],
            [["twisted_net_received_bytes_total", {"service": "netecho"}, 5.0]],
        )

    def test_what_all_workers_do(self) -> None:
        """The supervisor logs it, once; it is not in the log of each worker."""
        self.addCleanup(set_log_level, LogLevel.debug)
        with capturedLogs() as logs:
            self.answer("set_log_level", {"body": {"level": "debug"}})
            self.answer("ban", {"body": {"target": "10.0.0.0/8"}})
        self.assertEqual(logs, [])

    def test_looking_on(self) -> None:
        """Nothing is told before the operator is ready, or after it is gone."""
        opened = self.answer("open-tap", {"number": 1})
        self.assertEqual((opened, self.told), ({"tap": 1}, []))
        self.assertEqual(self.refuse("open-tap", {"number": 1}), 409)
        self.answers.told("begin-tap", {"tap": 1})
        self.peer.send(b"look")
        names = [name for name, _ in self.told]
        self.assertEqual(names, ["tap-line"] * 3)
        self.assertIn('"text":"look"', self.told[1][1]["text"])
        self.assertEqual(self.refuse("open-tap", {"number": 1}), 409)
        self.answers.told("end-tap", {"tap": 1})
        self.answers.told("end-tap", {"tap": 1})
        self.peer.send(b"again")
        self.assertEqual(len(self.told), 3)
        self.assertEqual(self.answer("open-tap", {"number": 1}), {"tap": 4})
        self.answers.told("begin-tap", {"tap": 4})
        self.answers.told("pause-tap", {"tap": 4})
        for _ in range(MOST_QUEUED // 1000):
            self.peer.send(b"x" * 1000)
        counts = self.answer("close-tap", {"number": 4})
        self.assertEqual(counts["lines"], 1)
        self.assertGreater(counts["missed"], 100)
        self.assertEqual(self.refuse("close-tap", {"number": 4}), 404)

    def test_the_end_before_a_tap_begins(self) -> None:
        """The viewer hears of it, and nothing is changed that has ended."""
        self.answer("open-tap", {"number": 1})
        connection = self.peer.protocol
        self.peer.reset()
        self.assertEqual([name for name, _ in self.told], ["tap-line", "tap-ended"])
        self.assertEqual(self.told[1][1], {"tap": 1, "failed": False, "missed": 0})
        self.answers.told("begin-tap", {"tap": 1})
        self.assertNotIn("message_received", vars(connection))
