"""Answers what operators ask of the services of this process, apart from HTTP."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import LogLevel

from twisted_net.connection.connection import Connection, State
from twisted_net.policy.close_reasons import KICKED
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.web.admin.histogram import Histogram
from twisted_net.web.admin.listing import (
    connection_details,
    ended_row,
    list_connections,
    list_rooms,
    parse_query,
    parse_room_query,
)
from twisted_net.web.admin.log_level import LEVELS, changes, log_level, set_log_level
from twisted_net.web.admin.metrics import CONTENT_TYPE, read_metrics
from twisted_net.web.admin.tap import Tap
from twisted_net.web.admin.views import CannotBan, CannotReload, ServiceView
from twisted_net.wire.text import printable

LONGEST_BAN = 99_999_999
"""Minutes: 190 years, as in the chat."""

_LONGEST_TEXT = 400

_Result = TypeVar("_Result")


class BadRequest(Exception):
    """A request cannot be answered.

    :param status: of HTTP.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Question:
    """What an operator asks.

    :ivar arguments: those of the URL.
    :ivar number: the number of a connection, if the path has one.
    :ivar body: the JSON object of a request that changes something.
    :ivar who: who asks, for the log. Empty if the supervisor asks all workers: it logs by itself.
    """

    arguments: dict[str, str] = field(default_factory=dict)
    number: int = 0
    body: dict[str, Any] = field(default_factory=dict)
    who: str = ""


@dataclass(frozen=True, slots=True)
class Plain:
    """An answer that is not JSON.

    :ivar kind: its content type.
    """

    body: bytes
    kind: str = "text/plain; charset=utf-8"
    status: int = 200


class OpenTap(Protocol):
    """What an operator looks on at. It is the producer of the answer, too.

    Nobody else can look on at the connection from now on, until it is over.
    """

    def begin(self) -> None:
        """Begin.

        :raises AttributeError: the connection cannot be watched.
        """

    def over(self) -> Deferred[tuple[int, int | None]]:
        """The operator is gone, or the connection.

        :return: fires with the lines that the operator got, and those that did not fit; None if
            nobody knows how many.
        """

    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...


class Answers(Protocol):
    """Answers what operators ask."""

    async def answer(self, name: str, question: Question, /) -> Any:
        """Return a JSON value or a :class:`Plain`.

        :raises BadRequest: it cannot be answered.
        """

    async def open_tap(
        self, question: Question, write: Callable[[bytes], object], ended: Callable[[], None], /
    ) -> OpenTap:
        """Return a tap at a connection.

        :param write: takes lines for the operator.
        :param ended: called after the last line.
        :raises BadRequest: there is no such connection, or somebody looks on at it already.
        """


class ServiceAnswers:
    """Answers for the services of this process.

    :param views: the services.
    :param turns: the sampled turns of the reactor.
    """

    def __init__(self, views: Sequence[ServiceView], turns: Histogram) -> None:
        self._views = {view.name: view for view in views}
        self._turns = turns
        self._lock = DeferredLock()  # one long answer at a time
        self._tapped: set[Connection] = set()
        self._answers: dict[str, Callable[[Question], Any]] = {
            "metrics": self._metrics,
            "health": lambda _: Plain(b"ok\n"),
            "readiness": self._readiness,
            "connections": self._connections,
            "connection": self._connection,
            "rooms": self._rooms,
            "ended": self._ended,
            "bans": lambda question: {"bans": self._view(question).bans()},
            "log_level": lambda _: {"level": log_level().name},
            "close": self._close,
            "drain": self._drain,
            "reload": self._reload,
            "upgrade": self._upgrade,
            "ban": self._ban,
            "set_log_level": self._set_log_level,
        }

    async def answer(self, name: str, question: Question, /) -> Any:
        found = self._answers[name](question)
        return await found if isinstance(found, Coroutine) else found

    # What is asked.

    def _view(self, question: Question) -> ServiceView:
        """Return the service that is meant: the only one, or ``?service=NAME``."""
        views = self._views
        name = question.arguments.get("service", next(iter(views)))
        if name not in views:
            raise BadRequest(404, f"There is no service {name!r} here, but {', '.join(views)}.")
        return views[name]

    async def _metrics(self, question: Question) -> Plain:
        async with self._lock:
            text = await read_metrics(self._views.values(), self._turns)
        return Plain(text, CONTENT_TYPE)

    def _readiness(self, question: Question) -> Plain:
        problems = [view.not_ready for view in self._views.values() if view.not_ready]
        text = "; ".join(problems) or "ready"
        return Plain(f"{text}\n".encode(), status=503 if problems else 200)

    async def page(self, question: Question) -> dict[str, Any]:
        """Return a page of connections. Its ``problem`` says that there is no such room, if so:
        another process may have it.

        :raises BadRequest: an argument is wrong.
        """
        view = self._view(question)
        try:
            query = parse_query(question.arguments)
        except ValueError as error:
            raise BadRequest(400, f"{error}.") from None
        if query.room:
            try:
                query = replace(query, room=view.room_name(query.room))
            except ValueError as error:
                raise BadRequest(400, str(error)) from None
        async with self._lock:
            rows, more = await list_connections(view, query)
        page = {"connections": rows, "total": view.connection_count, "next": more}
        if query.room and query.after is None and not rows:
            page["problem"] = f"There is no room #{query.room} here, or nobody is in it."
        return page

    async def _connections(self, question: Question) -> dict[str, Any]:
        page = await self.page(question)
        if "problem" in page:
            raise BadRequest(404, page["problem"])
        return page

    def _connection(self, question: Question) -> dict[str, Any]:
        view, connection = self._found(question)
        return connection_details(view, connection)

    async def _rooms(self, question: Question) -> dict[str, Any]:
        view = self._view(question)
        try:
            limit, after = parse_room_query(question.arguments)
        except ValueError as error:
            raise BadRequest(400, f"{error}.") from None
        async with self._lock:
            rows, more = await list_rooms(view, limit, after)
        return {"rooms": rows, "total": view.room_count or 0, "next": more}

    def _ended(self, question: Question) -> dict[str, Any]:
        view = self._view(question)
        return {"ended": [ended_row(view, each) for each in reversed(view.endings.last)]}

    def _found(self, question: Question) -> tuple[ServiceView, Connection]:
        view = self._view(question)
        connection = view.find(question.number)
        if connection is None:
            raise BadRequest(404, f"There is no connection {question.number}.")
        return view, connection

    # What is done.

    def _close(self, question: Question) -> dict[str, Any]:
        _, connection = self._found(question)
        number = question.number
        text = text_in(question.body, "text")
        changes.info("{who} closes connection {id}: {text}", who=question.who, id=number, text=text)
        connection.close(KICKED, text)
        return {"done": f"Connection {number} is being closed."}

    def _drain(self, question: Question) -> dict[str, Any]:
        view = self._view(question)
        if not view.service.is_draining:
            changes.info("{who} drains {name}", who=question.who, name=view.name)
            view.service.begin_drain()
        return {"done": f"{view.name} is draining.", "open": view.connection_count}

    def _reload(self, question: Question) -> dict[str, Any]:
        view = self._view(question)
        if view.reload is None:
            raise BadRequest(501, f"{view.name} has no configuration to read again.")
        try:
            return {"done": view.reload(question.who)}
        except CannotReload as error:
            raise BadRequest(400, f"{error}; nothing has changed") from None

    async def _upgrade(self, question: Question) -> dict[str, Any]:
        view = self._view(question)
        if view.upgrade is None:
            raise BadRequest(501, f"{view.name} cannot be upgraded in place.")
        changes.info("{who} upgrades {name}", who=question.who, name=view.name)
        try:
            return {"done": await unstopped(view.upgrade())}
        except UpgradeFailed as error:
            raise BadRequest(409, f"The upgrade has failed: {error}.") from None

    async def _ban(self, question: Question) -> dict[str, Any]:
        return await unstopped(Deferred.fromCoroutine(self._ban_all(question)))

    async def _ban_all(self, question: Question) -> dict[str, Any]:
        view = self._view(question)
        target, minutes, text = ban_in(question.body)
        try:
            async with self._lock:
                done = await view.ban(target, minutes, text)
        except CannotBan as error:
            raise BadRequest(400, str(error)) from None
        if question.who:
            changes.info("{who} bans: {done}", who=question.who, done=done)
        return {"done": done}

    def _set_log_level(self, question: Question) -> dict[str, Any]:
        name = text_in(question.body, "level")
        if name not in LEVELS:
            raise BadRequest(400, f"level: must be one of {', '.join(LEVELS)}.")
        if not set_log_level(LogLevel.levelWithName(name)):
            raise BadRequest(501, "The log of this version of Twisted cannot be changed.")
        if question.who:
            changes.info("{who} sets the log level to {name}", who=question.who, name=name)
        return {"level": name}

    # Looking on.

    async def open_tap(
        self, question: Question, write: Callable[[bytes], object], ended: Callable[[], None], /
    ) -> OpenTap:
        view, connection = self._found(question)
        number = question.number
        if connection.state is not State.OPEN:
            raise BadRequest(409, f"Connection {number} is {connection.state.name.lower()}.")
        if connection in self._tapped:
            raise BadRequest(409, f"Somebody looks on at connection {number} already.")
        tap = Tap(connection, write, ended, view.hide, view.now)
        return _LocalTap(tap, view, connection, self._tapped)


class _LocalTap:
    """A tap at a connection of this process."""

    def __init__(
        self, tap: Tap, view: ServiceView, connection: Connection, tapped: set[Connection]
    ) -> None:
        self._tap = tap
        self._view = view
        self._connection = connection
        self._tapped = tapped
        tapped.add(connection)  # with workers, others may ask before it begins
        view.endings.tell(connection, tap.connection_ended)
        self.pauseProducing = tap.pauseProducing
        self.resumeProducing = tap.resumeProducing
        self.stopProducing = tap.stopProducing

    def begin(self) -> None:
        self._tap.begin()

    def over(self) -> Deferred[tuple[int, int | None]]:
        self._tap.end()
        self._view.endings.forget(self._connection)
        self._tapped.discard(self._connection)
        return succeed((self._tap.queue.lines, self._tap.queue.missed))


def unstopped(doing: Deferred[_Result]) -> Deferred[_Result]:
    """Return what fires as ``doing`` does, and stops nothing if it is cancelled.

    It is, when who asks goes away.
    """
    answer: Deferred[_Result] = Deferred()
    doing.addCallbacks(answer.callback, answer.errback)
    return answer


def text_in(body: dict[str, Any], name: str) -> str:
    """Return a text of a request's body, without what cannot be shown.

    :raises BadRequest: it is no text.
    """
    value = body.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(400, f"{name}: must be text.")
    return printable(value)[:_LONGEST_TEXT]


def ban_in(body: dict[str, Any]) -> tuple[str, int, str]:
    """Return whom to ban, for how many minutes, and why.

    :raises BadRequest: one of them is wrong.
    """
    minutes = body.get("minutes", 60)
    if type(minutes) is not int or not 0 <= minutes <= LONGEST_BAN:
        raise BadRequest(400, f"minutes: must be a whole number from 0 to {LONGEST_BAN}.")
    target, text = text_in(body, "target"), text_in(body, "text")
    if not target:
        raise BadRequest(400, "target: must be a name or a range of addresses.")
    return target, minutes, text
