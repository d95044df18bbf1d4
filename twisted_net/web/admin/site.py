"""Answers the requests of operators, of Prometheus, and of load balancers.

=======  ============================  =============================================================
GET      ``/``                         the dashboard
GET      ``/metrics``                  for Prometheus
GET      ``/healthz``, ``/readyz``     200, or 503 and why
GET      ``/connections``              a page: ``service``, ``room``, ``sort``, ``limit``, ``after``
GET      ``/connections/ID``           one connection
GET      ``/connections/ID/tap``       what it says and hears, a JSON object a line
GET      ``/rooms``, ``/ended``        rooms; the last hundred connections that have ended
GET      ``/bans``, ``/log-level``     what is banned; the least level that is logged
POST     ``/connections/ID/close``     close it; ``{"text": WHY}``
POST     ``/drain``                    stop accepting, and close all connections
POST     ``/upgrade``                  let new code go on with all plain connections
POST     ``/reload``                   read the ``--config`` file and the certificates again
POST     ``/bans``                     ``{"target": NAME OR RANGE, "minutes": N, "text": WHY}``
POST     ``/log-level``                ``{"level": LEVEL}``
=======  ============================  =============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Any, ClassVar

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from twisted_net.connection.addresses import format_address, is_loopback
from twisted_net.connection.connection import Connection, State
from twisted_net.policy.close_reasons import KICKED
from twisted_net.web.admin.access import OPEN_PATHS, RequestFacts, find_refusal
from twisted_net.web.admin.histogram import Histogram
from twisted_net.web.admin.listing import (
    connection_details,
    ended_row,
    list_connections,
    list_rooms,
    parse_query,
    parse_room_query,
)
from twisted_net.web.admin.log_level import LEVELS, log_level, set_log_level
from twisted_net.web.admin.metrics import CONTENT_TYPE, read_metrics
from twisted_net.web.admin.responses import (
    answer,
    answer_error,
    answer_json,
    answer_text,
    begin_answer,
)
from twisted_net.web.admin.tap import Tap
from twisted_net.web.admin.views import CannotBan, CannotReload, ServiceView
from twisted_net.web.bounded_request import BoundedRequest
from twisted_net.wire.json_values import check_depth, make_decoder
from twisted_net.wire.text import printable

LONGEST_BAN = 99_999_999
"""Minutes: 190 years, as in the chat."""

_LONGEST_TEXT = 400

_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
          ".svg": "image/svg+xml", "": "text/html; charset=utf-8"}  # fmt: skip

_log = Logger()
_decode = make_decoder(finite=True, unique=True)


class BadRequest(Exception):
    """A request cannot be answered.

    :param status: of HTTP.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class AdminSite(Site):
    """The HTTP server of the operator's view. It has no access log; changes are logged."""

    requestFactory = BoundedRequest
    noisy = False

    def log(self, request: HTTPRequest) -> None:
        """Log nothing: Prometheus asks all the time."""


class AdminResource(Resource):
    """Answers every path.

    :param views: the services that are shown.
    :param turns: the sampled turns of the reactor.
    :param token: returns the token that who asks must know; None if there is none.
    :param names: names of this server besides its addresses.
    """

    isLeaf = True
    _routes: ClassVar[dict[tuple[str, str], str]] = {
        ("GET", "/metrics"): "_metrics",
        ("GET", "/healthz"): "_health",
        ("GET", "/readyz"): "_readiness",
        ("GET", "/connections"): "_connections",
        ("GET", "/connections/ID"): "_connection",
        ("GET", "/connections/ID/tap"): "_tap",
        ("GET", "/rooms"): "_rooms",
        ("GET", "/ended"): "_ended",
        ("GET", "/bans"): "_bans",
        ("GET", "/log-level"): "_log_level",
        ("POST", "/connections/ID/close"): "_close",
        ("POST", "/drain"): "_drain",
        ("POST", "/upgrade"): "_upgrade",
        ("POST", "/reload"): "_reload",
        ("POST", "/bans"): "_ban",
        ("POST", "/log-level"): "_set_log_level",
    }

    def __init__(
        self,
        views: Sequence[ServiceView],
        turns: Histogram,
        token: Callable[[], bytes | None] = lambda: None,
        names: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._views = {view.name: view for view in views}
        self._turns = turns
        self._clock = views[0].factory.clock
        self._lock = DeferredLock()  # one long answer at a time
        self._token = token
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        self._tapped: set[Connection] = set()
        for path in OPEN_PATHS:
            page_file(path)  # now, because the process may soon have another root

    @classmethod
    def routes(cls) -> list[tuple[str, str]]:
        """Return the methods and paths that are answered, besides the files of the dashboard."""
        return sorted(cls._routes)

    def render(self, request: Request) -> int:
        answering = Deferred.fromCoroutine(self._render(request))
        if not answering.called:
            request.notifyFinish().addErrback(lambda _: answering.cancel())  # who asked has gone
        return NOT_DONE_YET

    async def _render(self, request: Request) -> None:
        try:
            # Each answer has a turn of its own: twisted.web would answer a thousand requests that
            # come together in this one.
            await deferLater(self._clock, 0)
            await self._answer(request)
        except CancelledError:
            return
        except BadRequest as error:
            answer_error(request, error.status, str(error))
        except Exception:
            _log.failure("A request of an operator failed")
            answer_error(request, 500, "The server made a mistake; its log says more.")

    async def _answer(self, request: Request) -> None:
        method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
        if method == "HEAD":
            method = "GET"
        refusal = find_refusal(_facts(request, method), token=self._token(), names=self._names)
        if refusal is not None:
            if refusal.status == 401:
                request.setHeader("WWW-Authenticate", "Bearer")
            raise BadRequest(refusal.status, refusal.text)
        pattern, number = _split(path)
        allowed = sorted(each for each, known in self._routes if known == pattern)
        if path in OPEN_PATHS:
            allowed = ["GET"]
        if not allowed:
            raise BadRequest(404, "There is no such page.")
        if method not in allowed:
            request.setHeader("Allow", ", ".join(allowed))
            raise BadRequest(405, f"Only {' and '.join(allowed)} work here.")
        if path in OPEN_PATHS:
            kind, body = page_file(path)
            answer(request, 200, kind, body)
            return
        handle = getattr(self, self._routes[method, pattern])
        answering = handle(request) if number is None else handle(request, number)
        if answering is not None:
            await answering

    # What is asked.

    def _view(self, request: Request) -> ServiceView:
        """Return the service that is meant: the only one, or ``?service=NAME``."""
        views = self._views
        name = _arguments(request).get("service", next(iter(views)))
        if name not in views:
            raise BadRequest(404, f"There is no service {name!r} here, but {', '.join(views)}.")
        return views[name]

    async def _metrics(self, request: Request) -> None:
        async with self._lock:
            text = await read_metrics(self._views.values(), self._turns)
        answer(request, 200, CONTENT_TYPE, text)

    def _health(self, request: Request) -> None:
        answer_text(request, "ok")

    def _readiness(self, request: Request) -> None:
        problems = [view.not_ready for view in self._views.values() if view.not_ready]
        answer_text(request, "; ".join(problems) or "ready", 503 if problems else 200)

    async def _connections(self, request: Request) -> None:
        view = self._view(request)
        try:
            query = parse_query(_arguments(request))
        except ValueError as error:
            raise BadRequest(400, f"{error}.") from None
        async with self._lock:
            rows, more = await list_connections(view, query)
        total = view.connection_count
        answer_json(request, {"connections": rows, "total": total, "next": more})

    def _connection(self, request: Request, number: int) -> None:
        view, connection = self._found(request, number)
        answer_json(request, connection_details(view, connection))

    async def _rooms(self, request: Request) -> None:
        view = self._view(request)
        try:
            limit, after = parse_room_query(_arguments(request))
        except ValueError as error:
            raise BadRequest(400, f"{error}.") from None
        async with self._lock:
            rows, more = await list_rooms(view, limit, after)
        answer_json(request, {"rooms": rows, "total": view.room_count or 0, "next": more})

    def _ended(self, request: Request) -> None:
        view = self._view(request)
        rows = [ended_row(view, each) for each in reversed(view.endings.last)]
        answer_json(request, {"ended": rows})

    def _bans(self, request: Request) -> None:
        answer_json(request, {"bans": self._view(request).bans()})

    def _log_level(self, request: Request) -> None:
        answer_json(request, {"level": log_level().name})

    def _found(self, request: Request, number: int) -> tuple[ServiceView, Connection]:
        view = self._view(request)
        connection = view.find(number)
        if connection is None:
            raise BadRequest(404, f"There is no connection {number}.")
        return view, connection

    # What is done.

    def _close(self, request: Request, number: int) -> None:
        _, connection = self._found(request, number)
        text = _text(_body(request, "text"), "text")
        _log.info("{who} closes connection {id}: {text}", who=_who(request), id=number, text=text)
        connection.close(KICKED, text)
        answer_json(request, {"done": f"Connection {number} is being closed."})

    def _drain(self, request: Request) -> None:
        view = self._view(request)
        _body(request)
        if not view.service.is_draining:
            _log.info("{who} drains {name}", who=_who(request), name=view.name)
            view.service.begin_drain()
        answer_json(request, {"done": f"{view.name} is draining.", "open": view.connection_count})

    def _upgrade(self, request: Request) -> None:
        view = self._view(request)
        _body(request)
        if view.upgrade is None:
            raise BadRequest(501, f"{view.name} cannot be upgraded in place.")
        _log.info("{who} upgrades {name}", who=_who(request), name=view.name)
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)

        def done(what: str) -> None:
            if not gone:
                answer_json(request, {"done": what})

        def failed(failure: Failure) -> None:
            if not gone:
                answer_error(request, 409, f"The upgrade has failed: {failure.value}.")

        view.upgrade().addCallbacks(done, failed)

    async def _reload(self, request: Request) -> None:
        view = self._view(request)
        _body(request)
        if view.reload is None:
            raise BadRequest(501, f"{view.name} has no configuration to read again.")
        try:
            done = view.reload(_who(request))
        except CannotReload as error:
            raise BadRequest(400, f"{error}; nothing has changed") from None
        answer_json(request, {"done": done})

    async def _ban(self, request: Request) -> None:
        view = self._view(request)
        body = _body(request, "target", "minutes", "text")
        minutes = body.get("minutes", 60)
        if type(minutes) is not int or not 0 <= minutes <= LONGEST_BAN:
            raise BadRequest(400, f"minutes: must be a whole number from 0 to {LONGEST_BAN}.")
        target, text = _text(body, "target"), _text(body, "text")
        if not target:
            raise BadRequest(400, "target: must be a name or a range of addresses.")
        try:
            async with self._lock:
                done = await view.ban(target, minutes, text)
        except CannotBan as error:
            raise BadRequest(400, str(error)) from None
        _log.info("{who} bans: {done}", who=_who(request), done=done)
        answer_json(request, {"done": done})

    def _set_log_level(self, request: Request) -> None:
        name = _text(_body(request, "level"), "level")
        if name not in LEVELS:
            raise BadRequest(400, f"level: must be one of {', '.join(LEVELS)}.")
        if not set_log_level(LogLevel.levelWithName(name)):
            raise BadRequest(501, "The log of this version of Twisted cannot be changed.")
        _log.info("{who} sets the log level to {name}", who=_who(request), name=name)
        answer_json(request, {"level": name})

    # Looking on.

    def _tap(self, request: Request, number: int) -> None:
        view, connection = self._found(request, number)
        if request.method == b"HEAD":
            begin_answer(request, 200, "application/x-ndjson")
            request.finish()
            return
        if connection.state is not State.OPEN:
            raise BadRequest(409, f"Connection {number} is {connection.state.name.lower()}.")
        if connection in self._tapped:
            raise BadRequest(409, f"Somebody looks on at connection {number} already.")
        who = _who(request)

        def end() -> None:
            request.unregisterProducer()
            request.finish()

        tap = Tap(connection, request.write, end, view.hide, view.now)
        begin_answer(request, 200, "application/x-ndjson")
        request.registerProducer(tap, True)
        try:
            tap.begin()
        except AttributeError:
            request.unregisterProducer()
            raise BadRequest(501, "The transport of this connection cannot be watched.") from None
        self._tapped.add(connection)
        view.endings.tell(connection, tap.connection_ended)
        _log.info("{who} looks on at connection {id}", who=who, id=number)

        def over(_: object) -> None:
            tap.end()
            view.endings.forget(connection)
            self._tapped.discard(connection)
            _log.info(
                "{who} looks on at connection {id} no more: {lines} lines, {missed} missed",
                who=who,
                id=number,
                lines=tap.queue.lines,
                missed=tap.queue.missed,
            )

        request.notifyFinish().addBoth(over)


@cache
def page_file(path: str) -> tuple[str, bytes]:
    """Return the content type and the text of a file of the dashboard."""
    name = path.strip("/") or "dashboard.html"
    body = resources.files("twisted_net.web.admin").joinpath("page", name).read_bytes()
    return _KINDS[path[path.rfind(".") :] if "." in path else ""], body


def _split(path: str) -> tuple[str, int | None]:
    """Return the pattern of a path, and the connection's number in it."""
    parts = path.split("/")
    if len(parts) > 2 and parts[1] == "connections":
        text = parts[2]
        if text.isascii() and text.isdigit() and len(text) < 20:
            return "/".join(["", "connections", "ID", *parts[3:]]), int(text)
        return "", None
    return path, None


def _facts(request: Request, method: str) -> RequestFacts:
    def all_of(name: str) -> tuple[str, ...]:
        # As bytes: what is no UTF-8 would be an error.
        values: Iterable[bytes] = request.requestHeaders.getRawHeaders(name.encode(), [])
        return tuple(value.decode("latin-1") for value in values)

    host = request.getHost()
    return RequestFacts(
        method=method,
        path=request.path.decode("latin-1"),
        hosts=all_of("Host"),
        origins=all_of("Origin"),
        fetch_site=",".join(all_of("Sec-Fetch-Site")),
        admin=",".join(all_of("X-Netchat-Admin")),
        authorization=",".join(all_of("Authorization")),
        is_local=isinstance(host, UNIXAddress) or is_loopback(getattr(host, "host", "")),
    )


def _arguments(request: Request) -> dict[str, str]:
    return {
        name.decode("latin-1"): values[-1].decode(errors="replace")
        for name, values in request.args.items()
    }


def _body(request: Request, *known: str) -> dict[str, Any]:
    """Return the JSON object in a request's body; an empty body is an empty object."""
    content: Any = request.content
    data = content.read().strip()
    if not data:
        return {}
    try:
        check_depth(data, 8)
        value = _decode(data)
    except ValueError:
        raise BadRequest(400, "The body is no JSON.") from None
    if not isinstance(value, dict):
        raise BadRequest(400, "The body is no JSON object.")
    unknown = [name for name in value if name not in known]
    if unknown:
        raise BadRequest(400, f"{printable(unknown[0])[:40]}: is unknown here.")
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(400, f"{name}: must be text.")
    return printable(value)[:_LONGEST_TEXT]


def _who(request: Request) -> str:
    """Return who asks, for the log."""
    return f"An operator from {format_address(request.getClientAddress())}"
