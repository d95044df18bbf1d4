"""Socket options: their values, their targets, and invalid ones."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints import socket_options
from twisted_net.endpoints.socket_options import (
    SocketOptions,
    TunedClientEndpoint,
    TunedServerEndpoint,
    apply,
)
from twisted_net.testing import connect_peer

TCP = socket.IPPROTO_TCP
KEEPALIVE = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)


class Socket:
    """Records its options."""

    def __init__(self, family: int = socket.AF_INET, error: OSError | None = None) -> None:
        self.family = family
        self.options: dict[tuple[int, int], int] = {}
        self.error = error

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if self.error is not None:
            raise self.error
        self.options[level, option] = value


def applied(**options: Any) -> dict[tuple[int, int], int]:
    target = Socket()
    assert apply(SocketOptions(**options), SimpleNamespace(socket=target))
    return target.options


class ApplyTests(SynchronousTestCase):
    def test_defaults(self) -> None:
        self.assertEqual(
            applied(),
            {
                (TCP, socket.TCP_NODELAY): 1,
                KEEPALIVE: 1,
                (TCP, socket.TCP_KEEPIDLE): 60,
                (TCP, socket.TCP_KEEPINTVL): 15,
                (TCP, socket.TCP_KEEPCNT): 4,
                (TCP, socket.TCP_USER_TIMEOUT): 120_000,
            },
        )

    def test_off(self) -> None:
        """Options that are off are set too: the inherited socket may have had them on."""
        self.assertEqual(
            applied(nodelay=False, keepalive_idle=0),
            {(TCP, socket.TCP_NODELAY): 0, KEEPALIVE: 0, (TCP, socket.TCP_USER_TIMEOUT): 0},
        )

    def test_user_timeout(self) -> None:
        """The user timeout follows keepalive by default, up to the kernel's maximum."""
        cases: list[tuple[dict[str, Any], int]] = [
            ({"keepalive_idle": 10, "keepalive_interval": 2, "keepalive_count": 3}, 16_000),
            ({"user_timeout": 0}, 0),
            ({"user_timeout": 2.5}, 2500),
            ({"keepalive_idle": 0, "user_timeout": 30}, 30_000),
            ({"keepalive_interval": 32767, "keepalive_count": 127}, 2_000_000_000),
        ]
        for options, milliseconds in cases:
            found = applied(**options)
            self.assertEqual(found[TCP, socket.TCP_USER_TIMEOUT], milliseconds)

    def test_what_the_platform_does_not_know(self) -> None:
        """Unknown options are skipped: macOS has another name for one, and no user timeout."""
        known = {name: getattr(socket, name) for name in dir(socket)}
        del known["TCP_KEEPIDLE"], known["TCP_USER_TIMEOUT"]
        self.patch(socket_options, "socket", SimpleNamespace(**known | {"TCP_KEEPALIVE": 0x10}))
        found = applied()
        self.assertEqual(found.pop((TCP, 0x10)), 60)
        self.assertEqual(len(found), 4)

    def test_where_the_socket_is(self) -> None:
        """The socket is found below TLS and all other wrappers."""
        found = Socket(socket.AF_INET6)
        tls = SimpleNamespace(
            transport=SimpleNamespace(transport=SimpleNamespace(socket=found)), getHandle=object
        )
        self.assertTrue(apply(SocketOptions(), tls))
        self.assertIn(KEEPALIVE, found.options)

    def test_no_tcp_socket(self) -> None:
        unix = Socket(socket.AF_UNIX)
        peer = connect_peer(ConnectionFactory.forProtocol(Connection))
        for target in (
            SimpleNamespace(socket=unix),
            SimpleNamespace(transport=SimpleNamespace(socket=unix)),
            peer,
            None,
        ):
            self.assertFalse(apply(SocketOptions(), target))
        self.assertEqual(unix.options, {})

    def test_refused_by_the_kernel(self) -> None:
        with self.assertRaises(OSError):
            apply(SocketOptions(), SimpleNamespace(socket=Socket(error=OSError(22, "no"))))

    def test_values_that_make_no_sense(self) -> None:
        for name, value in [
            ("keepalive_idle", -1),
            ("keepalive_idle", 32768),
            ("keepalive_interval", 0),
            ("keepalive_count", 0),
            ("keepalive_count", 128),
            ("user_timeout", -1),
            ("user_timeout", float("nan")),
            ("user_timeout", 2_000_001),
        ]:
            with self.assertRaisesRegex(ValueError, f"^{name}: "):
                SocketOptions(**{name: value})  # type: ignore[arg-type]


class Endpoint:
    """An endpoint for servers and clients."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def listen(self, factory: Any) -> Any:
        return succeed(self.result)

    connect = listen


class EndpointTests(SynchronousTestCase):
    def test_server(self) -> None:
        """The port's socket gets the options, for all future connections."""
        port = SimpleNamespace(socket=Socket())
        endpoint: Any = Endpoint(port)
        listening = TunedServerEndpoint(endpoint, SocketOptions(keepalive_idle=7)).listen(endpoint)
        self.assertIs(self.successResultOf(listening), port)
        self.assertEqual(port.socket.options[TCP, socket.TCP_KEEPIDLE], 7)

    def test_client(self) -> None:
        protocol = SimpleNamespace(
            transport=SimpleNamespace(transport=SimpleNamespace(socket=Socket()))
        )
        endpoint: Any = Endpoint(protocol)
        connecting = TunedClientEndpoint(endpoint).connect(endpoint)
        self.assertIs(self.successResultOf(connecting), protocol)
        self.assertIn(KEEPALIVE, protocol.transport.transport.socket.options)

    def test_client_that_is_closed_already(self) -> None:
        """If an option cannot be set on a closed connection, connecting still succeeds."""
        protocol = SimpleNamespace(
            transport=SimpleNamespace(socket=Socket(error=OSError(22, "no")))
        )
        endpoint: Any = Endpoint(protocol)
        connecting = TunedClientEndpoint(endpoint).connect(endpoint)
        self.assertIs(self.successResultOf(connecting), protocol)
