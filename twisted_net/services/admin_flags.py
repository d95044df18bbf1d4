"""The flags of the operator's view, and the service that they ask for.

What it takes is imported only if it is wanted: twisted.web and the client of Prometheus are 10 MB.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from twisted_net.services.starting import NamedService, StartError
from twisted_net.store.interface import Store

if TYPE_CHECKING:
    from twisted_net.web.admin.histogram import Histogram


def add_admin(
    service: NamedService, reactor: Any, options: Any, appends: Histogram | None = None
) -> NamedService:
    """Add the operator's view to a service, if ``--admin`` asks for it.

    :param options: the service's command line.
    :param appends: how long the store takes, if there is one.
    :raises StartError: the token file or the endpoint cannot be used.
    """
    listener = options.admin_listener(reactor)
    if listener is None:
        return service
    from twisted_net.chat.protocol import ChatFactory
    from twisted_net.web.admin.service import AdminService
    from twisted_net.web.admin.token_file import TokenError, TokenFile
    from twisted_net.web.admin.views import ChatView, ServiceView

    token = None
    if options["admin-token-file"] is not None:
        try:
            token = TokenFile(options["admin-token-file"]).token
        except TokenError as error:
            flag = options.spell("admin-token-file")
            raise StartError(f"{options.command}: {flag}: {error}") from None
    kind = ChatView if isinstance(service.factory, ChatFactory) else ServiceView
    view = kind(options.command, service, appends=appends)
    service.admin = AdminService(reactor, [view], listener, token, options["admin-host"])
    return service


def measured(store: Store) -> tuple[Store, Histogram]:
    """Return a store that measures its appends, and the result of that."""
    from twisted_net.web.admin.histogram import Histogram
    from twisted_net.web.admin.timed_store import time_appends

    appends = Histogram()
    return time_appends(store, appends, perf_counter), appends
