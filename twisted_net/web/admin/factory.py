"""The operator's view as a factory: for ``--admin``, and for programs that embed it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from twisted_net.chat.protocol import ChatFactory
from twisted_net.connection.connection import Connection
from twisted_net.connection.countdown import Countdown
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.connection.guard import GuardFactory, GuardProtocol
from twisted_net.connection.timers import reactor_clock
from twisted_net.endpoints.listening import ListenerService
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import DRAINING, IDLE, UNFINISHED, CloseReason
from twisted_net.web.admin.answers import Answers, ServiceAnswers
from twisted_net.web.admin.counters import Counters
from twisted_net.web.admin.figures import count_all, open_to_end
from twisted_net.web.admin.probe import TurnProbe
from twisted_net.web.admin.site import AdminResource, AdminSite
from twisted_net.web.admin.token_file import check_token
from twisted_net.web.admin.views import ChatServiceView, ServiceView
from twisted_net.web.bounded_request import BoundedChannel
from twisted_net.web.plain_answers import overdue_answer

MOST_CONNECTIONS = 64
"""Connections to the operator's view, half of them from one address of another machine. A browser
opens 6; each tap has one of its own."""

REQUEST_SECONDS = 10.0
"""Seconds that a new connection has until its first request is complete, as for a TLS handshake."""

KEEP_ALIVE_SECONDS = 60.0
"""Seconds after an answer until the next request is complete. nginx allows 75 s."""

MOVE_SECONDS = 0.25
"""Seconds that an upgrade in place waits for the first requests on connections that are open. They
do not move, so a load balancer that has just connected would hear nothing."""

_LOOK = 0.002  # seconds between two looks

Shown: TypeAlias = ConnectionFactory | ListenerService | ServiceView


class AdminConnection(GuardProtocol):
    """A connection to the operator's view. Without requests, it does not keep its place."""

    factory: AdminFactory
    wrapped: BoundedChannel

    def connected(self) -> None:
        super().connected()
        self.factory.without_request.start(self, self.factory.clock)

    def request_received(self) -> None:
        """A request is complete. Its answer may take any time."""
        self.factory.without_request.stop(self)
        self.factory.kept_alive.stop(self)

    def request_answered(self) -> None:
        """An answer is complete."""
        if self.reason is None:
            self.factory.kept_alive.start(self, self.factory.clock)

    def pause_for_move(self) -> None:
        """Read on: who has asked is answered, here."""

    def disconnected(self, reason: CloseReason) -> None:
        self.request_received()  # nothing is waited for any more
        super().disconnected(reason)


class AdminFactory(GuardFactory):
    """Show other factories to operators, as ``--admin`` does: see ``docs/monitoring.rst``.

    It works with any of Twisted's listening calls. It observes the factories while it listens. ::

        chat = ChatFactory()
        view = AdminFactory({"chat": chat})
        await serve(reactor, "tcp:8080", chat, ("tcp:9191:interface=127.0.0.1", view))

    :param services: what is shown, by the name that the metrics have as ``service``: factories, or
        a :class:`ListenerService`, whose listeners are then shown as well. A
        :class:`GuardFactory` shows any other factory.
    :param token: the text that who asks must know, 16 characters at least, or a function that
        returns it in bytes, for each request. Without one, only requests to a loopback address or a
        Unix socket are answered.
    :param hosts: names of this server that operators use, besides its addresses and ``localhost``.
    :param clock: the source of time; by default, the reactor.
    :param answers: answers for other processes, in place of what this one knows of the services.
    :ivar views: what is shown of each service.
    :ivar without_request: closes connections without a first request.
    :ivar kept_alive: closes connections without a further request.
    :raises ValueError: there is no service, or the token is too short, or no ASCII text.
    """

    guard = AdminConnection

    def __init__(
        self,
        services: Mapping[str, Shown],
        *,
        token: str | Callable[[], bytes] | None = None,
        hosts: Collection[str] = (),
        clock: IReactorTime | None = None,
        answers: Answers | None = None,
    ) -> None:
        if not services:
            raise ValueError("services: there is none to show")
        clock = clock or reactor_clock(None)
        self.views = [_view(name, shown) for name, shown in services.items()]
        self.without_request: Countdown[AdminConnection] = Countdown(REQUEST_SECONDS, _close_idle)
        self.kept_alive: Countdown[AdminConnection] = Countdown(KEEP_ALIVE_SECONDS, _close_idle)
        self._counted: dict[str, Any] = {}  # by another process, until all is adopted
        self._probe = TurnProbe(clock)
        shows = answers or ServiceAnswers(self.views, self._probe.turns)
        resource = AdminResource(shows, clock, _token(token), hosts)
        super().__init__(
            AdminSite(resource, reactor=clock),
            clock=clock,
            admission=Admission(
                AdmissionRules(
                    max_connections=MOST_CONNECTIONS, max_per_address=MOST_CONNECTIONS // 2
                )
            ),
            log_ends=False,
        )

    def startFactory(self) -> None:
        super().startFactory()  # type: ignore[no-untyped-call]
        for view in self.views:
            view.start()
        self._probe.start()

    def stopFactory(self) -> None:
        self._probe.stop()
        for view in self.views:
            view.stop()
        super().stopFactory()  # type: ignore[no-untyped-call]

    def prepare_move(self) -> Deferred[None]:
        """Wait until who has connected has asked, for at most :data:`MOVE_SECONDS`."""
        return Deferred.fromCoroutine(self._prepare_move())

    async def _prepare_move(self) -> None:
        until = self.clock.seconds() + MOVE_SECONDS
        while self.without_request and self.clock.seconds() < until:
            await deferLater(self.clock, _LOOK)

    def export_state(self, moving: Sequence[Connection]) -> dict[str, Any]:
        views = {view.name: view.export_state() for view in self.views}
        counted = {
            view.name: {"counters": count_all(view).export_state(), "open": open_to_end(view)}
            for view in self.views
        }
        return {**super().export_state(moving), "views": views, "counted": counted}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        super().restore_state(state)
        for view in self.views:
            view.restore_state(state["views"].get(view.name, {}))
        self._counted = state.get("counted", {})  # code that knows only the bans has none

    def all_adopted(self) -> None:
        """Remember what the other process has counted, and this one has not got otherwise."""
        super().all_adopted()
        counted, self._counted = self._counted, {}
        for view in self.views:
            known = counted.get(view.name)
            if known is None:
                continue
            earlier = Counters.restored(known["counters"])
            earlier.subtract(count_all(view))
            # Nobody will ask the other process how those have ended that it has kept.
            earlier.endings[DRAINING.code] += known["open"] - open_to_end(view)
            view.earlier = earlier


class _OwnListening(ListenerService):
    """Stands for the service of a factory with which the program itself listens."""

    @property
    def ready(self) -> bool:
        return self.factory.accepts and self.factory.numPorts > 0


def _close_idle(connection: AdminConnection) -> None:
    if connection.wrapped.has_begun():
        connection.send_encoded(overdue_answer(), 0)
        connection.close(UNFINISHED)
    else:
        connection.close(IDLE)


def _view(name: str, shown: Shown) -> ServiceView:
    if isinstance(shown, ServiceView):
        return shown
    service = shown if isinstance(shown, ListenerService) else _OwnListening(shown, [])
    kind = ChatServiceView if isinstance(service.factory, ChatFactory) else ServiceView
    return kind(name, service)


def _token(token: str | Callable[[], bytes] | None) -> Callable[[], bytes | None]:
    if token is None:
        return lambda: None
    if not isinstance(token, str):
        return token
    try:
        known = token.encode("ascii")
        check_token(known)
    except ValueError as error:
        why = "must be ASCII" if isinstance(error, UnicodeError) else error
        raise ValueError(f"token: {why}") from None
    return lambda: known
