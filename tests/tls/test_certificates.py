"""Tests for :mod:`twisted_net.tls.certificates`: selection by name, and reloading."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.tls.handshakes import Issued, Visitor
from twisted_net.tls.certificate_watch import (
    LOOK_EVERY,
    ROTATE_TICKETS_EVERY,
    CertificateWatch,
)
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.key_pairs import CertificateError


class CertificatesCase(SynchronousTestCase):
    """A test with files, and with the log lines about them."""

    def setUp(self) -> None:
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def directory(self) -> Path:
        path = Path(self.mktemp())
        path.mkdir()
        return path

    def lines(self) -> list[str]:
        """Return the errors logged since the last call."""
        found = [
            event["line"]
            for event in self.events
            if event["log_level"] is LogLevel.error and "line" in event
        ]
        self.events.clear()
        return found

    def announced(self) -> list[str]:
        """Return the fingerprints logged since the last call."""
        found = [event["fingerprint"] for event in self.events if "fingerprint" in event]
        self.events.clear()
        return found

    def files(self, issued: Issued, directory: Path | None = None) -> tuple[Path, Path]:
        directory = directory or self.directory()
        issued.write(directory / "cert.pem", directory / "key.pem")
        return directory / "cert.pem", directory / "key.pem"

    def one(self, issued: Issued | None = None, **rules: Any) -> Certificates:
        """Return a server's certificates with one certificate."""
        cert, key = self.files(issued or Issued("chat.example"))
        return Certificates.from_files(str(cert), str(key), **rules)

    def many(self, **issued: Issued) -> tuple[Path, Certificates]:
        """Return a directory and its certificates: ``a_example`` stands for ``a.example``."""
        directory = self.directory()
        for name, each in issued.items():
            each.write(directory / (name.replace("_", ".") + ".pem"))
        return directory, Certificates.from_directory(str(directory))

    def shown(self, certificates: Certificates, name: str = "") -> int:
        """Return the serial number of the certificate that a new client gets."""
        return Visitor(certificates, name).shake_hands().saw


class NamesTests(CertificatesCase):
    def test_by_name(self) -> None:
        """Each client gets the certificate for the name that it asks for, in any case."""
        a, b = Issued("a.example", "www.a.example"), Issued("b.example")
        _, certificates = self.many(a=a, b=b)
        for name in ("a.example", "www.a.example", "A.Example"):
            self.assertEqual(self.shown(certificates, name), a.serial)
        self.assertEqual(self.shown(certificates, "b.example"), b.serial)

    def test_wildcards(self) -> None:
        """A wildcard matches one label, if no certificate has the name itself (RFC 9525, 6.3)."""
        wild, exact, other = Issued("*.a.example"), Issued("x.a.example"), Issued("b.example")
        _, certificates = self.many(default=other, wild=wild, exact=exact)
        self.assertEqual(self.shown(certificates, "y.a.example"), wild.serial)
        self.assertEqual(self.shown(certificates, "x.a.example"), exact.serial)
        for name in ("a.example", "z.y.a.example"):
            self.assertEqual(self.shown(certificates, name), other.serial)

    def test_the_default(self) -> None:
        """For an unknown or no name, the one called default is used, otherwise the first by
        name."""
        a, b = Issued("a.example"), Issued("b.example")
        for named, default in (({"a": a, "b": b}, a), ({"a": a, "default": b}, b)):
            _, certificates = self.many(**named)
            for name in ("", "c.example", "example", "."):
                self.assertEqual(self.shown(certificates, name), default.serial)

    def test_several_with_a_name(self) -> None:
        """Among several, the one that expires last is used: an old one may still be there."""
        old, new = Issued("a.example", days=3), Issued("a.example", days=30)
        for named in ({"a": old, "b": new}, {"a": new, "b": old}):
            _, certificates = self.many(**named)
            self.assertEqual(self.shown(certificates, "a.example"), new.serial)

    def test_a_certificate_for_no_host(self) -> None:
        """A certificate without host names can still be the default."""
        nobody, a = Issued(), Issued("a.example")
        _, certificates = self.many(a=a, default=nobody)
        self.assertEqual(self.shown(certificates, "a.example"), a.serial)
        self.assertEqual(self.shown(certificates, "nobody"), nobody.serial)

    def test_unknown_names_cost_nothing(self) -> None:
        """Unknown names cause no file access."""
        _, certificates = self.many(a=Issued("a.example"), b=Issued("b.example"))
        self.patch(certificates.source, "find", lambda: self.fail("looked"))
        for number in range(20):
            self.shown(certificates, f"{number}.example")

    def test_one_certificate_is_for_all(self) -> None:
        """A single certificate is used for every name."""
        issued = Issued("a.example")
        self.assertEqual(self.shown(self.one(issued), "b.example"), issued.serial)


class DirectoryTests(CertificatesCase):
    def test_layouts(self) -> None:
        """One directory may mix certbot's layout, pairs side by side, and both in one file."""
        directory = self.directory()
        made = {name: Issued(f"{name}.example") for name in ("bot", "crt", "pem", "cert", "both")}
        made["bot"].write(directory / "bot" / "fullchain.pem", directory / "bot" / "privkey.pem")
        for suffix in ("crt", "pem", "cert"):
            made[suffix].write(directory / f"{suffix}.{suffix}", directory / f"{suffix}.key")
        made["both"].write(directory / "both.pem")
        (directory / "README").write_text("see also: certbot")
        (directory / ".hidden.pem").write_text("nothing")
        (directory / "empty").mkdir()
        certificates = Certificates.from_directory(str(directory))
        for name, issued in made.items():
            self.assertEqual(self.shown(certificates, f"{name}.example"), issued.serial)
        self.assertEqual(self.lines(), [])

    def test_a_directory_of_certbots(self) -> None:
        """The certbot directory of a single name works, with all of its files."""
        directory, issued = self.directory(), Issued("a.example")
        issued.write(directory / "fullchain.pem", directory / "privkey.pem")
        for name in ("cert.pem", "chain.pem"):
            (directory / name).write_bytes(issued.cert)
        (directory / "README").write_text("This directory contains your keys and certificates.")
        certificates = Certificates.from_directory(str(directory))
        self.assertEqual(self.shown(certificates, "b.example"), issued.serial)
        self.assertEqual(self.lines(), [])

    def test_nothing_that_can_be_used(self) -> None:
        """A source without usable certificates raises an error with the reason."""
        directory = self.directory()
        path = str(directory.absolute())
        for made, why in (
            (None, "has no usable certificate"),
            ("a.pem", "a.pem: has no certificate in PEM form"),
            ("b.key", "b.crt: No such file"),
        ):
            if made is not None:
                (directory / made).write_text("nothing")
            with self.assertRaises(CertificateError) as caught:
                Certificates.from_directory(path)
            self.assertEqual((caught.exception.what, caught.exception.path), ("tls-dir", path))
            self.assertIn(why, str(caught.exception))
            if made is not None:
                (directory / made).unlink()
        for missing in (str(directory / "missing"), __file__):
            with self.assertRaises(CertificateError) as caught:
                Certificates.from_directory(missing)
            self.assertEqual(caught.exception.what, "tls-dir")

    def test_unusable_beside_usable(self) -> None:
        """Unusable certificates are skipped with one log line, until an explicit reload."""
        directory, a = self.directory(), Issued("a.example")
        a.write(directory / "a.pem")
        (directory / "b.pem").write_bytes(Issued("b.example").cert)
        Issued("c.example").write(directory / "c.crt", directory / "c.key")
        (directory / "c.key").write_bytes(a.key)
        (directory / "d.crt").write_bytes(a.cert)
        certificates = Certificates.from_directory(str(directory))
        self.assertEqual(self.shown(certificates, "b.example"), a.serial)
        told = self.lines()
        self.assertEqual(len(told), 3)
        self.assertRegex(told[0], r"Certificate b is passed over: .*b\.pem: has no private key")
        self.assertRegex(told[1], r"Certificate c is passed over: .*c\.key: does not belong to .*")
        self.assertRegex(told[2], r"Certificate d is passed over: .*d\.key: No such file")
        Issued("e.example").write(directory / "e.pem")
        certificates.look()
        self.assertTrue(certificates.look())
        self.assertEqual(self.lines(), [])
        certificates.reload()
        self.assertEqual(self.lines(), told)


class ReloadTests(CertificatesCase):
    def renewing(self, name: str = "a.example") -> tuple[Path, Issued, Certificates]:
        """Return a server's certificates with one that can be renewed."""
        issued = Issued(name)
        cert, key = self.files(issued)
        return cert.parent, issued, Certificates.from_files(str(cert), str(key))

    def test_a_new_one(self) -> None:
        """New connections get the new certificate; existing ones keep the old one."""
        directory, old, certificates = self.renewing()
        talking = Visitor(certificates).shake_hands()
        greeting = Visitor(certificates)
        new = Issued("a.example")
        self.files(new, directory)
        self.events.clear()
        self.assertTrue(certificates.reload())
        fingerprint = next(iter(certificates.pairs.values())).fingerprint
        self.assertEqual(self.announced(), [fingerprint])
        self.assertEqual(self.shown(certificates), new.serial)
        self.assertEqual(greeting.shake_hands().saw, old.serial)
        self.assertEqual(talking.says(b"still here"), b"still here")

    def test_nothing_new(self) -> None:
        """Without changes, everything stays, including session tickets."""
        _, _, certificates = self.renewing()
        visitor = Visitor(certificates).shake_hands()
        self.assertFalse(certificates.reload())
        again = Visitor(certificates, context=visitor.context, session=visitor.client.get_session())
        self.assertTrue(again.shake_hands().resumed)

    def test_a_broken_one(self) -> None:
        """A broken file changes nothing; one line names the file and the reason."""
        directory, old, certificates = self.renewing()
        cert, key = directory / "cert.pem", directory / "key.pem"
        for file, data, why in (
            (cert, b"", "has no certificate"),
            (cert, Issued("a.example").cert, "does not belong"),
            (key, b"noise", "has no private key"),
            (key, None, "No such file"),
            (cert, old.cert[:200], "has no certificate"),
        ):
            self.files(old, directory)
            file.unlink()
            if data is not None:
                file.write_bytes(data)
            self.assertFalse(certificates.reload())
            at_fault = key if why == "does not belong" else file
            (line,) = self.lines()
            self.assertIn(f"{at_fault}: {why}", line)
            self.assertIn("stays as it was", line)
            self.assertEqual(self.shown(certificates), old.serial)

    def test_one_of_many_is_broken(self) -> None:
        """A broken certificate stays as it was; the others are reloaded."""
        a, b = Issued("a.example"), Issued("b.example")
        directory, certificates = self.many(a=a, b=b)
        (directory / "a.pem").write_text("oops")
        renewed = Issued("b.example")
        renewed.write(directory / "b.pem")
        self.assertTrue(certificates.reload())
        self.assertEqual(len(self.lines()), 1)
        self.assertEqual(self.shown(certificates, "a.example"), a.serial)
        self.assertEqual(self.shown(certificates, "b.example"), renewed.serial)
        self.assertFalse(certificates.reload())
        self.assertEqual(self.shown(certificates, "a.example"), a.serial)

    def test_one_comes_and_one_goes(self) -> None:
        """A directory's certificates follow its files."""
        a, b, c = Issued("a.example"), Issued("b.example"), Issued("c.example")
        directory, certificates = self.many(a=a, b=b)
        (directory / "b.pem").unlink()
        c.write(directory / "c.pem")
        self.assertTrue(certificates.reload())
        self.assertEqual(self.shown(certificates, "b.example"), a.serial)
        self.assertEqual(self.shown(certificates, "c.example"), c.serial)
        self.assertIn("b", [event.get("name") for event in self.events])

    def test_all_are_gone(self) -> None:
        """If all files are gone, the last certificates stay."""
        a, b = Issued("a.example"), Issued("b.example")
        directory, certificates = self.many(a=a, b=b)
        for file in directory.iterdir():
            file.unlink()
        self.assertFalse(certificates.reload())
        (line,) = self.lines()
        self.assertIn("has no usable certificate", line)
        directory.rmdir()
        self.assertFalse(certificates.reload())
        self.assertIn("No such file", self.lines()[0])
        self.assertEqual(self.shown(certificates, "b.example"), b.serial)

    def test_a_second_hello_after_a_reload(self) -> None:
        """A client that must send a second ClientHello after a reload completes its handshake."""
        a, b = Issued("a.example"), Issued("b.example")
        directory, certificates = self.many(a=a, b=b)
        visitor = Visitor(certificates, "b.example")
        # A group that the server does not support, and then one that it supports.
        groups = SSL._lib.SSL_set1_curves_list  # type: ignore[attr-defined]
        self.assertEqual(groups(visitor.client._ssl, b"brainpoolP256r1tls13:X25519"), 1)
        for _ in range(2):
            for side in (visitor.client, visitor.server):
                with self.assertRaises(SSL.WantReadError):
                    side.do_handshake()
                visitor.carry()
            for name in ("a", "b"):
                Issued(f"{name}.example").write(directory / f"{name}.pem")
            self.assertTrue(certificates.reload())
            gc.collect()
        self.assertEqual(visitor.shake_hands().saw, b.serial)

    def test_the_clients_authority(self) -> None:
        """The client CA is reloaded too; a broken file changes nothing."""
        ann, bob = Issued("ann@example.org"), Issued("bob@example.org")
        ca = self.directory() / "ca.pem"
        ca.write_bytes(ann.cert)
        certificates = self.one(client_ca=str(ca))
        ca.write_bytes(bob.cert)
        self.assertTrue(certificates.reload())
        Visitor(certificates, identity=bob).shake_hands()
        with self.assertRaises(SSL.Error):
            Visitor(certificates, identity=ann).shake_hands()
        ca.write_text("nobody")
        self.assertFalse(certificates.reload())
        self.assertIn("ca.pem: has no certificate", self.lines()[0])
        Visitor(certificates, identity=bob).shake_hands()


class WatchTests(CertificatesCase):
    def watched(self, **issued: Issued) -> tuple[Path, Certificates]:
        directory, certificates = self.many(**issued)
        self.clock = Clock()
        self.watch = CertificateWatch([certificates], self.clock)
        self.watch.startService()
        self.events.clear()
        return directory, certificates

    def looks(self, times: int = 1) -> None:
        self.clock.pump([LOOK_EVERY] * times)

    def test_a_file_is_replaced(self) -> None:
        """A replaced file takes effect at the second check."""
        directory, certificates = self.watched(a=Issued("a.example"))
        self.looks(3)
        new = Issued("a.example")
        new.write(directory / "new")
        os.replace(directory / "new", directory / "a.pem")
        self.looks(2)
        self.assertEqual(self.shown(certificates), new.serial)
        self.assertEqual(len(self.announced()), 1)

    def test_certbot(self) -> None:
        """While certbot switches one link after another, no error is logged."""
        live, archive = self.directory(), self.directory()
        names = ("fullchain", "privkey")
        made = [Issued("a.example") for _ in range(2)]
        for number, issued in enumerate(made):
            cert, key = (archive / f"{name}{number}.pem" for name in names)
            issued.write(cert, key)
        (live / "a.example").mkdir()

        def switch(name: str, number: int) -> None:
            link = live / "a.example" / f"{name}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to((archive / f"{name}{number}.pem").absolute())

        for name in names:
            switch(name, 0)
        certificates = Certificates.from_directory(str(live))
        self.clock = Clock()
        CertificateWatch([certificates], self.clock).startService()
        self.looks(2)
        for name in names:
            switch(name, 1)
            self.looks()
            self.assertEqual(self.shown(certificates), made[0].serial)
        self.looks()
        self.assertEqual(self.shown(certificates), made[1].serial)
        self.assertEqual(self.lines(), [])

    def test_a_broken_one_is_told_once(self) -> None:
        """A broken file is logged once, and used after it is repaired."""
        directory, certificates = self.watched(a=Issued("a.example"))
        (directory / "a.pem").write_text("oops")
        self.looks(10)
        self.assertEqual(len(self.lines()), 1)
        mended = Issued("a.example")
        mended.write(directory / "a.pem")
        self.looks(2)
        self.assertEqual(self.shown(certificates), mended.serial)
        (directory / "a.pem").write_text("oops, again")
        self.looks(10)
        self.assertEqual(len(self.lines()), 1)

    def fail_reads(self, error: BaseException, *, of: str = "") -> list[Any]:
        """Let every read of a file fail whose path contains ``of``, until the result is empty."""
        errors: list[Any] = [error]
        read, listed = Path.read_bytes, os.listdir

        def read_bytes(path: Path) -> bytes:
            if errors and of in str(path):
                raise errors[0]
            return read(path)

        def listdir(path: str) -> list[str]:
            if errors and not of:
                raise errors[0]
            return listed(path)

        self.patch(Path, "read_bytes", read_bytes)
        self.patch(os, "listdir", listdir)
        return errors

    def test_a_passing_error(self) -> None:
        """A renewal that could not be read, for example without free descriptors, is read later."""
        for code in (errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.ESTALE):
            for of in ("a.pem", ""):
                directory, certificates = self.watched(a=Issued("a.example"))
                new = Issued("a.example")
                new.write(directory / "a.pem")
                errors = self.fail_reads(OSError(code, os.strerror(code)), of=of)
                self.looks(10)
                (line,) = self.lines()
                self.assertIn(os.strerror(code), line)
                errors.clear()
                self.looks(2)
                self.assertEqual(self.shown(certificates), new.serial)
                self.assertEqual(len(self.announced()), 1)
                self.patch(certificates.source, "load", lambda place: self.fail("read"))
                self.looks(10)

    def test_a_passing_error_at_the_listing(self) -> None:
        """It may also come between the look at the files and their reading."""
        directory, certificates = self.watched(a=Issued("a.example"))
        new = Issued("a.example")
        new.write(directory / "a.pem")
        self.looks()
        find, calls = certificates.source.find, [0]

        def third_fails() -> Any:  # the two before look at the files
            calls[0] += 1
            if calls[0] == 3:
                raise CertificateError("tls-dir", "d", "Too many open files", passing=True)
            return find()

        self.patch(certificates.source, "find", third_fails)
        self.looks()
        self.assertEqual(len(self.lines()), 1)
        self.looks()
        self.assertEqual(self.shown(certificates), new.serial)

    def test_a_passing_error_on_sighup(self) -> None:
        """A reload on request that could not read is made up for by the watch."""
        directory, certificates = self.watched(a=Issued("a.example"))
        new = Issued("a.example")
        new.write(directory / "a.pem")
        errors = self.fail_reads(OSError(errno.EMFILE, "Too many open files"), of="a.pem")
        self.assertFalse(certificates.reload())
        errors.clear()
        self.looks(2)
        self.assertEqual(self.shown(certificates), new.serial)

    def test_a_passing_error_at_the_start(self) -> None:
        """A certificate that was passed over at the start is read later."""
        directory = self.directory()
        for name in ("a", "b"):
            Issued(f"{name}.example").write(directory / f"{name}.pem")
        errors = self.fail_reads(OSError(errno.EMFILE, "Too many open files"), of="b.pem")
        certificates = Certificates.from_directory(str(directory))
        self.assertEqual(len(certificates.pairs), 1)
        errors.clear()
        certificates.look()
        self.assertEqual(len(certificates.pairs), 2)

    def test_a_passing_error_of_the_client_ca(self) -> None:
        """The same is true of the certificates of the clients' authorities."""
        ca = self.directory() / "ca.pem"
        Issued("ca").write(ca)
        certificates = self.one(client_ca=str(ca))
        Issued("ca").write(ca)
        errors = self.fail_reads(OSError(errno.EMFILE, "Too many open files"), of="ca.pem")
        for _ in range(4):
            self.assertFalse(certificates.look())
        errors.clear()
        self.assertTrue(certificates.look())
        self.assertFalse(certificates.look())

    def test_an_unexpected_error_passes(self) -> None:
        """After an error that nobody foresaw, everything is read again."""
        directory, certificates = self.watched(a=Issued("a.example"))
        new = Issued("a.example")
        new.write(directory / "a.pem")
        errors = self.fail_reads(MemoryError(), of="a.pem")
        self.looks(2)
        errors.clear()
        self.looks(1)
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
        self.assertEqual(self.shown(certificates), new.serial)

    def test_a_lasting_error(self) -> None:
        """A file that may not be read is tried again only when something has changed."""
        directory, certificates = self.watched(a=Issued("a.example"))
        (directory / "a.pem").touch()
        self.fail_reads(PermissionError(errno.EACCES, "Permission denied"), of="a.pem")
        self.looks(2)
        self.assertEqual(len(self.lines()), 1)
        self.patch(certificates.source, "load", lambda place: self.fail("read"))
        self.looks(10)

    def test_quiet(self) -> None:
        """Without changes, no file is read."""
        _, certificates = self.watched(a=Issued("a.example"))
        self.patch(certificates.source, "load", lambda place: self.fail("read"))
        self.looks(100)
        self.assertEqual(self.events, [])

    def test_a_failure_does_not_end_it(self) -> None:
        """After an error, the next check still happens."""
        _, certificates = self.watched(a=Issued("a.example"))
        find = certificates.source.find
        self.patch(certificates.source, "find", lambda: 1 / 0)
        self.looks(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.patch(certificates.source, "find", find)
        self.looks(2)

    def test_it_stops(self) -> None:
        """It stops with its service, and may start again."""
        self.watched(a=Issued("a.example"))
        self.watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.watch.startService()
        self.watch.stopService()
        self.watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_tickets(self) -> None:
        """Ticket keys rotate: an older ticket leads to a full handshake."""
        _, certificates = self.watched(a=Issued("a.example"), b=Issued("b.example"))
        visitor = Visitor(certificates, "b.example").shake_hands()
        session = visitor.client.get_session()
        resumed = []
        for wait in (ROTATE_TICKETS_EVERY - 1, 1):
            self.clock.advance(wait)
            again = Visitor(certificates, "b.example", context=visitor.context, session=session)
            resumed.append(again.shake_hands().resumed)
        self.assertEqual(resumed, [True, False])
        self.assertEqual(visitor.says(b"still here"), b"still here")


class OtherSourcesTests(CertificatesCase):
    def test_two_files(self) -> None:
        """An error names the file."""
        cert, key = self.files(Issued("a.example"))
        for paths, what in (((cert, cert), "key"), ((key, key), "cert")):
            with self.assertRaises(CertificateError) as caught:
                Certificates.from_files(*map(str, paths))
            self.assertEqual(caught.exception.what, what)
        with self.assertRaises(CertificateError) as caught:
            Certificates.from_files(str(cert), str(key), client_ca=str(key))
        self.assertEqual(caught.exception.what, "client-ca")
        self.assertTrue(Certificates.from_files(str(cert), str(key)).from_disk)

    def test_a_passphrase_that_cannot_be_had(self) -> None:
        """A function that fails is an error with its reason; a renewal is tried again later."""
        issued = Issued("a.example")
        cert, key = self.files(issued)
        key.write_bytes(issued.encrypted_key(b"s3cret"))
        answers: list[Any] = []

        def ask() -> Any:
            answer = answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer

        for answer, why in (
            (OSError("the vault is\nsealed"), "its passphrase cannot be had: the vault is sealed"),
            (KeyError(), "its passphrase cannot be had: KeyError"),
            (42, "its passphrase cannot be had: a passphrase must be str or bytes, not int"),
            ("", "is encrypted: its passphrase is missing"),
            (None, "is encrypted: its passphrase is missing"),
            ("other", "is encrypted with another passphrase"),
        ):
            answers[:] = [answer]
            with self.assertRaisesRegex(CertificateError, f"{why}$"):
                Certificates.from_files(str(cert), str(key), passphrase=ask)
        answers[:] = ["s3cret"]
        certificates = Certificates.from_files(str(cert), str(key), passphrase=ask)
        new = Issued("a.example")
        cert.write_bytes(new.cert)
        key.write_bytes(new.encrypted_key(b"s3cret"))
        answers[:] = [OSError("sealed")]
        self.lines()
        for _ in range(3):
            self.assertFalse(certificates.look())
        self.assertEqual(len(self.lines()), 1)
        self.assertEqual(self.shown(certificates), issued.serial)
        answers[:] = ["s3cret"]
        self.assertTrue(certificates.look())
        self.assertEqual(self.shown(certificates), new.serial)

    def test_a_passphrase_for_several(self) -> None:
        """In a directory, the passphrase opens those keys that are encrypted."""
        a, b = Issued("a.example"), Issued("b.example")
        directory = self.directory()
        a.write(directory / "a.crt", directory / "a.key")
        (directory / "b.crt").write_bytes(b.cert)
        (directory / "b.key").write_bytes(b.encrypted_key(b"s3cret"))
        certificates = Certificates.from_directory(str(directory), passphrase="s3cret")
        for name, issued in (("a.example", a), ("b.example", b)):
            self.assertEqual(self.shown(certificates, name), issued.serial)
        self.assertEqual(self.lines(), [])

    def test_no_file(self) -> None:
        """A certificate that was made for this run is not reloaded."""
        pair = next(iter(self.one(Issued("a.example")).pairs.values()))
        certificates = Certificates.from_pair(pair, "self-signed")
        self.assertFalse(certificates.from_disk)
        self.assertEqual(self.shown(certificates), pair.chain[0].serial_number)
        for _ in range(3):
            self.assertFalse(certificates.look())
        self.assertFalse(certificates.reload())
        self.assertEqual(self.lines(), [])
