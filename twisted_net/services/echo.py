"""``twistd netecho``: every byte comes back (RFC 862)."""

from __future__ import annotations

from twisted.application.service import IService

from twisted_net.echo import EchoFactory
from twisted_net.services.options import ServiceOptions, shared_flags
from twisted_net.services.starting import NamedService


class Options(ServiceOptions):
    """The flags of netecho."""

    command = "netecho"
    synopsis = "[--port N] [--listen ENDPOINT] [--tls-port N --cert F --key F] [flags]"
    optParameters = shared_flags()


def makeService(options: Options) -> IService:
    """Give the service that twistd runs."""
    from twisted.internet import reactor

    factory = EchoFactory(**options.settings())
    return NamedService(
        options.command, factory, options.listeners(reactor), drain=options["drain"]
    )
