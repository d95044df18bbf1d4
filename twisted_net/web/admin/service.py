"""The service that listens for operators, beside the service that it shows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from zope.interface import implementer

from twisted_net.connection.addresses import is_loopback
from twisted_net.connection.connection import Connection
from twisted_net.connection.guard import GuardFactory
from twisted_net.endpoints.listening import Listener, ListenerService
from twisted_net.interfaces import ServerEndpoint
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.web.admin.probe import TurnProbe
from twisted_net.web.admin.site import AdminResource, AdminSite
from twisted_net.web.admin.views import ServiceView

MOST_CONNECTIONS = 64
"""Connections to the operator's view, half of them from one address of another machine. A browser
opens 6; each tap has one of its own."""

ADMIN_DRAIN = 1.0
"""Seconds that they have when the service stops."""


@implementer(IStreamServerEndpoint)
class LocalEndpoint:
    """Listens only where no other machine can connect.

    :param endpoint: one of Twisted's server endpoints.
    """

    def __init__(self, endpoint: ServerEndpoint) -> None:
        self._endpoint: Any = endpoint

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """Listen.

        :return: fires with the port; fails with ValueError if others can connect to it.
        """
        listening: Deferred[IListeningPort] = maybeDeferred(self._endpoint.listen, protocolFactory)
        return listening.addCallback(_check_local)


def _check_local(port: IListeningPort) -> IListeningPort:
    host: Any = port.getHost()
    if isinstance(host, UNIXAddress) or is_loopback(getattr(host, "host", "")):
        return port
    port.stopListening()
    raise ValueError(
        "other machines can connect to it: listen on 127.0.0.1 or on a Unix socket, or give "
        "--admin-token-file"
    )


class _AdminFactory(GuardFactory):
    """Makes the connections of operators, and keeps what they have done through an upgrade."""

    def __init__(self, views: Sequence[ServiceView], *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._views = views

    def export_state(self, moving: Sequence[Connection]) -> dict[str, Any]:
        views = {view.name: view.export_state() for view in self._views}
        return {**super().export_state(moving), "views": views}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        super().restore_state(state)
        for view in self._views:
            view.restore_state(state["views"].get(view.name, {}))


class AdminService(ListenerService):
    """Shows services to operators.

    :param reactor: the reactor.
    :param views: the services.
    :param listener: where to listen.
    :param token: returns the token that operators must know; None if there is none. Then it listens
        only on loopback addresses and Unix sockets.
    :param names: names of this server that operators use, besides its addresses.
    """

    def __init__(
        self,
        reactor: Any,
        views: Sequence[ServiceView],
        listener: Listener,
        token: Callable[[], bytes] | None = None,
        names: Collection[str] = (),
    ) -> None:
        self._views = views
        self._probe = TurnProbe(reactor)
        resource = AdminResource(views, self._probe.turns, token or (lambda: None), names)
        site = AdminSite(resource, reactor=reactor)  # type: ignore[no-untyped-call]
        factory = _AdminFactory(
            views,
            site,
            clock=reactor,
            admission=Admission(
                AdmissionRules(
                    max_connections=MOST_CONNECTIONS, max_per_address=MOST_CONNECTIONS // 2
                )
            ),
            log_ends=False,
        )
        if token is None:
            endpoint = LocalEndpoint(listener.endpoint)
            listener = Listener(endpoint, listener.label, listener.certificates)
        super().__init__(factory, [listener], drain=ADMIN_DRAIN)

    def startService(self) -> None:
        super().startService()
        for view in self._views:
            view.start()
        self._probe.start()

    def stopService(self) -> Deferred[None]:
        self._probe.stop()
        for view in self._views:
            view.stop()
        return super().stopService()
