"""The flags of the operator's view, and the service that they ask for.

What it takes is imported only if it is wanted: twisted.web and the client of Prometheus are 10 MB.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

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
    from twisted_net.web.admin.answers import Answers
    from twisted_net.web.admin.histogram import Histogram
    from twisted_net.web.admin.service import AdminService
    from twisted_net.web.admin.views import ServiceView


class Reloadable(Protocol):
    """A service that can read its configuration again."""

    def reload(self, why: str) -> str:
        """Read it again, and return a line about it.

        :raises ReloadError: it is wrong.
        """


def add_admin(
    service: NamedService,
    reactor: Any,
    options: Any,
    appends: Histogram | None = None,
) -> NamedService:
    """Add the operator's view to a service, if ``--admin`` asks for it.

    :param options: the service's command line.
    :param appends: how long the store takes, if there is one.
    :raises StartError: the token file or the endpoint cannot be used.
    """
    if options["admin"] is not None:
        service.admin = admin_service(reactor, options, view_of(service, options, appends))
    return service


def view_of(service: NamedService, options: Any, appends: Histogram | None) -> ServiceView:
    """Return what is shown of a service."""
    from twisted_net.chat.protocol import ChatFactory
    from twisted_net.web.admin.views import ChatServiceView, ServiceView

    kind = ChatServiceView if isinstance(service.factory, ChatFactory) else ServiceView
    view = kind(
        options.command,
        service,
        appends=appends,
        reload=reloading(service),
    )
    if service.upgrades_in_place:
        view.upgrade = service.upgrade
    return view


def reloading(service: Reloadable) -> Callable[[str], str]:
    """Return what reads the configuration of a service again, for a view."""
    from twisted_net.web.admin.views import CannotReload

    def reload(who: str) -> str:
        try:
            return service.reload(who)
        except ReloadError as error:
            raise CannotReload(str(error)) from None

    return reload


def admin_service(
    reactor: Any, options: Any, view: ServiceView, answers: Answers | None = None
) -> AdminService:
    """Return the service that ``--admin`` asks for.

    :param answers: answers operators, in place of the view.
    :raises StartError: the token file or the endpoint cannot be used.
    """
    listener = options.admin_listener(reactor)
    if options["admin-token-file"] is None and is_open(options["admin"]):
        where = f"{options.command}: {options.spell('admin')}"
        raise StartError(f"{where}: {OPEN_TO_OTHERS}")
    from twisted_net.web.admin.service import AdminService
    from twisted_net.web.admin.token_file import TokenError, TokenFile

    token = None
    if options["admin-token-file"] is not None:
        try:
            token = TokenFile(options["admin-token-file"]).token
        except TokenError as error:
            flag = options.spell("admin-token-file")
            raise StartError(f"{options.command}: {flag}: {error}") from None
    return AdminService(reactor, view, listener, token, options["admin-host"], answers)


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
