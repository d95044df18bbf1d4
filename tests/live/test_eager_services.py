"""The services on the ``eager`` reactor: what is tested of them on the usual one, once more.

``LIVE_REACTOR=eager trial tests.live`` runs all of it there.
"""

from __future__ import annotations

from tests.live import test_guard, test_haproxy, test_netidle, test_proxied, test_tls
from tests.live.harness import LiveTestCase


class Eagerly:
    """``twistd --reactor eager``."""

    reactor = "eager"


class EchoTests(Eagerly, LiveTestCase):
    async def test_half_close(self) -> None:
        """A megabyte comes back, and so does the half-close."""
        server, port = await self.serve("netecho")
        self.assertEqual(len(server.log(r"reactor class: .*\.EagerReactor\.")), 1)
        await self.check_echo(port, bytes(range(256)) * 4096)
        self.assertEqual(server.log("Traceback|Unhandled"), [])


class TLSTests(Eagerly, test_tls.ServicesTests):
    """TLS on the socket, asked by ``openssl`` and others."""


class ClientCertificateTests(Eagerly, test_tls.ClientCertificateTests):
    """Required, and refused."""


class SlowTests(Eagerly, test_guard.SlowTests):
    """Peers that take nothing, say nothing, or say it slowly."""


class WebTests(Eagerly, test_guard.WebTests):
    """Twisted's own web server behind ``net:`` and ``nettls:``."""


class ProxiedTLSTests(Eagerly, test_proxied.TLSTests):
    """A PROXY header before the handshake."""


class HAProxyTLSTests(Eagerly, test_haproxy.TLSTests):
    """HAProxy's own."""


class UpstreamTests(Eagerly, test_netidle.UpstreamTests):
    """``netidle`` before a service."""
