"""Certificates that have expired, will soon expire, or are not valid yet."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent

from tests.tls.handshakes import DAY, NOW, Issued, Visitor
from tests.tls.test_certificates import CertificatesCase
from twisted_net.tls.certificate_watch import CertificateWatch
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.key_pairs import CertificateError

DAY_SECONDS = 86400


class ValidityCase(CertificatesCase):
    """A test with a clock for certificates."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()

    def now(self) -> datetime.datetime:
        """Return the time: at first that at which certificates are made."""
        return NOW + datetime.timedelta(seconds=self.clock.seconds())

    def warnings(self) -> list[str]:
        """Return the warnings logged since the last call."""
        found = [formatEvent(e) for e in self.events if e["log_level"] is LogLevel.warn]
        self.events.clear()
        return found

    def fault(self, issued: Issued, *more: Issued, **rules: Any) -> CertificateError:
        """Return the error of a certificate with further ones in its chain."""
        cert, key = self.files(issued)
        cert.write_bytes(b"".join(each.cert for each in (issued, *more)))
        with self.assertRaises(CertificateError) as caught:
            Certificates.from_files(str(cert), str(key), **rules)
        return caught.exception

    def watched(self, certificates: Certificates) -> CertificateWatch:
        watch = CertificateWatch([certificates], self.clock)
        watch.startService()
        self.addCleanup(watch.stopService)
        return watch


class StartTests(ValidityCase):
    """What may be used at the start."""

    def test_expired(self) -> None:
        """A certificate that has expired is an error with the date and the file."""
        expired = Issued("a.example", days=-1)
        error = self.fault(expired)
        self.assertEqual(error.what, "cert")
        self.assertTrue(error.path.endswith("cert.pem"))
        ended = f"{NOW - DAY:%Y-%m-%d}"
        self.assertRegex(str(error), f"^expired on {ended} .* UTC; renew it, or .*--allow-expired")
        for pair in (self.one(expired, allow_expired=True).pairs.values(),):
            with self.assertRaises(CertificateError) as caught:
                Certificates.from_pair(next(iter(pair)), "vault")
        self.assertEqual((caught.exception.what, caught.exception.path), ("cert", "vault"))

    def test_not_valid_yet(self) -> None:
        """So is one that is not valid yet."""
        error = self.fault(Issued("a.example", since=1))
        tomorrow = f"{NOW + DAY:%Y-%m-%d}"
        self.assertRegex(str(error), f"^is not valid before {tomorrow} .* UTC; is the clock right")

    def test_allowed(self) -> None:
        """Both can be allowed. The one that has expired is warned of."""
        for issued in (Issued("a.example", days=-1), Issued("a.example", since=1)):
            self.assertEqual(self.shown(self.one(issued, allow_expired=True)), issued.serial)
        self.assertEqual(len(self.warnings()), 1)

    def test_in_the_chain(self) -> None:
        """An expired intermediate certificate is named; an expired root is of no account."""
        root = Issued("root", days=-1)
        intermediate = Issued("between", days=-1, issuer=root)
        leaf = Issued("a.example", issuer=intermediate)
        self.assertRegex(str(self.fault(leaf, intermediate, root)), "^'between' expired on ")
        leaf = Issued("a.example", issuer=root)
        cert, key = self.files(leaf)
        cert.write_bytes(leaf.cert + root.cert)
        Certificates.from_files(str(cert), str(key))
        self.assertEqual(self.warnings(), [])

    def test_in_a_directory(self) -> None:
        """An expired one among several is passed over with a line; alone it is an error."""
        directory = self.directory()
        Issued("old.example", days=-1).write(directory / "old.pem")
        with self.assertRaisesRegex(CertificateError, "no usable certificate: .*old.pem: expired"):
            Certificates.from_directory(str(directory))
        self.lines()
        good = Issued("good.example")
        good.write(directory / "good.pem")
        certificates = Certificates.from_directory(str(directory))
        (line,) = self.lines()
        self.assertRegex(line, "^Certificate old is passed over: .*old.pem: expired on")
        self.assertEqual(self.shown(certificates, "old.example"), good.serial)

    def test_client_ca(self) -> None:
        """An expired CA is an error, unless the file has another that is valid."""
        old, new = Issued("old CA", days=-1), Issued("new CA")
        ca = self.directory() / "ca.pem"
        ca.write_bytes(old.cert)
        error = self.fault(Issued("a.example"), client_ca=str(ca))
        self.assertEqual(error.what, "client-ca")
        self.assertRegex(str(error), "^'old CA' expired on ")
        ca.write_bytes(old.cert + new.cert)
        Visitor(self.one(client_ca=str(ca)), identity=new).shake_hands()
        (warning,) = self.warnings()
        self.assertRegex(warning, "^Client CA 'old CA' expired on ")


class WarningTests(ValidityCase):
    """What is said while a server runs."""

    def test_from_two_weeks_before(self) -> None:
        """There is one warning a day from 14 days before the end, and one at the end."""
        self.watched(self.one(Issued("a.example", days=16.5), now=self.now))
        said = []
        for _ in range(19 * 24):
            self.clock.advance(DAY_SECONDS / 24)
            said += self.warnings()
        ends = [line for line in said if "expired on" in line]
        self.assertEqual(len(said) - len(ends), 14)
        self.assertRegex(said[0], "^Certificate cert.pem expires in 13 days, on .* UTC: renew it")
        self.assertIn("expires in 0 days", said[13])
        self.assertEqual(said[14:], ends)
        self.assertRegex(ends[0], "^Certificate cert.pem expired on .* UTC: it is refused; renew")
        self.assertEqual(len(ends), 3)  # at the end, and one for each of the two days after it

    def test_at_the_start(self) -> None:
        """The first warning comes at the start, also without a watch."""
        self.one(Issued("a.example", days=3))
        self.assertEqual(len(self.warnings()), 1)
        self.one(Issued("a.example", days=15))
        self.assertEqual(self.warnings(), [])

    def test_the_chain_and_the_client_ca(self) -> None:
        """The warnings are of intermediate certificates and client CAs too."""
        root = Issued("root")
        intermediate = Issued("between", days=5, issuer=root)
        leaf = Issued("a.example", issuer=intermediate)
        cert, key = self.files(leaf)
        cert.write_bytes(leaf.cert + intermediate.cert)
        ca = self.directory() / "ca.pem"
        ca.write_bytes(Issued("clients", days=6).cert)
        Certificates.from_files(str(cert), str(key), client_ca=str(ca))
        chain, clients = self.warnings()
        self.assertRegex(chain, "^'between' in the chain of certificate cert.pem expires in")
        self.assertRegex(clients, "^Client CA 'clients' expires in")

    def test_after_a_reload(self) -> None:
        """A renewed certificate is not warned of; a new one that soon expires is, at once."""
        cert, key = self.files(Issued("a.example", days=3))
        certificates = Certificates.from_files(str(cert), str(key), now=self.now)
        self.watched(certificates)
        self.warnings()
        self.files(Issued("a.example"), cert.parent)
        self.assertTrue(certificates.reload())
        self.clock.pump([3600] * 30)
        self.assertEqual(self.warnings(), [])
        self.files(Issued("a.example", days=5), cert.parent)
        self.assertTrue(certificates.reload())
        self.assertEqual(len(self.warnings()), 1)
        self.assertFalse(certificates.reload())
        self.assertEqual(self.warnings(), [])

    def test_the_clock_is_set_back(self) -> None:
        """A clock that was a year ahead does not silence the warnings."""
        now = [NOW]
        certificates = self.one(Issued("a.example", days=3), now=lambda: now[0])
        self.warnings()
        for at, expected in ((NOW, 0), (NOW + DAY, 1), (NOW - DAY, 1)):
            now[0] = at
            certificates.warn_of_expiry()
            self.assertEqual(len(self.warnings()), expected)

    def test_the_watch_is_stopped(self) -> None:
        """Nothing is left of it."""
        watch = self.watched(self.one(now=self.now))
        watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        watch.startService()


class RenewalTests(ValidityCase):
    """Files that are replaced by ones that are not valid."""

    def renewing(self) -> tuple[Path, Issued, Certificates]:
        issued = Issued("a.example")
        cert, key = self.files(issued)
        return cert.parent, issued, Certificates.from_files(str(cert), str(key), now=self.now)

    def test_an_expired_one(self) -> None:
        """The old one stays in use."""
        directory, old, certificates = self.renewing()
        self.files(Issued("a.example", days=-1), directory)
        self.assertFalse(certificates.reload())
        self.assertRegex(self.lines()[0], "^Certificate cert.pem stays as it was: .*: expired on")
        self.assertEqual(self.shown(certificates), old.serial)

    def test_not_valid_yet(self) -> None:
        """It is used as soon as it is valid, although the file does not change any more."""
        directory, old, certificates = self.renewing()
        self.watched(certificates)
        new = Issued("a.example", since=1)
        self.files(new, directory)
        self.clock.pump([5] * 20)
        self.assertEqual(len(self.lines()), 1)
        self.assertEqual(self.shown(certificates), old.serial)
        self.clock.advance(DAY_SECONDS)
        self.assertEqual(self.shown(certificates), new.serial)

    def test_expired_meanwhile(self) -> None:
        """One that expires while it is used stays, also when everything is read again."""
        _, old, certificates = self.renewing()
        self.clock.advance(31 * DAY_SECONDS)
        self.assertFalse(certificates.reload())
        self.assertEqual(self.shown(certificates), old.serial)

    def test_the_client_ca(self) -> None:
        """An expired client CA stays, and does not keep the certificate from being renewed."""
        ca = self.directory() / "ca.pem"
        ann = Issued("ann", days=5)
        ca.write_bytes(ann.cert)
        cert, key = self.files(Issued("a.example", days=5))
        certificates = Certificates.from_files(str(cert), str(key), client_ca=str(ca), now=self.now)
        self.clock.advance(6 * DAY_SECONDS)
        new = Issued("a.example")
        self.files(new, cert.parent)
        self.assertTrue(certificates.reload())
        self.assertRegex(self.lines()[0], "^The --client-ca stays as it was: .*: 'ann' expired on")
        self.assertEqual(Visitor(certificates, identity=ann).shake_hands().saw, new.serial)
