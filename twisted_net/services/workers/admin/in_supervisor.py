"""Answers operators for all workers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from twisted_net.policy.close_reasons import DRAINING, FAILED
from twisted_net.services.live_flags import ReloadError
from twisted_net.services.workers.admin.pages import (
    after_in,
    merge_bans,
    merge_ended,
    merge_pages,
    merge_rooms,
    number_of,
    place_of,
    with_worker,
)
from twisted_net.services.workers.admin.sums import MetricFamily, MetricSums, gauge
from twisted_net.services.workers.channel import ChannelError
from twisted_net.services.workers.handle import ANSWER_SECONDS, WorkerHandle
from twisted_net.services.workers.supervisor import Supervisor
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.web.admin.answers import BadRequest, Plain, Question, ban_in, text_in, unstopped
from twisted_net.web.admin.endings import REMEMBERED
from twisted_net.web.admin.listing import MOST, parse_query, parse_room_query
from twisted_net.web.admin.log_level import LEVELS, changes, log_level, set_log_level
from twisted_net.web.admin.metrics import CONTENT_TYPE
from twisted_net.web.admin.views import CannotBan, ServiceView
from twisted_net.wire.text import counted

_CLOSED = re.compile(r"; (\d+) connections? closed")

_log = Logger()

Ask = Callable[..., Deferred[Any]]


class PoolAnswers:
    """Asks the workers, and makes one answer of theirs.

    :param clock: the reactor.
    :param supervisor: has the workers.
    :param view: what the supervisor itself knows and can do.
    :param decides_bans: whether the supervisor refuses those that are banned. In a chat, the
        workers do.
    """

    def __init__(
        self, clock: Any, supervisor: Supervisor, view: ServiceView, *, decides_bans: bool
    ) -> None:
        self._clock = clock
        self._supervisor = supervisor
        self._view = view
        self._decides_bans = decides_bans
        self._sums = MetricSums()
        self._told: dict[str, list[MetricFamily]] = {}  # to older code of this process, by pid
        self._level = ""  # of the log, as an operator has set it last
        self._answers: dict[str, Callable[[Question], Any]] = {
            "metrics": self._metrics,
            "health": self._health,
            "readiness": self._readiness,
            "connections": self._connections,
            "connection": self._connection,
            "rooms": self._rooms,
            "ended": self._ended,
            "bans": self._bans,
            "log_level": self._log_level,
            "close": self._close,
            "drain": self._drain,
            "reload": self._reload,
            "upgrade": self._upgrade,
            "ban": self._ban,
            "set_log_level": self._set_log_level,
        }

    async def answer(self, name: str, question: Question, /) -> Any:
        service = question.arguments.get("service", self._view.name)
        if service != self._view.name:
            raise BadRequest(404, f"There is no service {service!r} here, but {self._view.name}.")
        if name not in self._answers:
            raise BadRequest(501, "This cannot be done with --workers.")
        # The workers do it, or look, whether or not who asks is still there.
        return await unstopped(Deferred.fromCoroutine(self._answers[name](question)))

    # For the supervisor.

    def metrics_known(self, worker: WorkerHandle, families: list[MetricFamily]) -> None:
        """Note the metrics of a worker."""
        self._sums.add(worker, families)

    def worker_adopted(self, worker: WorkerHandle) -> None:
        """Know what a worker had told, and ask what it has counted: it may hang, or die."""
        self._sums.add(worker, self._told.pop(str(worker.pid), []))
        asked = worker.ask("metrics")
        asked.addCallbacks(lambda families: self._sums.add(worker, families), _ignore)

    def worker_gone(self, worker: WorkerHandle) -> None:
        """Note that a worker has ended, and its connections with it, unless another one has them.

        One that ends in good order has none by then, and has said so.
        """
        reason = DRAINING if worker.was_stopped else FAILED
        self._sums.end(worker, "" if worker.has_moved else reason.code)

    def export_state(self) -> dict[str, Any]:
        told = {str(each.pid): self._sums.last_of(each) for each in self._supervisor.pool.everybody}
        return {
            "bans": self._view.export_state(),
            "sums": self._sums.export_state(),
            "told": told,
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        self._view.restore_state(state["bans"])
        self._sums.restore_state(state["sums"])
        self._told = dict(state.get("told", {}))  # older code did not tell it

    def worker_ready(self, worker: WorkerHandle) -> None:
        """Tell a new worker what operators have set, and count once what it has taken over."""
        self._sums.subtract(worker.adopted)
        self._sums.add(worker, worker.adopted)  # until it answers; it may die before
        if self._level and self._level == log_level().name:  # else SIGHUP has changed it since
            worker.ask("set_log_level", body={"level": self._level}).addErrback(_ignore)
        if self._decides_bans:
            for row in self._view.bans():
                if row["seconds"] is not None:
                    body = {"target": row["target"], "minutes": -(-row["seconds"] // 60)}
                    worker.ask("ban", body=body).addErrback(_ignore)

    # What is asked.

    async def _metrics(self, question: Question) -> Plain:
        pool = self._supervisor.pool
        asked = pool.everybody
        answers = await self._ask_all("metrics", workers=asked)
        for worker, families in answers.items():
            if not worker.has_ended:
                self._sums.add(worker, families)
                worker.connections = open_in(families)
        old = missing_in(asked, answers)
        answered = {each.number for each in answers}.difference(old)
        numbers = [str(number) for number in range(1, pool.count + 1)]
        running = {str(worker.number): worker for worker in pool.running}
        own = [
            gauge(
                "twisted_net_worker_up",
                "Whether a worker serves: 1 or 0.",
                "worker",
                {each: float(each in running and running[each].ready) for each in numbers},
            ),
            gauge(
                "twisted_net_worker_connections",
                "Open connections of a worker.",
                "worker",
                {each: running[each].connections if each in running else 0 for each in numbers},
            ),
            gauge(
                "twisted_net_worker_answered",
                "Whether a worker has answered: 1, or 0 if only its last figures are known.",
                "worker",
                {each: float(int(each) in answered) for each in numbers},
            ),
            {
                "name": "twisted_net_worker_starts",
                "help": "Worker processes that were started.",
                "type": "counter",
                "samples": [["twisted_net_worker_starts_total", {}, pool.starts]],
            },
        ]
        return Plain(_as_text([*self._sums.totals(), *own]), CONTENT_TYPE)

    async def _health(self, question: Question) -> Plain:
        return Plain(b"ok\n")

    async def _readiness(self, question: Question) -> Plain:
        problem = self._view.not_ready or await self._problem_of_all()
        return Plain(f"{problem or 'ready'}\n".encode(), status=503 if problem else 200)

    async def _problem_of_all(self) -> str:
        """Return why no worker is ready; empty as soon as one says that it is.

        A load balancer does not wait for long, and one worker may hang.
        """
        problems: list[str] = []
        found: Deferred[str] = Deferred()

        def answered(answer: dict[str, Any]) -> None:
            if answer["status"] != 200:
                problems.append(answer["text"].strip())
            elif not found.called:
                found.callback("")

        def all_answered(_: object) -> None:
            if not found.called:
                found.callback("; ".join(dict.fromkeys(problems)) or "no worker answers")

        running = self._supervisor.pool.running
        asked = [self._ask(each, "readiness").addCallback(answered) for each in running]
        DeferredList(asked, consumeErrors=True).addCallback(all_answered)
        return await found

    async def _connections(self, question: Question) -> dict[str, Any]:
        try:
            query = parse_query(question.arguments)
        except ValueError as error:
            raise BadRequest(400, f"{error}.") from None
        count = self._supervisor.pool.count
        asked = {}
        for worker in self._supervisor.pool.running:
            arguments = dict(question.arguments)
            if "after" in arguments:
                arguments["after"] = after_in(arguments["after"], worker.number, count)
            asked[worker] = self._ask(worker, "connections", arguments=arguments)
        answers = await self._gather(asked)
        problems = [answer.get("problem", "") for answer in answers.values()]
        if problems and len(answers) == len(asked) and all(problems):
            raise BadRequest(404, problems[0])
        by_number = {worker.number: answer for worker, answer in answers.items()}
        page = merge_pages(by_number, query.sort, query.limit, count)
        return with_missing(page, asked, answers)

    async def _connection(self, question: Question) -> dict[str, Any]:
        worker, number = self._found(question)
        row = await self._ask_one(worker, "connection", number=number)
        return with_worker(row, worker.number, self._supervisor.pool.count)

    async def _rooms(self, question: Question) -> dict[str, Any]:
        try:
            limit, after = parse_room_query(question.arguments)
        except ValueError as error:
            raise BadRequest(400, f"{error}.") from None
        # All rooms of each worker: only they show which room has most members.
        asked = {
            each: Deferred.fromCoroutine(self._rooms_of(each))
            for each in self._supervisor.pool.running
        }
        answers = await self._gather(asked)
        rows = [row for found in answers.values() for row in found]
        return with_missing(merge_rooms(rows, limit, after), asked, answers)

    async def _rooms_of(self, worker: WorkerHandle) -> list[dict[str, Any]]:
        """Return the rooms of a worker, which answers with a page of them at a time."""
        rows: list[dict[str, Any]] = []
        arguments = {"limit": str(MOST)}
        while arguments:
            page = await self._ask(worker, "rooms", arguments=arguments)
            rows += page["rooms"]
            arguments = {} if page["next"] is None else {**arguments, "after": page["next"]}
        return rows

    async def _ended(self, question: Question) -> dict[str, Any]:
        asked = self._supervisor.pool.running
        answers = await self._ask_all("ended", workers=asked)
        by_number = {each.number: found for each, found in answers.items()}
        found = merge_ended(by_number, REMEMBERED, self._supervisor.pool.count)
        return with_missing(found, asked, answers)

    async def _bans(self, question: Question) -> dict[str, Any]:
        if self._decides_bans:
            return {"bans": self._view.bans()}
        asked = self._supervisor.pool.running
        answers = await self._ask_all("bans", workers=asked)
        if not answers:  # also if none runs: what is banned is banned all the same
            raise nobody_answers()
        return with_missing(merge_bans(list(answers.values())), asked, answers)

    async def _log_level(self, question: Question) -> dict[str, Any]:
        return {"level": log_level().name}

    # What is done.

    async def _close(self, question: Question) -> dict[str, Any]:
        worker, number = self._found(question)
        await self._ask_one(worker, "close", number=number, body=question.body, who=question.who)
        return {"done": f"Connection {question.number} is being closed."}

    async def _drain(self, question: Question) -> dict[str, Any]:
        if not self._supervisor.is_draining:
            changes.info("{who} drains {name}", who=question.who, name=self._view.name)
            self._supervisor.begin_drain()
        pool = self._supervisor.pool
        # Not as of their last answers: who waits for 0 would go while some are open.
        serving = [each for each in pool.everybody if each.has_served]
        answers = await self._ask_all("ping", workers=serving)
        for worker, found in answers.items():
            worker.connections = found["connections"]
        done = {"done": f"{self._view.name} is draining.", "open": pool.connections}
        return done | missing_field(missing_of(serving, answers))

    async def _reload(self, question: Question) -> dict[str, Any]:
        try:
            return {"done": await self._supervisor.reload(question.who)}
        except ReloadError as error:
            raise BadRequest(400, f"{error}; nothing has changed") from None

    async def _upgrade(self, question: Question) -> dict[str, Any]:
        changes.info("{who} upgrades {name}", who=question.who, name=self._view.name)
        assert self._view.upgrade is not None
        try:
            return {"done": await self._view.upgrade()}
        except UpgradeFailed as error:
            raise BadRequest(409, f"The upgrade has failed: {error}.") from None

    async def _ban(self, question: Question) -> dict[str, Any]:
        target, minutes, text = ban_in(question.body)
        done = ""
        if self._decides_bans:
            try:
                done = await self._view.ban(target, minutes, text)
            except CannotBan as error:
                raise BadRequest(400, str(error)) from None
        workers = self._supervisor.pool.running
        answers = await self._ask_all("ban", workers=workers, body=question.body)
        texts = [answer["done"] for answer in answers.values()]
        if self._decides_bans:
            closed = sum(int(found[1]) for found in map(_CLOSED.search, texts) if found)
            done = _CLOSED.sub(f"; {counted(closed, 'connection')} closed", done)
        elif not answers:
            raise nobody_answers()
        done = done or " ".join(dict.fromkeys(texts))
        silent = len(workers) - len(answers)
        if silent:
            have = "has" if silent == 1 else "have"
            done += f" {silent} of {counted(len(workers), 'worker')} {have} not done so."
        changes.info("{who} bans: {done}", who=question.who, done=done)
        return {"done": done}

    async def _set_log_level(self, question: Question) -> dict[str, Any]:
        name = text_in(question.body, "level")
        if name not in LEVELS:
            raise BadRequest(400, f"level: must be one of {', '.join(LEVELS)}.")
        asked = self._supervisor.pool.running
        answers = await self._ask_all("set_log_level", workers=asked, body=question.body)
        if not set_log_level(LogLevel.levelWithName(name)):
            raise BadRequest(501, "The log of this version of Twisted cannot be changed.")
        self._level = name
        changes.info("{who} sets the log level to {name}", who=question.who, name=name)
        return {"level": name} | missing_field(missing_of(asked, answers))

    # Looking on.

    async def open_tap(
        self, question: Question, write: Callable[[bytes], object], ended: Callable[[], None], /
    ) -> RemoteTap:
        worker, number = self._found(question)
        opening = self._ask_for_tap(worker, number=number, who=question.who)
        opened = await self._wait(worker, number, opening)
        return RemoteTap(worker, opened["tap"], write, ended, self._ask)

    def _ask_for_tap(self, worker: WorkerHandle, **values: Any) -> Deferred[Any]:
        """Ask for a tap, and close it if it comes when nobody waits for it any more.

        Else nobody could look on at that connection as long as it is open.
        """
        opened: Deferred[Any] = Deferred()

        def come(answer: dict[str, Any]) -> None:
            if opened.called:
                worker.tell("end-tap", tap=answer["tap"])
            else:
                opened.callback(answer)

        def refused(failure: Failure) -> None:
            if not opened.called:
                opened.errback(failure)

        worker.ask("open-tap", **values).addCallbacks(come, refused)
        return self._in_time(worker, opened)

    # Asking workers.

    def _found(self, question: Question) -> tuple[WorkerHandle, int]:
        number, own = place_of(question.number, self._supervisor.pool.count)
        worker = self._supervisor.pool.workers.get(number)
        if worker is None:
            raise BadRequest(404, f"There is no connection {question.number}.")
        return worker, own

    async def _ask_one(self, worker: WorkerHandle, name: str, **values: Any) -> Any:
        return await self._wait(worker, values["number"], self._ask(worker, name, **values))

    async def _wait(self, worker: WorkerHandle, number: int, asked: Deferred[Any]) -> Any:
        """Return what a worker answers about a connection.

        :param number: the connection's number there.
        :raises BadRequest: it refuses. The text has the number that operators know.
        """
        try:
            return await asked
        except ChannelError as error:
            shown = number_of(worker.number, number, self._supervisor.pool.count)
            text = str(error).replace(f"connection {number}", f"connection {shown}")
            raise BadRequest(
                error.status, text.replace(f"Connection {number}", f"Connection {shown}")
            ) from None

    async def _ask_all(
        self, name: str, *, workers: Iterable[WorkerHandle], **values: Any
    ) -> dict[WorkerHandle, Any]:
        return await self._gather({each: self._ask(each, name, **values) for each in workers})

    async def _gather(self, asked: dict[WorkerHandle, Deferred[Any]]) -> dict[WorkerHandle, Any]:
        """Return the answers of those that answer.

        :raises BadRequest: all that answer refuse.
        """
        results = await DeferredList(list(asked.values()), consumeErrors=True)
        found, refused = {}, []
        for worker, (is_answer, value) in zip(asked, results, strict=True):
            if is_answer:
                found[worker] = value
            elif isinstance(value.value, ChannelError) and value.value.status < 500:
                refused.append(value.value)
            else:
                _log.warn(
                    "Worker {worker} does not answer: {why}",
                    worker=worker.number,
                    why=value.getErrorMessage(),
                )
        if refused and not found:
            raise BadRequest(refused[0].status, str(refused[0]))
        for error in refused:
            _log.warn("A worker refuses what others answer: {why}", why=str(error))
        return found

    def _ask(self, worker: WorkerHandle, name: str, **values: Any) -> Deferred[Any]:
        return self._in_time(worker, worker.ask(name, **values))

    def _in_time(self, worker: WorkerHandle, asked: Deferred[Any]) -> Deferred[Any]:
        asked.addTimeout(ANSWER_SECONDS, self._clock)

        def late(failure: Failure) -> Failure:
            if not isinstance(failure.value, DeferredTimeout):
                return failure
            raise ChannelError(504, f"Worker {worker.number} does not answer.")

        return asked.addErrback(late)


class RemoteTap:
    """Looks on at a connection of a worker.

    :param number: the tap's number there.
    :param ask: asks the worker.
    """

    def __init__(
        self,
        worker: WorkerHandle,
        number: int,
        write: Callable[[bytes], object],
        ended: Callable[[], None],
        ask: Ask,
    ) -> None:
        self._ask = ask
        self._worker = worker
        self._number = number
        self._write = write
        self._ended = ended
        self._lines = 0
        self._missed: int | None = None
        self._is_over = self._has_ended = False
        worker.taps[number] = self

    def begin(self) -> None:
        self._worker.tell("begin-tap", tap=self._number)

    def over(self) -> Deferred[tuple[int, int | None]]:
        self._is_over = True
        self._worker.taps.pop(self._number, None)
        if self._has_ended:
            return succeed((self._lines, self._missed))
        closed = self._ask(self._worker, "close-tap", number=self._number)
        # Only the worker knows what did not fit.
        return closed.addCallbacks(
            lambda counts: (self._lines, counts["missed"]), lambda _: (self._lines, None)
        )

    # For the worker.

    def add_line(self, text: str) -> None:
        """Pass on a line."""
        self._lines += 1
        self._write(text.encode())

    def end(self, missed: int | None = None, /) -> None:
        """The connection, or its worker, has ended."""
        self._has_ended, self._missed = True, missed
        if not self._is_over:
            self._ended()

    # For the operator's connection.

    def pauseProducing(self) -> None:
        self._worker.tell("pause-tap", tap=self._number)

    def resumeProducing(self) -> None:
        self._worker.tell("resume-tap", tap=self._number)

    def stopProducing(self) -> None:
        self._worker.tell("pause-tap", tap=self._number)


def missing_of(asked: Iterable[WorkerHandle], answers: Mapping[WorkerHandle, object]) -> list[int]:
    """Return the numbers of the workers whose part is missing in an answer.

    One that does not serve yet, or any more, has nothing that could be missing.
    """
    silent = [each for each in asked if each not in answers]
    return sorted({each.number for each in silent if each.has_served and not each.is_gone})


def missing_in(asked: Iterable[WorkerHandle], answers: Mapping[WorkerHandle, object]) -> list[int]:
    """Return as :func:`missing_of`.

    :raises BadRequest: there is nothing but what is missing.
    """
    missing = missing_of(asked, answers)
    if missing and not answers:
        raise nobody_answers()
    return missing


def with_missing(
    found: dict[str, Any], asked: Iterable[WorkerHandle], answers: Mapping[WorkerHandle, object]
) -> dict[str, Any]:
    """Return what was found, and whose part is missing, if it is.

    :raises BadRequest: as :func:`missing_in`.
    """
    return found | missing_field(missing_in(asked, answers))


def missing_field(numbers: list[int]) -> dict[str, Any]:
    """Return what an answer has about workers that have not answered."""
    return {"missing_workers": numbers} if numbers else {}


def nobody_answers() -> BadRequest:
    """Return the error if all workers hang. As that of ``/readyz``, it may soon be over."""
    return BadRequest(503, "No worker answers.")


def open_in(families: list[MetricFamily]) -> int:
    """Return how many open connections a worker's metrics have."""
    samples = (each["samples"] for each in families if each["name"] == "twisted_net_connections")
    return int(sum(value for found in samples for _, _, value in found))


def _as_text(families: list[MetricFamily]) -> bytes:
    """Return metrics in Prometheus' text format."""

    class Collected:
        def collect(self) -> list[Metric]:
            return [_metric(each) for each in families]

    return generate_latest(Collected())


def _metric(family: MetricFamily) -> Metric:
    metric = Metric(family["name"], family["help"], family["type"])
    for name, labels, value in family["samples"]:
        metric.add_sample(name, labels, value)
    return metric


def _ignore(failure: Failure) -> None:
    """The worker has just ended, or bans it already."""
