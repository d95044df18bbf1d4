"""``twistd netecho``: an echo server (RFC 862)."""

from __future__ import annotations

from twisted.application.service import IService

from twisted_net.echo import EchoFactory
from twisted_net.services.completion import shell_completions
from twisted_net.services.flags import shared_flags
from twisted_net.services.options import ServiceOptions
from twisted_net.services.starting import NamedService
from twisted_net.services.workers.serving import service_for


class Options(ServiceOptions):
    """The flags of netecho."""

    command = "netecho"
    summary = "Send every byte back to the client that sent it (RFC 862)."
    examples = (
        "twistd -n netecho --port 8080",
        "twistd -n netecho --tls-port 8443 --cert chain.pem --key key.pem",
    )
    optParameters = shared_flags()
    compData = shell_completions(ServiceOptions.groups, ServiceOptions.repeatable)


def makeService(options: Options) -> IService:
    """Return the service that twistd runs."""
    from twisted.internet import reactor

    def make() -> NamedService:
        factory = EchoFactory(**options.settings())
        return NamedService(
            *(options.command, factory, options.listeners(reactor)),
            drain=options["drain"],
            files=options.files_in_use(),
            options=options,
        )

    return service_for(options, reactor, make)
