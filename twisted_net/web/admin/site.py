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
POST     ``/reload``                   read the ``--config`` file and the certificates again
POST     ``/upgrade``                  let new code go on with all plain connections
POST     ``/bans``                     ``{"target": NAME OR RANGE, "minutes": N, "text": WHY}``
POST     ``/log-level``                ``{"level": LEVEL}``
=======  ============================  =============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cache
from importlib import resources
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qs

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from twisted_net.connection.addresses import format_address, is_loopback
from twisted_net.web.admin.access import OPEN_PATHS, RequestFacts, find_refusal
from twisted_net.web.admin.answers import Answers, BadRequest, Plain, Question
from twisted_net.web.admin.log_level import changes
from twisted_net.web.admin.responses import answer, answer_error, answer_json, begin_answer
from twisted_net.web.bounded_request import BoundedSite
from twisted_net.wire.json_values import check_depth, make_decoder
from twisted_net.wire.text import noun_for, printable

_FIELDS = {"close": ("text",), "ban": ("target", "minutes", "text"), "set_log_level": ("level",)}

_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
          ".svg": "image/svg+xml", "": "text/html; charset=utf-8"}  # fmt: skip

_log = Logger()
_decode = make_decoder(finite=True, unique=True)


class Requester(Protocol):
    """The connection of a request."""

    def request_received(self) -> None:
        """A request is complete."""

    def request_answered(self) -> None:
        """Its answer is complete."""


class AdminSite(BoundedSite):
    """The HTTP server of the operator's view. It has no access log; changes are logged."""

    noisy = False

    def log(self, request: HTTPRequest) -> None:
        """Log nothing: Prometheus asks all the time."""


class AdminResource(Resource):
    """Answers every path.

    :param answers: answers what is asked.
    :param clock: the reactor.
    :param token: returns the token that who asks must know; None if there is none.
    :param names: names of this server besides its addresses.
    """

    isLeaf = True
    _routes: ClassVar[dict[tuple[str, str], str]] = {
        ("GET", "/metrics"): "metrics",
        ("GET", "/healthz"): "health",
        ("GET", "/readyz"): "readiness",
        ("GET", "/connections"): "connections",
        ("GET", "/connections/ID"): "connection",
        ("GET", "/connections/ID/tap"): "tap",
        ("GET", "/rooms"): "rooms",
        ("GET", "/ended"): "ended",
        ("GET", "/bans"): "bans",
        ("GET", "/log-level"): "log_level",
        ("POST", "/connections/ID/close"): "close",
        ("POST", "/drain"): "drain",
        ("POST", "/reload"): "reload",
        ("POST", "/upgrade"): "upgrade",
        ("POST", "/bans"): "ban",
        ("POST", "/log-level"): "set_log_level",
    }

    def __init__(
        self,
        answers: Answers,
        clock: IReactorTime,
        token: Callable[[], bytes | None] = lambda: None,
        names: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._answers = answers
        self._clock = clock
        self._token = token
        self._names = frozenset(name.lower().rstrip(".") for name in names)
        for path in OPEN_PATHS:
            page_file(path)  # now, because the process may soon have another root

    @classmethod
    def routes(cls) -> list[tuple[str, str]]:
        """Return the methods and paths that are answered, besides the files of the dashboard."""
        return sorted(cls._routes)

    def render(self, request: Request) -> int:
        channel: Any = request.channel
        requester: Requester | None = getattr(channel.transport, "guard", None)
        if requester is not None:
            requester.request_received()
            request.notifyFinish().addBoth(lambda _: requester.request_answered())
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
            work = "works" if len(allowed) == 1 else "work"
            raise BadRequest(405, f"Only {' and '.join(allowed)} {work} here.")
        if path in OPEN_PATHS:
            kind, body = page_file(path)
            answer(request, 200, kind, body)
            return
        name = self._routes[method, pattern]
        question = Question(
            _arguments(request),
            number or 0,
            _body(request, *_FIELDS.get(name, ())) if method == "POST" else {},
            _who(request),
        )
        if name == "tap":
            await self._tap(request, question)
            return
        found = await self._answers.answer(name, question)
        if isinstance(found, Plain):
            answer(request, found.status, found.kind, found.body)
        else:
            answer_json(request, found)

    async def _tap(self, request: Request, question: Question) -> None:
        def ended() -> None:
            request.unregisterProducer()
            request.finish()

        tap = await self._answers.open_tap(question, request.write, ended)
        begin_answer(request, 200, "application/x-ndjson")
        if request.method == b"HEAD":
            tap.over()
            request.finish()
            return
        request.registerProducer(tap, True)
        try:
            tap.begin()
        except AttributeError:
            request.unregisterProducer()
            tap.over()
            raise BadRequest(501, "The transport of this connection cannot be watched.") from None
        who, number = question.who, question.number
        changes.info("{who} looks on at connection {id}", who=who, id=number)

        def over(counts: tuple[int, int | None]) -> None:
            lines, missed = counts
            changes.info(
                "{who} looks on at connection {id} no more: {lines} "
                f"{noun_for(lines, 'line')}, {{missed}} missed",
                who=who,
                id=number,
                lines=lines,
                missed="an unknown number" if missed is None else missed,
            )

        request.notifyFinish().addBoth(lambda _: tap.over()).addCallback(over)


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
    """Return the arguments in the URL: the last of each name, whatever bytes it has."""
    query = request.uri.partition(b"?")[2].decode(errors="replace")
    return {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}


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


def _who(request: Request) -> str:
    """Return who asks, for the log."""
    return f"An operator from {format_address(request.getClientAddress())}"
