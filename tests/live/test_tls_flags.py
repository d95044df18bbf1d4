"""Flags about TLS and ports that need several processes, or clients of others."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests.live.harness import LOCALHOST, Program, Server
from tests.live.test_tls_reload import ReloadCase
from tests.tls.handshakes import Issued


class ExpiredTests(ReloadCase):
    """A certificate that has expired."""

    def expired(self) -> tuple[str, ...]:
        Issued("localhost", days=-1).write(self.cert, self.key)
        return self.files

    async def test_an_error_at_the_start(self) -> None:
        """The start ends with one line, with flags and as an endpoint."""
        files = self.expired()
        why = rb"expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC; renew it, or .*--allow-expired.*"
        nettls = f"nettls:0:interface={LOCALHOST}:cert={self.cert}:key={self.key}"
        for words, line in (
            (("--tls-port", "0", *files), b"netecho: --cert %s: %s\n"),
            (("--listen", nettls), b"netecho: --listen .*: cert=%s: %s\n"),
        ):
            server = self.twistd("netecho", *words)
            self.assertEqual(await server.ended(), 1)
            self.assertEqual(len(server.errors.splitlines()), 1, server)
            expected = line % (re.escape(os.fsencode(self.cert)), why)
            self.assertRegex(bytes(server.errors), expected)

    async def test_allowed(self) -> None:
        """It can be allowed, with a warning."""
        server, port = await self.serve_tls(*self.expired(), "--allow-expired")
        await self.come(port)
        (line,) = server.log("expired on")
        self.assertIn("Certificate cert.pem expired on", line)

    async def test_renewed_by_an_expired_one(self) -> None:
        """SIGHUP keeps the old one."""
        serial = self.issue()
        server, port = await self.serve_tls(*self.files)
        self.expired()
        server.signal(signal.SIGHUP)
        await server.until(lambda: server.log("stays as it was: .* expired on"), "the refusal")
        self.assertEqual((await self.come(port)).saw, serial)


class SharedTests(ReloadCase):
    """Several processes as one server."""

    def ticket_key(self) -> str:
        """Write a new ticket key to the file that all share."""
        path = self.folder / "ticket.key"
        path.write_bytes(os.urandom(80))
        path.chmod(0o600)
        return str(path)

    async def session(self, port: int, *flags: str) -> str:
        """Connect with ``openssl s_client``; return ``New`` or ``Reused``."""
        client: Program = self.s_client(port, *flags)
        found = await client.expect(rb"(?m)^(New|Reused), TLSv1")
        client.write(b"hello\n")
        await client.expect(b"hello\n")
        client.end_input()
        await client.ended()
        return found[1].decode()

    async def test_ticket_keys(self) -> None:
        """Two processes resume each other's sessions; SIGHUP takes a new key."""
        self.issue()
        flags = (*self.files, "--ticket-key", self.ticket_key())
        (one, first), (two, second) = [await self.serve_tls(*flags) for _ in range(2)]
        for version in ("-tls1_2", "-tls1_3"):
            kept = str(self.folder / f"session{version}")
            self.assertEqual(await self.session(first, version, "-sess_out", kept), "New")
            self.assertEqual(await self.session(second, version, "-sess_in", kept), "Reused")
        self.ticket_key()
        for server in (one, two):
            server.signal(signal.SIGHUP)
            await self.has_new_key(server)
        self.assertEqual(await self.session(first, "-tls1_3", "-sess_in", kept), "New")
        self.assertEqual(await self.session(first, "-tls1_3", "-sess_out", kept), "New")
        self.assertEqual(await self.session(second, "-tls1_3", "-sess_in", kept), "Reused")

    async def has_new_key(self, server: Server) -> None:
        said = "Session tickets have the key"
        await server.until(lambda: len(server.log(said)) == 2, "the new key")

    async def test_reuse_port(self) -> None:
        """Processes share a port; when one ends, the others serve it alone. Who does not say so is
        refused."""
        flags = ("--reuse-port", "--interface", LOCALHOST)
        one, port = await self.serve("netecho", *flags)
        two = self.twistd("netecho", "--port", str(port), *flags)
        await two.port(f"--port {port}")
        await self.check_echo(port, b"both")
        other = self.twistd("netecho", "--port", str(port), "--interface", LOCALHOST)
        self.assertEqual(await other.ended(), 1)
        self.assertIn(b"Address already in use", other.errors)
        await one.stop()
        for _ in range(5):
            await self.check_echo(port, b"alone")

    async def test_ipv6_only(self) -> None:
        """The port of IPv4 stays free for another service."""
        six: Server = self.twistd("netecho", "--port", "0", "--ipv6-only")
        port = await six.port()
        four = self.twistd("netecho", "--port", str(port), "--interface", "0.0.0.0")
        await four.port(f"--port {port}")
        for address in (LOCALHOST, "::1"):
            nc = self.nc_to(address, port)
            nc.write(b"hello\n")
            await nc.expect(b"hello\n")

    def nc_to(self, address: str, port: int) -> Program:
        running: Program = self.spawn("/usr/bin/env", "nc", address, str(port))
        return running


class ClientsTests(ReloadCase):
    """What clients must have."""

    async def test_tls_13_only(self) -> None:
        """TLS 1.2 is refused with the alert for it."""
        self.issue()
        _, port = await self.serve_tls(*self.files, "--min-tls", "1.3")
        client = self.s_client(port, "-tls1_2")
        self.assertEqual(await client.ended(), 1)
        self.assertIn(b"alert protocol version", client.errors)
        await self.come(port)

    async def test_an_encrypted_key(self) -> None:
        """``openssl``'s encrypted keys are read with a passphrase, also after a renewal."""
        serial = await self.issue_encrypted("secret")
        passphrase = ("--key-passphrase-file", str(self.folder / "passphrase"))
        server, port = await self.serve_tls(*self.files, *passphrase)
        self.assertEqual((await self.come(port)).saw, serial)
        serial = await self.issue_encrypted("other")
        server.signal(signal.SIGHUP)
        await server.until(lambda: len(server.log("expires .* SHA-256")) == 2, "the renewal")
        self.assertEqual((await self.come(port)).saw, serial)

    async def issue_encrypted(self, passphrase: str) -> int:
        """Renew the certificate, with an encrypted key and a file with the passphrase."""
        serial = self.issue()
        plain = self.folder / "plain.pem"
        self.key.rename(plain)
        (self.folder / "passphrase").write_text(f"{passphrase}\n")
        encrypt = (self.openssl, "pkey", "-in", str(plain), "-out", str(self.key), "-aes256")
        done = self.spawn(*encrypt, "-passout", f"pass:{passphrase}")
        self.assertEqual(await done.ended(), 0, done)
        return serial

    async def test_optional_certificates(self) -> None:
        """Clients with a certificate of the CA and without one are served; others are not."""
        self.issue()
        ann = Path(self.folder / "ann.pem")
        self.authority.issue(ann, Path(self.folder / "ann.key"), "ann@example.org")
        Issued("eve").write(Path(self.folder / "eve.pem"), Path(self.folder / "eve.key"))
        optional = ("--client-ca", self.authority.ca, "--optional-client-certificate")
        _, port = await self.serve_tls(*self.files, *optional)
        for who in ("", "ann", "eve"):
            path = self.folder / who
            flags = ("-cert", f"{path}.pem", "-key", f"{path}.key") if who else ()
            client = self.s_client(port, *flags)
            if who == "eve":
                await client.ended()
                self.assertIn(b"alert unknown ca", client.errors)
            else:
                await client.expect(rb"(?m)^New, TLSv1")
                client.write(b"hello\n")
                await client.expect(b"hello\n")
                client.end_input()
                await client.ended()
