"""Tests of the services on the default reactor, repeated on the ``eager`` reactor.

``LIVE_REACTOR=eager trial tests.live`` runs all live tests there.
"""

from __future__ import annotations

from tests.live import test_guard, test_haproxy, test_netidle, test_proxied, test_tls
from tests.live.harness import LiveTestCase


class Eagerly:
    """``twistd --reactor eager``."""

    reactor = "eager"


class EchoTests(Eagerly, LiveTestCase):
    async def test_half_close(self) -> None:
        """A megabyte comes back, and the half-close is answered."""
        server, port = await self.serve("netecho")
        self.assertEqual(len(server.log(r"reactor class: .*\.EagerReactor\.")), 1)
        await self.check_echo(port, bytes(range(256)) * 4096)
        self.assertEqual(server.log("Traceback|Unhandled"), [])


class TLSTests(Eagerly, test_tls.ServicesTests):
    """TLS on the socket, with ``openssl`` and other clients."""


class ClientCertificateTests(Eagerly, test_tls.ClientCertificateTests):
    """Client certificates are required, and wrong ones rejected."""


class SlowTests(Eagerly, test_guard.SlowTests):
    """Peers that read nothing, send nothing, or send slowly."""


class WebTests(Eagerly, test_guard.WebTests):
    """Twisted's own web server behind ``net:`` and ``nettls:``."""


class ProxiedTLSTests(Eagerly, test_proxied.TLSTests):
    """A PROXY header before the handshake."""


class HAProxyTLSTests(Eagerly, test_haproxy.TLSTests):
    """HAProxy's own header."""


class UpstreamTests(Eagerly, test_netidle.UpstreamTests):
    """``netidle`` in front of a service."""
