"""The endpoint string ``nettls:`` of :mod:`twisted_net.endpoints.strings`."""

from __future__ import annotations

from pathlib import Path

from tests.endpoints.test_strings import EndpointCase
from tests.tls.handshakes import Issued
from twisted_net.connection.guard import GuardFactory
from twisted_net.endpoints.tls import TLSServerFactory


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
        ):
            self.assertIn(error, self.error(f"nettls:1:{files}".rstrip(":")))
