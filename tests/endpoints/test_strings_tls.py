"""The endpoint string ``nettls:`` of :mod:`twisted_net.endpoints.strings`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from tests.endpoints.test_strings import EndpointCase
from tests.tls.handshakes import Issued, Visitor
from twisted_net.connection.guard import GuardFactory
from twisted_net.endpoints import strings
from twisted_net.endpoints.tls import TLSServerFactory
from twisted_net.tls.certificates import Certificates


class NetTLSTests(EndpointCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.cert, self.key = self.folder / "a.crt", self.folder / "a.key"
        Issued("a.example").write(self.cert, self.key)

    def test_a_guard_behind_tls(self) -> None:
        """TLS comes first, then the guard with the options, then the factory."""
        for files in (f"cert={self.cert}:key={self.key}", f"dir={self.folder}"):
            _, factory, *_ = self.listen(f"nettls:1:{files}:idle=60:perAddress=20")
            self.assertIsInstance(factory, TLSServerFactory)
            guard = factory.wrappedFactory
            self.assertIsInstance(guard, GuardFactory)
            self.assertEqual(guard.limits.idle_timeout, 60)

    def test_the_certificates_are_looked_after_while_it_listens(self) -> None:
        """Certificates are reloaded from the first port that opens to the last that closes."""
        _, factory, *_ = self.listen(f"nettls:1:dir={self.folder}")
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        factory.doStart()
        self.assertNotEqual(self.reactor.getDelayedCalls(), [])
        factory.doStop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_errors(self) -> None:
        """The error names the option at fault."""
        both = "either cert= and key= or dir= is required"
        for files, error in (
            ("", both),
            (f"cert={self.cert}", both),
            (f"key={self.key}:cert={self.cert}:dir={self.folder}", both),
            (f"cert=nowhere:key={self.key}", "/nowhere: No such file or directory"),
            (f"cert={self.key}:key={self.key}", f"cert={self.key}: "),
            (f"dir={self.folder}/nowhere", f"={self.folder}/nowhere: "),
            (f"dir={self.folder}:idle=-1", "idle=-1: "),
            (f"dir={self.folder}:foo=1", "foo=1: "),
            (f"dir={self.folder}:minTls=1.3", "minTls=1.3: unknown option; .* clientCA, .* minTLS"),
            (f"dir={self.folder}:minTLS=1.1", "minTLS=1.1: must be 1.2 or 1.3"),
            (f"dir={self.folder}:allowExpired=1", "allowExpired=1: must be yes or no"),
            (f"dir={self.folder}:clientCA=/no", "clientCA=/no: No such file"),
            (f"dir={self.folder}:ticketKey=/no", "ticketKey=/no: No such file"),
            (
                f"dir={self.folder}:optionalClientCertificate=yes",
                "optionalClientCertificate=yes: requires clientCA=",
            ),
            (
                f"dir={self.folder}:passphraseFile=a:passphraseEnv=b",
                "passphraseFile= and passphraseEnv=: only one",
            ),
        ):
            self.assertRegex(self.error(f"nettls:1:{files}".rstrip(":")), error)

    def certificates(self, text: str) -> Certificates:
        """Return the certificates of an endpoint."""
        creators: list[Any] = []

        def note(endpoint: Any, creator: Any, clock: Any) -> Any:
            creators.append(creator)
            return endpoint

        self.patch(strings, "TLSServerEndpoint", note)
        self.listen(f"nettls:1:{text}")
        (found,) = creators
        assert isinstance(found, Certificates)
        return found

    def test_an_expired_certificate(self) -> None:
        """An expired certificate is an error, unless that is allowed."""
        Issued("a.example", days=-1).write(self.cert, self.key)
        files = f"cert={self.cert}:key={self.key}"
        self.assertRegex(self.error(f"nettls:1:{files}"), f"^cert={self.cert}: expired on .* UTC")
        self.certificates(f"{files}:allowExpired=yes")

    def test_options_of_tls(self) -> None:
        """The version, and the certificates of clients."""
        ann = Issued("ann")
        ca = self.folder / "ca"
        ca.write_bytes(ann.cert)
        certificates = self.certificates(
            f"dir={self.folder}:minTLS=1.3:clientCA={ca}:optionalClientCertificate=yes"
        )
        Visitor(certificates, identity=ann).shake_hands()
        Visitor(certificates).shake_hands()
        old = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
        with self.assertRaises(SSL.Error):
            Visitor(certificates, versions=old).shake_hands()

    def test_a_ticket_key(self) -> None:
        """Two ports with the same key resume each other's sessions."""
        key = self.folder / "tickets"
        key.write_bytes(os.urandom(80))
        one, two = (self.certificates(f"dir={self.folder}:ticketKey={key}") for _ in range(2))
        first = Visitor(one).shake_hands()
        session = first.client.get_session()
        self.assertTrue(Visitor(two, context=first.context, session=session).shake_hands().resumed)

    def test_a_passphrase(self) -> None:
        """A passphrase from a file or the environment opens the key."""
        issued = Issued("a.example")
        self.cert.write_bytes(issued.cert)
        self.key.write_bytes(issued.encrypted_key(b"s3cret"))
        passphrase = self.folder / "passphrase"
        passphrase.write_bytes(b"s3cret\r\n")
        self.patch(os, "environb", {b"PASS": b"s3cret"})
        for option in (f"passphraseFile={passphrase}", "passphraseEnv=PASS"):
            found = self.certificates(f"cert={self.cert}:key={self.key}:{option}")
            self.assertEqual(Visitor(found).shake_hands().saw, issued.serial)
