"""The keywords of :func:`connect` about TLS, with servers of our own in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.logger import capturedLogs, formatEvent, globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.iosim import IOPump

from tests.endpoints.test_client import Client, ClientCase
from tests.tls.handshakes import NOW, Issued
from twisted_net.chat.client.client import ChatClient
from twisted_net.echo import EchoFactory
from twisted_net.endpoints.client import ReconnectingClient, connect
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.key_pairs import peer_subject, self_signed_pair
from twisted_net.tls.sessions import TLSSessions, session_reused

WHERE = ("chat.example", 7000)


class TLSKeywordsCase(ClientCase):
    """A client, and a server whose certificate is signed by itself."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.issued = Issued("chat.example")
        self.certificates = Certificates.from_pem(self.issued.cert, self.issued.key)

    def path(self, name: str, *data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(b"".join(data))
        return str(path)

    def serve(self, certificates: Certificates | None = None) -> IOPump:
        """Accept the latest attempt.

        :ivar server_side: the server's protocol.
        """
        echo = EchoFactory(clock=self.reactor)
        creator = certificates or self.certificates
        factory = TLSMemoryBIOFactory(creator, False, echo, self.reactor)
        self.server_side: Any = factory.buildProtocol(None)
        pump = self.accept(server=self.server_side)
        pump.flush()
        return pump

    def attempt(self, **how: Any) -> Any:
        how.setdefault("ca", self.issued.cert)
        return connect(self.reactor, WHERE, Client, tls=True, **how)

    def connected(self, certificates: Certificates | None = None, **how: Any) -> Any:
        """Connect, and return the connection and what carries its data."""
        attempt = self.attempt(**how)
        pump = self.serve(certificates)
        return self.successResultOf(attempt), pump

    def refusal(self, **how: Any) -> str:
        """Return the error before anything is tried."""
        tried = len(self.reactor.tcpClients)
        with self.assertRaises(ValueError) as caught:
            connect(self.reactor, WHERE, Client, **({"tls": True} | how))
        self.assertEqual(len(self.reactor.tcpClients), tried)
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)


class TrustTests(TLSKeywordsCase):
    """Whom a client trusts."""

    def test_ca(self) -> None:
        """A CA is a path or a PEM text, of bytes or a string, with one or more certificates."""
        other = Issued("other").cert
        path = self.path("ca.pem", other, self.issued.cert)
        for ca in (path, Path(path), self.issued.cert, self.issued.cert.decode()):
            self.connected(ca=ca)
        attempt = self.attempt(ca=other)
        self.serve()
        self.assertFailure(attempt, "CERTIFICATE", *WHERE)

    def test_renewed(self) -> None:
        """A service reads the file again when it has changed."""
        ca = self.path("ca.pem", Issued("other").cert)
        client = ReconnectingClient(self.reactor, WHERE, Client, tls=True, ca=ca)
        client.startService()
        self.addCleanup(client.stopService)
        self.serve()
        self.assertNoResult(client.whenConnected())
        self.path("ca.pem", self.issued.cert)
        self.reactor.advance(60)
        self.serve()
        self.successResultOf(client.whenConnected())

    def test_why_a_handshake_has_failed(self) -> None:
        """The hook and the log get the reason, also if a service waits for the handshake."""
        failed = []

        class Noting(Client):
            def handshake_failed(self, reason: CloseReason) -> None:
                failed.append(f"{reason.code} ({self.detail})")

        client = ReconnectingClient(self.reactor, WHERE, Noting, tls=True, ca=Issued("other").cert)
        client.startService()
        self.addCleanup(client.stopService)
        self.serve()
        why = "certificate verify failed: self-signed certificate ('chat.example')"
        self.assertEqual(failed, [f"handshake ({why})"])

    def test_why_a_certificate_is_refused(self) -> None:
        """The error has OpenSSL's reason and what it is about, in one line."""
        authority = Issued("CA")
        for issued, ca, why in (
            (Issued("chat.example", common="X\x1b[2J\n"), authority, r"self-signed .*\\x1b\[2J\\n"),
            (Issued("chat.example", issuer=authority), Issued("B"), "unable to get local issuer "),
            (Issued("chat.example", days=-1, issuer=authority), authority, "has expired .*on 20"),
            (
                Issued("chat.example", days=9, since=5, issuer=authority),
                authority,
                "not yet valid .*before 20.* UTC.; is the clock right",
            ),
        ):
            attempt = self.attempt(ca=ca.cert)
            self.serve(Certificates.from_pem(issued.cert, issued.key, allow_expired=True))
            text = str(self.assertFailure(attempt, "CERTIFICATE", *WHERE))
            self.assertRegex(text, f"certificate verify failed: .*{why}")
            self.assertTrue(text.isprintable())

    def test_the_names_of_a_certificate(self) -> None:
        """They are in the error, if it is for others; of a hundred names, the first ones."""
        names = [f"{each}.example" for each in range(100)]
        for found, why in (
            (names[:2], "'0.example', '1.example', not for chat.example"),
            (names, "'4.example' and 95 more, not for chat.example"),
            ([], "no host name, not for chat.example"),
        ):
            issued = Issued(*found)
            attempt = self.attempt(ca=issued.cert)
            self.serve(Certificates.from_pem(issued.cert, issued.key))
            text = str(self.assertFailure(attempt, "CERTIFICATE", *WHERE))
            self.assertIn("the certificate is for ", text)
            self.assertTrue(text.endswith(why), text)

    def test_the_server_hears_why(self) -> None:
        """It gets OpenSSL's alert, as without the reason here."""
        attempt = self.attempt(ca=Issued("CA").cert)
        with capturedLogs() as logs:
            self.serve().flush()
        self.assertFailure(attempt, "CERTIFICATE", *WHERE)
        ends = [formatEvent(event) or "" for event in logs]
        self.assertTrue([end for end in ends if "alert unknown ca" in end], ends)

    def test_errors(self) -> None:
        """The error names the keyword and the file."""
        old = self.path("old.pem", Issued("CA", days=-1).cert)
        for ca, line in (
            ("/nowhere", "^ca /nowhere: No such file or directory$"),
            (b"", "^ca PEM: has no certificate in PEM form$"),
            (self.path("noise", b"noise"), "^ca .*/noise: has no certificate in PEM form$"),
            (old, "^ca .*/old.pem: 'CA' expired on .* UTC"),
        ):
            self.assertRegex(self.refusal(ca=ca), line)
        self.assertEqual(
            self.refusal(ca=self.issued.cert, trust=object()), "ca: cannot be used with trust"
        )
        self.assertEqual(self.refusal(ca=old, tls=False), "ca: requires tls=True")
        for name in ("ca", "cert"):
            line = f"{name}: must be a path or a PEM text, not list"
            self.assertEqual(self.refusal(**{name: [old]}), line)
        self.assertEqual(self.refusal(sessions=True), "sessions: must be a TLSSessions, not True")


class IdentityTests(TLSKeywordsCase):
    """A client's certificate."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = Issued("ann@example.org", common="Ann")
        ca = self.path("clients.pem", self.ann.cert)
        self.demanding = Certificates.from_pem(self.issued.cert, self.issued.key, client_ca=ca)

    def test_a_certificate(self) -> None:
        """The server sees the subject, whether the certificate is in files or memory."""
        cert, key = self.path("ann.crt", self.ann.cert), self.path("ann.key", self.ann.key)
        both = self.path("ann.pem", self.ann.key, self.ann.cert)
        for identity in (
            {"cert": cert, "key": key},
            {"cert": both},
            {"cert": self.ann.cert, "key": self.ann.key},
            {"cert": self.ann.cert.decode(), "key": Path(key)},
        ):
            self.connected(self.demanding, **identity)
            self.assertEqual(peer_subject(self.server_side), "Ann")

    def test_without(self) -> None:
        """Without it, the server refuses."""
        attempt = self.attempt()
        pump = self.serve(self.demanding)
        # With TLS 1.3, the client learns it only after its own handshake (RFC 8446, 4.4.2.4).
        connection = self.successResultOf(attempt)
        pump.flush()
        self.assertIsNotNone(connection.reason)

    def test_the_chain_is_sent(self) -> None:
        """The server needs the root alone: the client sends its intermediate certificates."""
        root = Issued("root")
        middle = Issued("middle", issuer=root)
        leaf = Issued("bob@example.org", issuer=middle)
        ca = self.path("root.pem", root.cert)
        server = Certificates.from_pem(self.issued.cert, self.issued.key, client_ca=ca)
        self.connected(server, cert=leaf.cert + middle.cert, key=leaf.key)
        self.assertEqual(peer_subject(self.server_side), "bob@example.org")

    def test_a_passphrase(self) -> None:
        """A key may be encrypted; the passphrase may come from a function."""
        key = self.ann.encrypted_key(b"s3cret")
        for passphrase in ("s3cret", b"s3cret", lambda: "s3cret", lambda: b"s3cret"):
            self.connected(self.demanding, cert=self.ann.cert, key=key, passphrase=passphrase)
        line = self.refusal(cert=self.ann.cert, key=key)
        self.assertEqual(line, "key PEM: is encrypted: its passphrase is missing")
        line = self.refusal(cert=self.ann.cert, key=key, passphrase="other")
        self.assertEqual(line, "key PEM: is encrypted with another passphrase")

    def test_services(self) -> None:
        """The services that stay connected take the same keywords."""
        how: Any = {"tls": True, "ca": self.issued.cert, "cert": self.ann.cert}
        how["key"] = self.ann.key
        for client in (
            ReconnectingClient(self.reactor, WHERE, Client, **how),
            ChatClient(self.reactor, WHERE, "ann", **how),
        ):
            client.startService()
            self.addCleanup(client.stopService)
            self.serve(self.demanding)
            self.assertEqual(peer_subject(self.server_side), "Ann")

    def test_renewed(self) -> None:
        """A service uses a renewed certificate for its next connection, once both files fit."""
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        lax = Certificates.from_pem(
            self.issued.cert,
            self.issued.key,
            client_ca=self.path("both.pem", self.ann.cert, (new := Issued("Bob")).cert),
        )
        cert, key = self.path("a.crt", self.ann.cert), self.path("a.key", self.ann.key)
        client = ReconnectingClient(
            self.reactor, WHERE, Client, tls=True, ca=self.issued.cert, cert=cert, key=key
        )
        client.startService()
        self.addCleanup(client.stopService)
        seen = []
        for name, data in (("", b""), ("a.crt", new.cert), ("", b""), ("a.key", new.key)):
            if name:
                self.path(name, data)
            pump = self.serve(lax)
            seen.append(peer_subject(self.server_side))
            pump.serverIO.loseConnection()
            pump.flush()
            self.reactor.advance(60)
        self.assertEqual(seen, ["Ann", "Ann", "Ann", "Bob"])
        lines = [event["line"] for event in events if "line" in event]
        self.assertEqual(len(lines), 1)
        self.assertRegex(lines[0], "^The TLS client stays as it was: key .*a.key: does not belong")

    def test_errors(self) -> None:
        """The error names the keyword and the file, before anything is tried."""
        old = Issued("ann", days=-1)
        for how, line in (
            ({"cert": "/nowhere", "key": self.ann.key}, "^cert /nowhere: No such file"),
            ({"cert": self.ann.cert}, "^key PEM: has no private key"),
            ({"key": self.ann.key}, "^key: requires cert$"),
            ({"cert": self.ann.cert, "key": Issued("x").key}, "^key PEM: does not belong"),
            ({"cert": old.cert, "key": old.key}, "^cert PEM: expired on .* UTC"),
            ({"cert": self.ann.cert, "tls": False}, "^cert: requires tls=True$"),
        ):
            self.assertRegex(self.refusal(**how), line)


class VersionsTests(TLSKeywordsCase):
    """Application protocols, and versions of TLS."""

    def test_alpn(self) -> None:
        """The server chooses one of the protocols that the client offers."""
        server = Certificates.from_pem(self.issued.cert, self.issued.key, alpn=[b"chat/2", b"x"])
        connection, _ = self.connected(server, alpn=[b"chat/1", b"chat/2"])
        self.assertEqual(connection.transport.negotiatedProtocol, b"chat/2")

    def test_alpn_errors(self) -> None:
        """What is no list of bytes is an error, on both sides."""
        for alpn, why in (
            ("h2", r"must be a list such as \[b'h2'\], not 'h2'"),
            (b"h2", r"must be a list such as \[b'h2'\], not b'h2'"),
            (["h2"], "must be 1 to 255 bytes each, such as b'h2', not 'h2'"),
            ([b""], "must be 1 to 255 bytes each"),
            ([b"x" * 256], "must be 1 to 255 bytes each"),
        ):
            self.assertRegex(self.refusal(alpn=alpn), f"^alpn: {why}")
            with self.assertRaisesRegex(ValueError, f"^alpn: {why}"):
                Certificates.from_pair(self_signed_pair(NOW), "some", alpn=alpn)

    def test_min_tls(self) -> None:
        """A client of TLS 1.3 refuses a server that has only 1.2."""
        connection, _ = self.connected(min_tls="1.3")
        handle = connection.transport.getHandle()
        self.assertEqual(handle.get_protocol_version_name(), "TLSv1.3")
        attempt = self.attempt(min_tls="1.3")
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(self.issued.certificate)
        context.use_privatekey(self.issued.private_key)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        self.patch(self.certificates, "serverConnectionForTLS", lambda _: SSL.Connection(context))
        self.serve()
        self.assertFailure(attempt, "HANDSHAKE", *WHERE)
        for version in ("1.1", 1.3):
            line = f"min_tls: must be '1.2' or '1.3', not {version!r}"
            self.assertEqual(self.refusal(min_tls=version), line)


class ResumptionTests(TLSKeywordsCase):
    """Sessions."""

    def reused(self, sessions: TLSSessions | None, end: str = "close", **how: Any) -> bool:
        """Connect, tell whether the session was resumed, and end the connection."""
        connection, pump = self.connected(sessions=sessions, **how)
        reused = session_reused(connection.transport)
        self.assertEqual(session_reused(self.server_side), reused)
        getattr(connection, end)()
        pump.flush()
        return reused

    def test_resumed(self) -> None:
        """Connections with the same sessions resume them, however the one before has ended."""
        sessions = TLSSessions()
        for min_tls in ("1.2", "1.3"):
            for end, resumed in (
                ("close", False),
                ("abort", True),
                ("abort", True),
                ("close", True),
            ):
                self.assertEqual(self.reused(sessions, end, min_tls=min_tls), resumed)
        self.assertFalse(self.reused(TLSSessions()))
        self.assertFalse(self.reused(None))
        self.assertFalse(self.reused(None))

    def test_what_must_be_the_same(self) -> None:
        """A session is not resumed with other CAs, another certificate or other protocols: it
        would not be verified again."""
        sessions = TLSSessions()
        ann = Issued("ann")
        kinds: list[dict[str, Any]] = [
            {},
            {"ca": self.issued.cert + ann.cert},
            {"cert": ann.cert, "key": ann.key},
            {"alpn": [b"x"]},
            {"min_tls": "1.3"},
        ]
        for resumed in (False, True):
            for how in kinds:
                self.assertEqual(self.reused(sessions, **how), resumed, how)
        attempt = self.attempt(sessions=sessions, ca=ann.cert)
        self.serve()
        self.assertFailure(attempt, "CERTIFICATE", *WHERE)

    def test_after_a_handshake_that_failed(self) -> None:
        """A session whose server fails is not tried again and again."""
        sessions = TLSSessions()
        self.reused(sessions)
        attempt = self.attempt(sessions=sessions)
        self.accept().flush()  # speaks no TLS
        self.assertFailure(attempt, "HANDSHAKE", *WHERE)
        self.assertFalse(self.reused(sessions))
        self.assertTrue(self.reused(sessions))

    def test_bounded(self) -> None:
        """The oldest are dropped."""
        sessions = TLSSessions(2)
        for protocol in (b"a", b"b", b"c"):
            self.assertFalse(self.reused(sessions, alpn=[protocol]))
        self.assertEqual(len(sessions), 2)
        self.assertTrue(self.reused(sessions, alpn=[b"c"]))
        self.assertFalse(self.reused(sessions, alpn=[b"a"]))

    def test_reconnecting(self) -> None:
        """A service resumes its own session by itself, also with a server of several processes."""
        key = self.path("ticket.key", os.urandom(80))
        servers = [
            Certificates.from_pem(self.issued.cert, self.issued.key, ticket_key=key)
            for _ in range(2)
        ]
        for how, expected in (({}, True), ({"sessions": None}, False)):
            more: Any = how
            client = ReconnectingClient(
                self.reactor, WHERE, Client, tls=True, ca=self.issued.cert, **more
            )
            client.startService()
            found = []
            for server in servers * 2:
                pump = self.serve(server)
                found.append(session_reused(self.server_side))
                pump.serverIO.loseConnection()
                pump.flush()
                self.reactor.advance(60)
            self.assertEqual(found, [False, expected, expected, expected])
            client.stopService()

    def test_no_tls(self) -> None:
        """Without TLS, nothing is resumed."""
        self.assertFalse(session_reused(object()))
        attempt = connect(self.reactor, WHERE, Client, sessions=TLSSessions())
        self.accept()
        self.assertFalse(session_reused(self.successResultOf(attempt).transport))
