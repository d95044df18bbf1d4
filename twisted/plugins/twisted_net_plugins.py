"""The plugins of twistd and twist. Listing them imports no other module of twisted_net."""

from importlib import import_module

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamServerEndpointStringParser)
class EndpointParser:
    """Parses an endpoint string with a function that is imported on first use."""

    def __init__(self, prefix, function):
        self.prefix = prefix
        self._function = function

    def parseStreamServer(self, reactor, *args, **options):
        endpoints = import_module("twisted_net.endpoints.strings")
        return getattr(endpoints, self._function)(reactor, *args, **options)


class EagerInstaller(Reactor):
    """A reactor plugin that exits with one line if the reactor cannot be used."""

    def install(self):
        try:
            super().install()
        except ImportError as error:
            raise SystemExit(f"--reactor {self.shortName}: {error}") from None


class Service(ServiceMaker):
    """Makes a service. While it is imported and started, signals are handled already."""

    @property
    def options(self):
        early_signals = import_module("twisted_net.services.early_signals")
        early_signals.note_signals()
        early_signals.end_on_signals(self.name)
        return super().options


# ruff: noqa: E501
# fmt: off
net = EndpointParser("net", "parse_net")
nettls = EndpointParser("nettls", "parse_nettls")
netecho = Service("netecho", "twisted_net.services.echo", "An echo server: sends every byte back (RFC 862).", "netecho")
netidle = Service("netidle", "twisted_net.services.idle", "Idle timeouts, limits and TLS in front of any TCP service.", "netidle")
netchat = Service("netchat", "twisted_net.services.chat", "A chat server with rooms, for nc, telnet and programs.", "netchat")
eager = EagerInstaller("eager", "twisted_net.eager.reactor", "An epoll(7) reactor that sends without waiting for the poller.")
