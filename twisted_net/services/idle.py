"""``twistd netidle``: idle timeouts, limits and TLS in front of any TCP service.

Without ``--upstream``, it reads what clients send and discards it (RFC 863).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Sequence
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.reactor_interfaces import eager
from twisted_net.endpoints.socket_options import TunedClientEndpoint
from twisted_net.forward import ForwardFactory
from twisted_net.idle import DiscardFactory
from twisted_net.services.completion import shell_completions
from twisted_net.services.flags import SHARED_GROUPS, shared_flags
from twisted_net.services.help import FlagGroup
from twisted_net.services.options import ServiceOptions
from twisted_net.services.starting import NamedService, StartError, fail_late, parse_endpoint
from twisted_net.services.workers.serving import service_for

_log = Logger()

LONGEST_PATH = 107
"""The most bytes in the path of a Unix socket on Linux (unix(7))."""

_UPSTREAM_HELP = (
    "Twisted client endpoint to connect each client to, such as tcp:127.0.0.1:6379. Without it, "
    "data is read and discarded."
)


class Options(ServiceOptions):
    """The flags of netidle."""

    command = "netidle"
    summary = (
        "Put idle timeouts, limits and TLS in front of any TCP service. Without --upstream, read "
        "what clients send and discard it (RFC 863)."
    )
    examples = (
        "twistd -n netidle --port 8080 --upstream tcp:127.0.0.1:6379",
        "twistd -n netidle --port 8080 --idle-timeout 30",
    )
    groups = (FlagGroup("Forwarding", {"upstream": "ENDPOINT"}), *SHARED_GROUPS)
    optParameters = [["upstream", "u", None, _UPSTREAM_HELP], *shared_flags(idle_timeout=60)]
    compData = shell_completions(groups, ServiceOptions.repeatable)

    @property
    def descriptors(self) -> int:
        return 1 if self["upstream"] is None else 2


class IdleService(NamedService):
    """Checks that its upstream exists when it starts.

    An upstream that refuses or does not answer may appear later, so that is only logged. A host
    name that does not resolve, or a path that does not exist, ends the start.
    """

    def __init__(
        self,
        reactor: Any,
        options: Options,
        factory: ConnectionFactory,
        upstream: IStreamClientEndpoint | None,
    ) -> None:
        super().__init__(
            *(options.command, factory, options.listeners(reactor)),
            drain=options["drain"],
            files=options.files_in_use(),
            options=options,
        )
        self._reactor = reactor
        self._upstream = upstream
        self._label = options.spell("upstream")

    @property
    def factories(self) -> Sequence[ConnectionFactory]:
        forwards = isinstance(self.factory, ForwardFactory)
        return [self.factory, self.factory.upstream_factory] if forwards else [self.factory]

    def startService(self) -> None:
        super().startService()
        if self._upstream is not None:
            Deferred.fromCoroutine(self._look(self._upstream))

    def apply_flags(self, before: Any, now: Any, changed: Collection[str]) -> None:
        super().apply_flags(before, now, changed)
        if isinstance(self.factory, ForwardFactory):
            self.factory.upstream_factory.log_ends = self.factory.log_ends

    async def _look(self, upstream: IStreamClientEndpoint) -> None:
        try:
            probe: Any = await upstream.connect(Factory.forProtocol(Protocol))
        except DNSLookupError:
            fail_late(self._reactor, f"{self.command}: {self._label}: host not found")
        except ConnectError as error:
            if error.osError == errno.ENOENT:
                fail_late(self._reactor, f"{self.command}: {self._label}: path not found")
            else:
                _log.warn("{label} cannot be reached yet: {error}", label=self._label, error=error)
        except Exception as error:  # each kind of endpoint raises its own errors
            _log.warn("{label} cannot be reached yet: {error}", label=self._label, error=error)
        else:
            probe.transport.loseConnection()


def makeService(options: Options) -> IService:
    """Return the service that twistd runs."""
    from twisted.internet import reactor

    def make() -> NamedService:
        if options["upstream"] is None:
            return IdleService(reactor, options, DiscardFactory(**options.settings()), None)
        upstream = upstream_endpoint(reactor, options)
        factory = ForwardFactory(upstream, **options.settings())
        return IdleService(reactor, options, factory, upstream)

    return service_for(options, reactor, make)


def upstream_endpoint(reactor: Any, options: Options) -> IStreamClientEndpoint:
    """Return the endpoint that clients are connected to.

    :raises StartError: the endpoint cannot be used.
    """
    text = options["upstream"]
    where = f"{options.command}: {options.spell('upstream')}"
    upstream: IStreamClientEndpoint = parse_endpoint(
        where,
        text,
        lambda: clientFromString(eager(reactor), text),  # type: ignore[no-untyped-call]
    )
    kind, _, rest = text.partition(":")
    # Twisted would only fail in a later turn, where the error reaches no caller.
    if kind == "unix" and len(os.fsencode(rest.partition(":")[0])) > LONGEST_PATH:
        raise StartError(f"{where}: the path is too long, at most {LONGEST_PATH} bytes")
    return TunedClientEndpoint(upstream, options.socket_options())
