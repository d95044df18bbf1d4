"""The three services over TLS, with ``openssl s_client``."""

from __future__ import annotations

import signal
from pathlib import Path

import trustme

from tests.live.harness import LOCALHOST, LiveTestCase, Program, Server, program


class Certificates:
    """Certificates made by a test's CA, in files.

    :ivar ca: the certificate of the CA.
    :ivar cert: a server's, for ``localhost`` and 127.0.0.1.
    :ivar key: its private key.
    :ivar client: a client's certificate and key, in one file.
    """

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        server = authority.issue_cert("localhost", LOCALHOST, key_type=trustme.KeyType.ECDSA)
        client = authority.issue_cert("ann@example.org", key_type=trustme.KeyType.ECDSA)
        self.ca, self.cert = str(directory / "ca.pem"), str(directory / "cert.pem")
        self.key, self.client = str(directory / "key.pem"), str(directory / "client.pem")
        authority.cert_pem.write_to_path(self.ca)
        server.private_key_pem.write_to_path(self.key)
        for blob in server.cert_chain_pems:
            blob.write_to_path(self.cert, append=True)
        client.private_key_and_cert_chain_pem.write_to_path(self.client)


class TLSTestCase(LiveTestCase):
    """A test with ``openssl s_client``."""

    def setUp(self) -> None:
        self.openssl = program("openssl")
        self.certificates = Certificates(self.directory())

    async def serve_tls(self, service: str, *flags: str) -> tuple[Server, int]:
        """Start a service over TLS, with a certificate by default."""
        if "--self-signed" not in flags:
            flags += ("--cert", self.certificates.cert, "--key", self.certificates.key)
        server = self.twistd(service, "--tls-port", "0", "--interface", LOCALHOST, *flags)
        return server, await server.port("--tls-port 0")

    def s_client(self, port: int, *flags: str) -> Program:
        """Start ``openssl s_client``, which prints what it receives, until its input ends."""
        running: Program = self.spawn(
            *(self.openssl, "s_client", "-quiet", "-no_ign_eof"),
            *("-connect", f"{LOCALHOST}:{port}", *flags),
        )
        return running

    def trusting(self, port: int, *flags: str) -> Program:
        """Start it so that it fails if it cannot verify the server's certificate."""
        verify = ("-CAfile", self.certificates.ca, "-verify_return_error")
        return self.s_client(port, *verify, "-verify_hostname", "localhost", *flags)


class ServicesTests(TLSTestCase):
    """Each service over TLS."""

    async def test_netchat(self) -> None:
        """Two users over TLS and another without it talk in the same room."""
        _, port = await self.serve_tls("netchat")
        ann, bob = self.trusting(port), self.trusting(port)
        await self.together(*(each.expect(rb"You are guest-\d in #lobby") for each in (ann, bob)))
        ann.write(b"hello\n")
        await bob.expect(rb"<guest-\d> hello\n")
        ann.end_input()
        await ann.ended()
        await bob.expect(rb"\* guest-\d left #lobby\.\n")

    async def test_both_ports_are_one_service(self) -> None:
        """Users with and without TLS are in the same room."""
        server, port = await self.serve_tls("netchat", "--port", "0")
        plain = self.nc(await server.port("--port 0"))
        await plain.expect(b"You are guest-1")
        secure = self.trusting(port)
        await secure.expect(b"You are guest-2")
        plain.write(b"hello\n")
        await secure.expect(b"<guest-1> hello\n")

    async def test_netecho(self) -> None:
        """A megabyte comes back unchanged."""
        _, port = await self.serve_tls("netecho")
        client = self.trusting(port)
        data = bytes(range(256)) * 4096
        client.write(data)
        await client.until(lambda: len(client.output) >= len(data), "a megabyte")
        self.assertEqual(bytes(client.output), data)

    async def test_netidle(self) -> None:
        """TLS is added to a service without it, and a silent client is closed over TLS too."""
        _, echo = await self.serve("netecho")
        _, port = await self.serve_tls(
            "netidle", "--upstream", f"tcp:{LOCALHOST}:{echo}", "--idle-timeout", "1"
        )
        client = self.trusting(port)
        client.write(b"hello\n")
        await client.expect(b"hello\n")
        await client.ended()

    async def test_an_upstream_with_tls(self) -> None:
        """Plain clients reach an upstream over TLS, whose certificate is verified."""
        _, echo = await self.serve_tls("netecho")
        trusted = self.directory()
        (trusted / "ca.pem").write_text(Path(self.certificates.ca).read_text())
        upstream = f"tls:localhost:{echo}:trustRoots={trusted}"
        _, port = await self.serve("netidle", "--upstream", upstream)
        client = await self.connect(port)
        client.send(b"hello")
        await client.has(b"hello")

    async def test_self_signed(self) -> None:
        """A development certificate works with each service, and the log has its fingerprint."""
        for service in ("netchat", "netecho", "netidle"):
            server, port = await self.serve_tls(service, "--self-signed")
            shown = self.spawn(self.openssl, "s_client", "-connect", f"{LOCALHOST}:{port}")
            await shown.expect(b"-----END CERTIFICATE-----\n")
            digest = self.spawn(self.openssl, "x509", "-noout", "-fingerprint", "-sha256")
            digest.write(bytes(shown.output))
            digest.end_input()
            found = await digest.expect(rb"Fingerprint=(\S+)")
            (line,) = server.log("Self-signed certificate")
            self.assertIn(found[1].decode().lower(), line.lower())
            await self._talks(service, self.s_client(port))

    async def _talks(self, service: str, client: Program) -> None:
        if service == "netchat":
            await client.expect(b"You are guest-")
        client.write(b"/ping\n")
        if service == "netidle":
            client.end_input()
            await client.ended()
            self.assertEqual(bytes(client.output), b"")
        else:
            await client.expect(rb"\* pong\n" if service == "netchat" else b"/ping\n")

    async def test_listen_ssl(self) -> None:
        """Twisted's own ``ssl:`` endpoint."""
        files = self.certificates
        endpoint = f"ssl:0:privateKey={files.key}:certKey={files.cert}:interface={LOCALHOST}"
        server = self.twistd("netchat", "--listen", endpoint)
        client = self.trusting(await server.port(f"--listen {endpoint}"))
        await client.expect(b"You are guest-1")


class VersionsTests(TLSTestCase):
    """TLS 1.2 or newer."""

    async def test_tls_1_2_and_1_3(self) -> None:
        """Both versions are supported."""
        _, port = await self.serve_tls("netchat")
        for flag in ("-tls1_2", "-tls1_3"):
            await self.trusting(port, flag).expect(b"You are guest-")

    async def test_older_is_refused(self) -> None:
        """TLS 1.1 and 1.0 fail, however the server listens."""
        files = self.certificates
        endpoint = f"ssl:0:privateKey={files.key}:certKey={files.cert}:interface={LOCALHOST}"
        both, first = await self.serve_tls("netchat", "--listen", endpoint)
        _, own = await self.serve_tls("netchat", "--self-signed")
        for port in (first, await both.port(f"--listen {endpoint}"), own):
            for flag in ("-tls1_1", "-tls1"):
                old = self.s_client(port, flag, "-cipher", "DEFAULT@SECLEVEL=0")
                self.assertEqual(await old.ended(), 1)
                self.assertNotIn(b"Welcome", old.output)
                self.assertIn(b"protocol version", old.errors)


class ClientCertificateTests(TLSTestCase):
    """``--client-ca``."""

    async def test_only_who_has_a_certificate_comes_in(self) -> None:
        """A client with a certificate of the right CA is accepted; others are rejected first."""
        server, port = await self.serve_tls("netchat", "--client-ca", self.certificates.ca)
        stranger = Certificates(self.directory()).client
        for flags in ((), ("-cert", stranger)):
            refused = self.trusting(port, *flags)
            await refused.ended()
            self.assertNotIn(b"Welcome", refused.output)
        ann = self.trusting(port, "-cert", self.certificates.client)
        await ann.expect(rb"You are \S+ in #lobby")  # the name in the certificate
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_who_speaks_no_tls_is_closed(self) -> None:
        """Plain bytes at a TLS port end that connection, without a traceback."""
        server, port = await self.serve_tls("netchat")
        client = await self.connect(port)
        client.send(b"hello, is this TLS?\n")
        await client.closed()
        self.assertEqual(server.log("Traceback|Unhandled"), [])
        await self.trusting(port).expect(b"You are guest-1 in")


class ClientTests(TLSTestCase):
    """Services that are clients over TLS, in a ``twistd`` of their own."""

    program = """
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.ssl import Certificate
from twisted_net import Connection, ReconnectingClient
from twisted_net.chat import ChatClient

class Says(Connection):
    def connected(self):
        print("connected", flush=True)

with open({ca!r}) as file:
    how = dict(tls=True, trust=Certificate.loadPEM(file.read()))
where = ("localhost", {port})
application = Application("client")
client = {client}
if isinstance(client, ChatClient):
    client.welcome().addCallback(lambda _: print("connected", flush=True))
client.setServiceParent(application)
"""

    async def test_sigterm_ends_them(self) -> None:
        """A connection over TLS does not keep ``twistd`` from ending."""
        for service, client in (
            ("netecho", "ReconnectingClient(reactor, where, Says, **how)"),
            ("netchat", "ChatClient(reactor, where, 'ann', **how)"),
        ):
            server, port = await self.serve_tls(service)
            tac = self.directory() / "client.tac"
            text = self.program.format(ca=self.certificates.ca, port=port, client=client)
            tac.write_text(text)
            running = self.twistd("-y", str(tac))
            await running.expect(rb"connected$")
            running.signal(signal.SIGTERM)
            self.assertEqual(await running.ended(), -signal.SIGTERM)
            self.assertEqual(running.log("Traceback|Unhandled"), [])
            self.assertEqual(server.log("Traceback|Unhandled"), [])
