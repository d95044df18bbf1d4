"""Certificates that are renewed while a service runs, with real clients."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions

from tests.live.harness import (
    LOCALHOST,
    PATIENCE,
    Client,
    LiveTestCase,
    Program,
    Server,
    program,
)

CONNECTIONS = 100


class Authority:
    """A certificate authority, for servers and clients.

    :ivar ca: the file with its own certificate.
    """

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.ca = str(directory / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, cert: Path, key: Path, *names: str, subject: str = "") -> int:
        """Write a new certificate and its key atomically; return its serial number."""
        made = self._authority.issue_cert(
            *names, common_name=subject or None, key_type=trustme.KeyType.ECDSA
        )
        pem = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        for path, data in ((key, made.private_key_pem.bytes()), (cert, pem)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".new").write_bytes(data)
            path.with_suffix(".new").replace(path)
        return serial_of(pem)


def serial_of(pem: bytes) -> int:
    """Return a certificate's serial number."""
    return x509.load_pem_x509_certificate(pem).serial_number


class SecureClient(Client):
    """A TLS connection that accepts every certificate, and reports which one it got."""

    @property
    def saw(self) -> int:
        """The serial number of the server's certificate."""
        assert self.transport is not None
        return int(self.transport.getPeerCertificate().get_serial_number())  # type: ignore[attr-defined]


class ReloadCase(LiveTestCase):
    def setUp(self) -> None:
        self.openssl = program("openssl")
        self.folder = self.directory()
        self.authority = Authority(self.folder)
        self.cert, self.key = self.folder / "cert.pem", self.folder / "key.pem"

    async def serve_tls(self, *flags: str, service: str = "netecho") -> tuple[Server, int]:
        server = self.twistd(service, "--tls-port", "0", "--interface", LOCALHOST, *flags)
        return server, await server.port("--tls-port 0")

    def issue(self) -> int:
        """Renew the certificate of localhost."""
        return self.authority.issue(self.cert, self.key, "localhost")

    @property
    def files(self) -> tuple[str, ...]:
        return "--cert", str(self.cert), "--key", str(self.key)

    async def come(self, port: int) -> SecureClient:
        """Connect over TLS, and check an echo."""
        from twisted.internet import reactor

        endpoint = wrapClientTLS(
            CertificateOptions(), TCP4ClientEndpoint(reactor, LOCALHOST, port, timeout=PATIENCE)
        )
        client: Any = await endpoint.connect(Factory.forProtocol(SecureClient))  # type: ignore[arg-type]
        self.addCleanup(lambda: None if client.lost else self._disconnect(client))
        client.send(b"hello ")
        await client.has(b"hello ")
        return client

    def s_client(self, port: int, *flags: str) -> Program:
        """Start ``openssl s_client``, which verifies the certificate."""
        running: Program = self.spawn(
            self.openssl,
            *("s_client", "-connect", f"{LOCALHOST}:{port}", "-CAfile", self.authority.ca),
            *("-verify_return_error", *flags),
        )
        return running

    async def shown(self, port: int, name: str) -> int:
        """Return the serial number that a client gets that asks for a name and verifies it."""
        client = self.s_client(port, "-servername", name, "-verify_hostname", name)
        await client.expect(rb"-----END CERTIFICATE-----")
        pem = re.search(rb"-----BEGIN CERTIFICATE.*?END CERTIFICATE-----", client.output, re.DOTALL)
        assert pem is not None
        await client.expect(rb"Verif\w+ return code: 0|Verification: OK")
        client.end_input()
        await client.ended()
        return serial_of(pem[0])


class RenewalTests(ReloadCase):
    """A hundred connections stay, whatever happens to the files."""

    async def test_renewed_and_broken(self) -> None:
        """New connections get the renewed certificate; a broken renewal changes nothing."""
        old = self.issue()
        server, port = await self.serve_tls(*self.files)
        clients = await self.together(*(self.come(port) for _ in range(CONNECTIONS)))
        self.assertEqual({each.saw for each in clients}, {old})

        new = self.issue()
        await server.until(lambda: len(server.log("expires .* SHA-256")) == 2, "the renewal")
        latecomer = await self.come(port)
        self.assertEqual(latecomer.saw, new)

        self.cert.write_text("oops")
        await server.until(lambda: server.log("stays as it was"), "a line about it")
        self.assertEqual((await self.come(port)).saw, new)
        server.signal(signal.SIGHUP)
        await server.until(lambda: len(server.log("stays as it was")) == 2, "another line")
        self.assertEqual((await self.come(port)).saw, new)
        (told,) = {re.sub("^.*?] ", "", line) for line in server.log("stays as it was")}
        self.assertEqual(
            told,
            f"Certificate cert.pem stays as it was: {self.cert}: has no certificate in PEM form",
        )

        for each in clients:
            each.send(b"still here")
        await self.together(*(each.has(b"still here") for each in clients))
        self.assertEqual([each.lost for each in clients], [None] * CONNECTIONS)
        self.assertEqual(server.log("Traceback|Unhandled"), [])

    async def test_sighup(self) -> None:
        """SIGHUP reloads at once."""
        self.issue()
        server, port = await self.serve_tls(*self.files)
        await self.come(port)  # then the service has started
        new = self.issue()
        server.signal(signal.SIGHUP)
        await server.until(
            lambda: len(server.log("expires .* SHA-256")) == 2, "it", 4.0
        )  # checking the files takes at least 5 s
        self.assertEqual((await self.come(port)).saw, new)

    async def test_no_files(self) -> None:
        """Without certificate files, SIGHUP is logged, and clients notice nothing."""
        server, port = await self.serve_tls("--self-signed")
        client = await self.come(port)
        server.signal(signal.SIGHUP)
        await server.until(lambda: server.log("SIGHUP: there are no certificate"), "a line")
        client.send(b"still here")
        await client.has(b"still here")


class DirectoryTests(ReloadCase):
    """``--tls-dir``."""

    async def test_by_name(self) -> None:
        """A directory may mix certbot's layout, a pair beside it, and a wildcard."""
        live, archive = self.folder / "live", self.folder / "archive"
        issue = self.authority.issue

        def certbot(number: int) -> int:
            where = archive / "a.example"
            links = {name: live / "a.example" / f"{name}.pem" for name in ("fullchain", "privkey")}
            files = {name: where / f"{name}{number}.pem" for name in links}
            serial = issue(files["fullchain"], files["privkey"], "a.example")
            for name, link in links.items():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(os.path.relpath(files[name], link.parent))
            return serial

        a = certbot(1)
        b = issue(live / "b.crt", live / "b.key", "b.example", "*.b.example")
        server, port = await self.serve_tls("--tls-dir", str(live))
        self.assertEqual(await self.shown(port, "a.example"), a)
        for name in ("b.example", "x.b.example"):
            self.assertEqual(await self.shown(port, name), b)
        self.assertEqual((await self.come(port)).saw, a)  # without SNI, the first by name

        renewed = certbot(2)
        await server.until(lambda: len(server.log("expires .* SHA-256")) == 3, "the renewal")
        self.assertEqual(await self.shown(port, "a.example"), renewed)
        self.assertEqual(await self.shown(port, "b.example"), b)
        self.assertEqual(server.log("#error|#warn"), [])

    async def test_nothing_in_it(self) -> None:
        """An empty directory ends the start with one line."""
        missing = self.folder / "missing"
        for path, why in ((self.folder, "has no usable certificate: .*"), (missing, "No such .*")):
            server = self.twistd("netecho", "--tls-port", "0", "--tls-dir", str(path))
            self.assertEqual(await server.ended(), 1)
            (line,) = server.errors.decode().splitlines()
            self.assertRegex(line, f"^netecho: --tls-dir {re.escape(str(path))}: {why}")

    async def test_flags_that_do_not_go_together(self) -> None:
        """Each conflict of flags is reported in one line."""
        both = ("--tls-port", "0", "--tls-dir", str(self.folder))
        for flags, says in (
            ((*both, "--cert", "c"), "--tls-dir .*: cannot be used with --cert"),
            ((*both, "--self-signed"), "--self-signed: cannot be used with --tls-dir"),
            (("--tls-dir", "d"), "--tls-dir d: requires --tls-port"),
            (("--keylog", "k"), "--keylog k: requires --tls-port"),
            (("--tls-port", "0", "--self-signed", "--keylog", "/"), "--keylog /: Is a directory"),
        ):
            server = self.twistd("netecho", *flags)
            self.assertEqual(await server.ended(), 1)
            (line,) = server.errors.decode().splitlines()
            self.assertRegex(line, f"^netecho: {says}")


class SClientTests(ReloadCase):
    """Behaviour seen by ``openssl s_client``."""

    async def test_resumption(self) -> None:
        """Tickets work with both versions; after a renewal, there is a full handshake."""
        self.issue()
        server, port = await self.serve_tls(*self.files)
        for version in ("-tls1_2", "-tls1_3"):
            ticket = str(self.folder / f"ticket{version}")
            await self._session(port, b"New", version, "-sess_out", ticket)
            await self._session(port, b"Reused", version, "-sess_in", ticket)
        self.issue()
        server.signal(signal.SIGHUP)
        await server.until(lambda: len(server.log("expires .* SHA-256")) == 2, "the renewal")
        await self._session(port, b"New", "-tls1_3", "-sess_in", ticket)

    async def _session(self, port: int, kind: bytes, *flags: str) -> None:
        client = self.s_client(port, *flags)
        await client.expect(rb"^(New|Reused), TLSv1")
        client.write(b"hello\n")
        await client.expect(rb"^hello\n")
        client.end_input()
        await client.ended()
        self.assertIn(kind + b", TLSv1", client.output)

    async def test_old_versions(self) -> None:
        """TLS 1.1 and 1.0 are rejected with the alert for it."""
        self.issue()
        _, port = await self.serve_tls(*self.files)
        for flag in ("-tls1_1", "-tls1"):
            client = self.s_client(port, flag, "-cipher", "DEFAULT@SECLEVEL=0")
            self.assertEqual(await client.ended(), 1)
            self.assertIn(b"alert protocol version", client.errors)

    async def test_renegotiation(self) -> None:
        """A client that asks for renegotiation is rejected."""
        self.issue()
        _, port = await self.serve_tls(*self.files)
        client = self.s_client(port, "-tls1_2")
        await client.expect(rb"^New, TLSv1.2")
        client.write(b"R\n")
        await client.until(lambda: b"no renegotiation" in client.errors, "the alert")

    async def test_keylog(self) -> None:
        """The keys of a connection are logged for Wireshark, in a file that others cannot read."""
        path = self.folder / "keys"
        server, port = await self.serve_tls("--self-signed", "--keylog", str(path))
        await self.come(port)
        self.assertIn("CLIENT_TRAFFIC_SECRET_0 ", path.read_text())
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(len(server.log("keys of all TLS connections")), 1)

    async def test_a_client_certificate(self) -> None:
        """A client certificate is required if requested, and the service knows its subject."""
        self.issue()
        ann = self.folder / "ann.pem", self.folder / "ann.key"
        self.authority.issue(*ann, "ann@example.org", subject="Ann")
        where = self.directory()
        (where / "who.tac").write_text(WHO.format(*self.files[1::2], self.authority.ca))
        server = self.twistd("-y", "who.tac", cwd=where)
        port = await server.port("who")
        client = self.s_client(port, "-quiet", "-cert", str(ann[0]), "-key", str(ann[1]))
        await client.expect(rb"You are Ann\.")
        stranger = self.s_client(port, "-quiet")
        self.assertEqual(await stranger.ended(), 1)
        self.assertIn(b"certificate required", stranger.errors)


WHO = """
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted_net.tls.certificate_watch import CertificateWatch
from twisted_net.tls.certificates import Certificates
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints.listening import Listener, ListenerService
from twisted_net.tls.key_pairs import peer_subject
from twisted_net.endpoints.tls import TLSServerEndpoint

class Who(Connection):
    def connected(self):
        self.send(f"You are {{peer_subject(self.transport)}}.".encode())

certificates = Certificates.from_files({!r}, {!r}, client_ca={!r})
endpoint = TLSServerEndpoint(
    serverFromString(reactor, "tcp:0:interface=127.0.0.1"), certificates
)
application = Application("who")
ListenerService(
    ConnectionFactory.forProtocol(Who), [Listener(endpoint, "who")]
).setServiceParent(application)
CertificateWatch([certificates], reactor).setServiceParent(application)
"""
"""A user's own application."""
