"""``twistd netidle``: idle limits, and TLS, before any TCP service; or a service that listens.

Without ``--upstream``, what is sent is read and forgotten (RFC 863).
"""

from __future__ import annotations

import errno
import os
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
from twisted_net.services.options import ServiceOptions, shared_flags
from twisted_net.services.starting import NamedService, StartError, fail_late, parse_endpoint

_log = Logger()

LONGEST_PATH = 107
"""Bytes in the path of a Unix socket on Linux (unix(7))."""

_UPSTREAM_HELP = (
    "Twisted client endpoint, such as tcp:127.0.0.1:6379, to which each client is connected; "
    "without it, what clients send is read and forgotten."
)


class Options(ServiceOptions):
    """The flags of netidle."""

    command = "netidle"
    synopsis = "[--upstream ENDPOINT] [--port N] [--listen ENDPOINT] [flags]"
    optParameters = [["upstream", "u", None, _UPSTREAM_HELP], *shared_flags(idle_timeout=60)]


class IdleService(NamedService):
    """Looks whether its upstream exists when it starts.

    An upstream that refuses or does not answer may still come, and has a line in the log; a host
    name that does not resolve, or a path that is not there, ends the start.
    """

    def __init__(
        self,
        reactor: Any,
        options: Options,
        factory: ConnectionFactory,
        upstream: IStreamClientEndpoint | None,
    ) -> None:
        super().__init__(
            options.command, factory, options.listeners(reactor), drain=options["drain"]
        )
        self._reactor = reactor
        self._upstream = upstream
        self._label = f"--upstream {options['upstream']}"

    def startService(self) -> None:
        super().startService()
        if self._upstream is not None:
            Deferred.fromCoroutine(self._look(self._upstream))

    async def _look(self, upstream: IStreamClientEndpoint) -> None:
        try:
            probe: Any = await upstream.connect(Factory.forProtocol(Protocol))
        except DNSLookupError:
            fail_late(self._reactor, f"{self.command}: {self._label}: there is no such host")
        except ConnectError as error:
            if error.osError == errno.ENOENT:
                fail_late(self._reactor, f"{self.command}: {self._label}: there is no such path")
            else:
                _log.warn("{label} cannot be reached yet: {error}", label=self._label, error=error)
        except Exception as error:  # each kind of endpoint has its own
            _log.warn("{label} cannot be reached yet: {error}", label=self._label, error=error)
        else:
            probe.transport.loseConnection()


def makeService(options: Options) -> IService:
    """Give the service that twistd runs."""
    from twisted.internet import reactor

    if options["upstream"] is None:
        return IdleService(reactor, options, DiscardFactory(**options.settings()), None)
    upstream = upstream_endpoint(reactor, options)
    factory = ForwardFactory(upstream, **options.settings(descriptors=2))
    return IdleService(reactor, options, factory, upstream)


def upstream_endpoint(reactor: Any, options: Options) -> IStreamClientEndpoint:
    """Give where clients are connected to.

    :raises StartError: an endpoint that cannot be used.
    """
    text = options["upstream"]
    where = f"{options.command}: --upstream {text}"
    upstream: IStreamClientEndpoint = parse_endpoint(
        where,
        lambda: clientFromString(eager(reactor), text),  # type: ignore[no-untyped-call]
    )
    kind, _, rest = text.partition(":")
    # Twisted stumbles over it only in a turn of its own, where nobody hears of it.
    if kind == "unix" and len(os.fsencode(rest.partition(":")[0])) > LONGEST_PATH:
        raise StartError(f"{where}: the path is too long")
    return TunedClientEndpoint(upstream, options.socket_options())
