"""TCP services for Twisted: framing, limits, broadcast, TLS, and three services built on them.

Import public names from here, :mod:`twisted_net.chat`, :mod:`twisted_net.eager` and
:mod:`twisted_net.testing`. Everything below is private to the package and may move. Importing this
package does not import Twisted or install a reactor: each name is imported when it is first used.

The folders, from the top down. Each imports only those below it, and its ``__init__`` explains how
to read it:

- ``services``: what ``twistd`` runs.
- ``upgrade``: how a new process goes on with the connections of an old one.
- ``chat``, ``echo``, ``idle``, ``forward``: protocols and factories to embed. ``testing``: helpers
  for tests of protocols.
- ``store``: where the chat stores the messages of its rooms.
- ``endpoints``: where to listen and where to connect.
- ``asyncio_loop``: Twisted in a program of asyncio.
- ``connection``: connections, their factory, broadcast, and the guard for other factories.
- ``tls``: certificates and OpenSSL contexts.
- ``eager``: a reactor and transports for any Twisted program.
- ``policy`` and ``wire``: decisions, and bytes to messages and back. Both are pure: they use no
  Twisted, no clock and no sockets.
"""

from typing import TYPE_CHECKING

from twisted_net.lazy_exports import lazy_exports

__version__ = "0.1.0"


class TwistedNetError(Exception):
    """The base class of all errors that this package raises for its users to catch."""


if TYPE_CHECKING:
    from twisted_net.asyncio_loop import asyncio_reactor as asyncio_reactor
    from twisted_net.connection.broadcast import Broadcast as Broadcast
    from twisted_net.connection.connection import Connection as Connection
    from twisted_net.connection.encoded_broadcast import EncodedBroadcast as EncodedBroadcast
    from twisted_net.connection.factory import ConnectionFactory as ConnectionFactory
    from twisted_net.connection.guard import GuardFactory as GuardFactory
    from twisted_net.connection.incoming import ConnectionClosed as ConnectionClosed
    from twisted_net.connection.trusted_proxies import TrustedProxies as TrustedProxies
    from twisted_net.echo import EchoFactory as EchoFactory
    from twisted_net.endpoints.client import ConnectFailed as ConnectFailed
    from twisted_net.endpoints.client import ReconnectingClient as ReconnectingClient
    from twisted_net.endpoints.client import connect as connect
    from twisted_net.endpoints.listening import Listener as Listener
    from twisted_net.endpoints.listening import ListenerService as ListenerService
    from twisted_net.endpoints.listening import ListenFailed as ListenFailed
    from twisted_net.endpoints.proxied import ProxiedEndpoint as ProxiedEndpoint
    from twisted_net.endpoints.serving import listen as listen
    from twisted_net.endpoints.serving import serve as serve
    from twisted_net.endpoints.socket_options import SocketOptions as SocketOptions
    from twisted_net.endpoints.socket_options import TunedServerEndpoint as TunedServerEndpoint
    from twisted_net.endpoints.tls import TLSServerEndpoint as TLSServerEndpoint
    from twisted_net.forward import ForwardFactory as ForwardFactory
    from twisted_net.idle import IdleTimeoutFactory as IdleTimeoutFactory
    from twisted_net.policy.admission import Admission as Admission
    from twisted_net.policy.admission import AdmissionRules as AdmissionRules
    from twisted_net.policy.backoff import Backoff as Backoff
    from twisted_net.policy.budget import MemoryBudget as MemoryBudget
    from twisted_net.policy.close_reasons import CloseReason as CloseReason
    from twisted_net.policy.limits import Limits as Limits
    from twisted_net.policy.limits import OverflowPolicy as OverflowPolicy
    from twisted_net.policy.ranges import Ranges as Ranges
    from twisted_net.policy.ranges import parse_range as parse_range
    from twisted_net.services.upgrading import UpgradableService as UpgradableService
    from twisted_net.tls.certificate_watch import CertificateWatch as CertificateWatch
    from twisted_net.tls.certificates import Certificates as Certificates
    from twisted_net.tls.key_pairs import CertificateError as CertificateError
    from twisted_net.tls.key_pairs import peer_subject as peer_subject
    from twisted_net.tls.sessions import TLSSessions as TLSSessions
    from twisted_net.tls.sessions import session_reused as session_reused
    from twisted_net.upgrade.frames import UpgradeFailed as UpgradeFailed
    from twisted_net.web.websocket import WebSocketConnection as WebSocketConnection
    from twisted_net.web.websocket import WebSocketFactory as WebSocketFactory
    from twisted_net.wire.framing import BaseFraming as BaseFraming
    from twisted_net.wire.framing import Framing as Framing
    from twisted_net.wire.framing import JsonLines as JsonLines
    from twisted_net.wire.framing import JsonStream as JsonStream
    from twisted_net.wire.framing import LengthPrefixed as LengthPrefixed
    from twisted_net.wire.framing import Lines as Lines
    from twisted_net.wire.framing import LocalProtocolError as LocalProtocolError
    from twisted_net.wire.framing import Netstrings as Netstrings
    from twisted_net.wire.framing import Raw as Raw
    from twisted_net.wire.framing import RemoteProtocolError as RemoteProtocolError
    from twisted_net.wire.text import printable as printable

__all__ = [
    "Admission",
    "AdmissionRules",
    "Backoff",
    "BaseFraming",
    "Broadcast",
    "CertificateError",
    "CertificateWatch",
    "Certificates",
    "CloseReason",
    "ConnectFailed",
    "Connection",
    "ConnectionClosed",
    "ConnectionFactory",
    "EchoFactory",
    "EncodedBroadcast",
    "ForwardFactory",
    "Framing",
    "GuardFactory",
    "IdleTimeoutFactory",
    "JsonLines",
    "JsonStream",
    "LengthPrefixed",
    "Limits",
    "Lines",
    "ListenFailed",
    "Listener",
    "ListenerService",
    "LocalProtocolError",
    "MemoryBudget",
    "Netstrings",
    "OverflowPolicy",
    "ProxiedEndpoint",
    "Ranges",
    "Raw",
    "ReconnectingClient",
    "RemoteProtocolError",
    "SocketOptions",
    "TLSServerEndpoint",
    "TLSSessions",
    "TrustedProxies",
    "TunedServerEndpoint",
    "TwistedNetError",
    "UpgradableService",
    "UpgradeFailed",
    "WebSocketConnection",
    "WebSocketFactory",
    "asyncio_reactor",
    "connect",
    "listen",
    "parse_range",
    "peer_subject",
    "printable",
    "serve",
    "session_reused",
]

__getattr__, __dir__ = lazy_exports(
    globals(),
    {
        "Admission": "twisted_net.policy.admission",
        "AdmissionRules": "twisted_net.policy.admission",
        "Backoff": "twisted_net.policy.backoff",
        "BaseFraming": "twisted_net.wire.framing",
        "Broadcast": "twisted_net.connection.broadcast",
        "CertificateError": "twisted_net.tls.key_pairs",
        "CertificateWatch": "twisted_net.tls.certificate_watch",
        "Certificates": "twisted_net.tls.certificates",
        "CloseReason": "twisted_net.policy.close_reasons",
        "ConnectFailed": "twisted_net.endpoints.client",
        "Connection": "twisted_net.connection.connection",
        "ConnectionClosed": "twisted_net.connection.incoming",
        "ConnectionFactory": "twisted_net.connection.factory",
        "EchoFactory": "twisted_net.echo",
        "EncodedBroadcast": "twisted_net.connection.encoded_broadcast",
        "ForwardFactory": "twisted_net.forward",
        "Framing": "twisted_net.wire.framing",
        "GuardFactory": "twisted_net.connection.guard",
        "IdleTimeoutFactory": "twisted_net.idle",
        "JsonLines": "twisted_net.wire.framing",
        "JsonStream": "twisted_net.wire.framing",
        "LengthPrefixed": "twisted_net.wire.framing",
        "Limits": "twisted_net.policy.limits",
        "Lines": "twisted_net.wire.framing",
        "ListenFailed": "twisted_net.endpoints.listening",
        "Listener": "twisted_net.endpoints.listening",
        "ListenerService": "twisted_net.endpoints.listening",
        "LocalProtocolError": "twisted_net.wire.framing",
        "MemoryBudget": "twisted_net.policy.budget",
        "Netstrings": "twisted_net.wire.framing",
        "OverflowPolicy": "twisted_net.policy.limits",
        "ProxiedEndpoint": "twisted_net.endpoints.proxied",
        "Ranges": "twisted_net.policy.ranges",
        "Raw": "twisted_net.wire.framing",
        "ReconnectingClient": "twisted_net.endpoints.client",
        "RemoteProtocolError": "twisted_net.wire.framing",
        "SocketOptions": "twisted_net.endpoints.socket_options",
        "TLSServerEndpoint": "twisted_net.endpoints.tls",
        "TLSSessions": "twisted_net.tls.sessions",
        "TrustedProxies": "twisted_net.connection.trusted_proxies",
        "TunedServerEndpoint": "twisted_net.endpoints.socket_options",
        "UpgradableService": "twisted_net.services.upgrading",
        "UpgradeFailed": "twisted_net.upgrade.frames",
        "WebSocketConnection": "twisted_net.web.websocket",
        "WebSocketFactory": "twisted_net.web.websocket",
        "asyncio_reactor": "twisted_net.asyncio_loop",
        "connect": "twisted_net.endpoints.client",
        "listen": "twisted_net.endpoints.serving",
        "parse_range": "twisted_net.policy.ranges",
        "peer_subject": "twisted_net.tls.key_pairs",
        "printable": "twisted_net.wire.text",
        "serve": "twisted_net.endpoints.serving",
        "session_reused": "twisted_net.tls.sessions",
    },
)
