"""The flags of the operator's view, and the service that they ask for.

What it takes is imported only if it is wanted: twisted.web and the client of Prometheus are 10 MB.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING, Any

from twisted_net.connection.addresses import is_loopback
from twisted_net.services.live_flags import ReloadError
from twisted_net.services.starting import NamedService, StartError
from twisted_net.store.interface import Store

OPEN_TO_OTHERS = (
    "other machines can connect to it: listen on 127.0.0.1 or on a Unix socket, or give "
    "--admin-token-file"
)

_TCP = ("tcp", "tcp4", "tcp6", "ssl", "net", "nettls")

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
    if options["admin-token-file"] is None and is_open(options["admin"]):
        where = f"{options.command}: {options.spell('admin')}"
        raise StartError(f"{where}: {OPEN_TO_OTHERS}")
    from twisted_net.chat.protocol import ChatFactory
    from twisted_net.web.admin.service import AdminService
    from twisted_net.web.admin.token_file import TokenError, TokenFile
    from twisted_net.web.admin.views import CannotReload, ChatServiceView, ServiceView

    token = None
    if options["admin-token-file"] is not None:
        try:
            token = TokenFile(options["admin-token-file"]).token
        except TokenError as error:
            flag = options.spell("admin-token-file")
            raise StartError(f"{options.command}: {flag}: {error}") from None
    kind = ChatServiceView if isinstance(service.factory, ChatFactory) else ServiceView

    def reload(who: str) -> str:
        try:
            return service.reload(who)
        except ReloadError as error:
            raise CannotReload(str(error)) from None

    view = kind(options.command, service, appends=appends, reload=reload)
    view.upgrade = service.upgrade
    service.admin = AdminService(reactor, view, listener, token, options["admin-host"])
    return service


def is_open(endpoint: str) -> bool:
    """Return whether the text of an endpoint shows that other machines can connect to it.

    If it does not show, the port does, as soon as it listens.
    """
    kind, _, rest = endpoint.partition(":")
    if kind not in _TCP:
        return False
    found = re.search(r"(?:^|:)interface=((?:\\.|[^:\\])*)", rest)
    host = "" if found is None else re.sub(r"\\(.)", r"\1", found[1])
    return host != "localhost" and not is_loopback(host)


def measured(store: Store) -> tuple[Store, Histogram]:
    """Return a store that measures its appends, and the result of that."""
    from twisted_net.web.admin.histogram import Histogram
    from twisted_net.web.admin.timed_store import time_appends

    appends = Histogram()
    return time_appends(store, appends, perf_counter), appends
