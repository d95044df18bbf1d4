"""``twistd netchat``: a chat for ``nc``, telnet and programs."""

from __future__ import annotations

from twisted.application.service import IService

from twisted_net.chat.protocol import MAX_MESSAGE, ChatFactory
from twisted_net.services.options import ServiceOptions, shared_flags
from twisted_net.services.starting import NamedService


class Options(ServiceOptions):
    """The flags of netchat."""

    command = "netchat"
    synopsis = "[--port N] [--listen ENDPOINT] [--tls-port N --cert F --key F] [flags]"
    optParameters = shared_flags(max_message=MAX_MESSAGE)


def makeService(options: Options) -> IService:
    """Give the service that twistd runs."""
    from twisted.internet import reactor

    factory = ChatFactory(**options.settings())
    return NamedService(
        options.command, factory, options.listeners(reactor), drain=options["drain"]
    )
