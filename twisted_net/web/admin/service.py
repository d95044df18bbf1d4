"""The service that listens for operators, beside the service that it shows."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from zope.interface import implementer

from twisted_net.connection.addresses import is_loopback
from twisted_net.endpoints.listening import Listener, ListenerService
from twisted_net.interfaces import ServerEndpoint
from twisted_net.web.admin.factory import AdminFactory
from twisted_net.web.admin.views import ServiceView

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


class AdminService(ListenerService):
    """Shows a service to operators.

    :param reactor: the reactor.
    :param view: the service.
    :param listener: where to listen.
    :param token: returns the token that operators must know; None if there is none. Then it listens
        only on loopback addresses and Unix sockets.
    :param names: names of this server that operators use, besides its addresses.
    """

    def __init__(
        self,
        reactor: Any,
        view: ServiceView,
        listener: Listener,
        token: Callable[[], bytes] | None = None,
        names: Collection[str] = (),
    ) -> None:
        factory = AdminFactory({view.name: view}, token=token, hosts=names, clock=reactor)
        if token is None:
            endpoint = LocalEndpoint(listener.endpoint)
            listener = Listener(endpoint, listener.label, listener.certificates)
        super().__init__(factory, [listener], drain=ADMIN_DRAIN)
