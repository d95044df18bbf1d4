"""Tests for :mod:`twisted_net.tls.contexts`: versions, ciphers and options."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogLevel, capturedLogs, globalLogPublisher
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from tests.tls.handshakes import NOW, Issued, Visitor
from twisted_net.connection.guard import GuardFactory
from twisted_net.eager import session_tickets
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.contexts import TLSSettings
from twisted_net.tls.key_pairs import CertificateError, peer_subject, self_signed_pair

TLS_1_2 = (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
TLS_1_3 = (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION)


def server(**rules: Any) -> Certificates:
    """Return the certificates of a server."""
    return Certificates.from_pair(self_signed_pair(NOW), "some", **rules)


class ContextsCase(SynchronousTestCase):
    def refused(self, *args: Any, **kwargs: Any) -> str:
        """Return the alert that a rejected client gets."""
        with self.assertRaises(SSL.Error) as caught:
            Visitor(*args, **kwargs).shake_hands()
        queue = caught.exception.args[0]
        self.assertTrue(queue, "the client was told nothing")
        return str(queue[-1][-1])

    def file(self, *blobs: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(b"".join(blobs))
        return str(path)


class SpokenTests(ContextsCase):
    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are allowed."""
        for versions in (TLS_1_2, TLS_1_3):
            Visitor(server(), versions=versions).shake_hands()
        for old in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION):
            self.assertIn("protocol version", self.refused(server(), versions=(old, old)))

    def test_ciphers(self) -> None:
        """Only ciphers with forward secrecy and authenticated encryption are allowed."""

        def speaks(cipher: bytes) -> str | None:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            context.set_cipher_list(cipher + b":@SECLEVEL=0")
            return Visitor(server(), context=context).shake_hands().client.get_cipher_name()

        for good in (b"ECDHE+AESGCM", b"ECDHE+CHACHA20", b"ALL"):
            self.assertRegex(str(speaks(good)), "^ECDHE-ECDSA-.*(GCM|CHACHA20)")
        for bad in (b"ECDHE+AES:!AESGCM:!AESCCM", b"kRSA", b"DHE", b"AESCCM", b"aNULL"):
            with self.assertRaises(SSL.Error):
                speaks(bad)

    def test_whoever_would_rather_have_chacha20(self) -> None:
        """A client that prefers ChaCha20 gets it; otherwise the server chooses."""
        chacha, small, large = (
            b"ECDHE-ECDSA-" + each
            for each in (b"CHACHA20-POLY1305", b"AES128-GCM-SHA256", b"AES256-GCM-SHA384")
        )
        for wanted, chosen in (((chacha, small), chacha), ((small, chacha, large), large)):
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_max_proto_version(SSL.TLS1_2_VERSION)
            context.set_cipher_list(b":".join(wanted))
            visitor = Visitor(server(), context=context).shake_hands()
            self.assertEqual(visitor.client.get_cipher_name(), chosen.decode())

    def test_groups(self) -> None:
        """Groups are fast, the hybrid first; none is costly for the server."""

        def agreed(groups: bytes) -> str | None:
            visitor = Visitor(server())
            lib = SSL._lib  # type: ignore[attr-defined]
            self.assertEqual(lib.SSL_set1_curves_list(visitor.client._ssl, groups), 1)
            return visitor.shake_hands().client.get_group_name()

        for groups, best in (
            (b"P-384:P-256:X25519", "x25519"),
            (b"P-521:P-384:P-256", "secp256r1"),
            (b"X448:P-384", "secp384r1"),
            (b"X25519:X25519MLKEM768", "X25519MLKEM768"),
        ):
            self.assertEqual(agreed(groups), best)
        for bad in (b"P-521", b"X448", b"ffdhe2048", b"ffdhe3072"):
            with self.assertRaises(SSL.Error):
                agreed(bad)

    def test_no_renegotiation(self) -> None:
        """A client that asks for renegotiation is rejected."""
        visitor = Visitor(server(), versions=TLS_1_2).shake_hands()
        visitor.client.renegotiate()
        with self.assertRaisesRegex(SSL.Error, "no renegotiation"):
            for _ in range(4):
                for side in (visitor.client, visitor.server):
                    try:
                        side.do_handshake()
                        side.recv(1)
                    except SSL.WantReadError:
                        pass
                    visitor.carry()

    def test_a_chain(self) -> None:
        """A chain with two intermediates is sent, so that a client only needs the root."""
        root = trustme.CA()
        issued = root.create_child_ca().create_child_ca().issue_cert("chat.example")
        cert = self.file(*(blob.bytes() for blob in issued.cert_chain_pems))
        key = self.file(issued.private_key_pem.bytes())
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        root.configure_trust(context)
        context.set_verify(SSL.VERIFY_PEER)
        Visitor(Certificates.from_files(cert, key), context=context).shake_hands()


class ResumptionTests(ContextsCase):
    def resumed(self, versions: tuple[int, int], **rules: Any) -> Visitor:
        """Connect, and connect again with the ticket."""
        certificates = server(**{key: rules[key] for key in rules if key != "identity"})
        first = Visitor(certificates, versions=versions, identity=rules.get("identity"))
        session = first.shake_hands().client.get_session()
        self.assertFalse(first.resumed)
        return Visitor(certificates, context=first.context, session=session).shake_hands()

    def test_resumed(self) -> None:
        """Sessions are resumed with both versions, and the server stores nothing."""
        for versions in (TLS_1_2, TLS_1_3):
            self.assertTrue(self.resumed(versions).resumed)

    def test_with_a_client_certificate(self) -> None:
        """With client certificates, a resumed session keeps the client's certificate."""
        ann = Issued("ann@example.org")
        for versions in (TLS_1_2, TLS_1_3):
            again = self.resumed(versions, client_ca=self.file(ann.cert), identity=ann)
            self.assertTrue(again.resumed)
            self.assertEqual(peer_subject(Shown(again)), "ann@example.org")

    def test_by_name(self) -> None:
        """Sessions are resumed too if the name picks the certificate."""
        directory = Path(self.mktemp())
        for name in ("a.example", "b.example"):
            Issued(name).write(directory / f"{name}.pem")
        certificates = Certificates.from_directory(str(directory))
        for versions in (TLS_1_2, TLS_1_3):
            first = Visitor(certificates, "b.example", versions=versions).shake_hands()
            session = first.client.get_session()
            again = Visitor(certificates, "b.example", context=first.context, session=session)
            self.assertTrue(again.shake_hands().resumed)

    def test_tickets_of_another_server(self) -> None:
        """Tickets of another server are useless: otherwise they would bypass client
        certificates."""
        for versions in (TLS_1_2, TLS_1_3):
            first = Visitor(server(), versions=versions).shake_hands()
            session = first.client.get_session()
            other = server(client_ca=self.file(Issued("ann@example.org").cert))
            said = self.refused(other, context=first.context, session=session)
            self.assertRegex(said, "certificate required|handshake failure")  # TLS 1.3, TLS 1.2


class SharedTicketKeyTests(ContextsCase):
    """Servers that share a file with a ticket key, as behind one balancer."""

    def resumes(self, first: Certificates, second: Certificates, **visits: Any) -> list[bool]:
        """Whether the second server resumes a session of the first, with each version."""
        found = []
        for versions in (TLS_1_2, TLS_1_3):
            begun = Visitor(first, versions=versions, **visits).shake_hands()
            session = begun.client.get_session()
            again = Visitor(second, context=begun.context, session=session).shake_hands()
            found.append(again.resumed)
        return found

    def test_shared(self) -> None:
        """They resume each other's sessions; one without the key does not."""
        key = self.file(os.urandom(80))
        one, two, other = server(ticket_key=key), server(ticket_key=key), server()
        self.assertEqual(self.resumes(one, two), [True, True])
        self.assertEqual(self.resumes(two, one), [True, True])
        self.assertEqual(self.resumes(one, other), [False, False])
        self.assertEqual(self.resumes(other, one), [False, False])

    def test_rotated(self) -> None:
        """A new key in the file is used after a reload, and sessions of the old one are not."""
        key = self.file(os.urandom(80))
        one, two = server(ticket_key=key), server(ticket_key=key)
        Path(key).write_bytes(os.urandom(80))
        self.assertTrue(two.reload())
        self.assertEqual(self.resumes(one, two), [False, False])
        self.assertTrue(one.reload())
        self.assertEqual(self.resumes(one, two), [True, True])
        self.assertFalse(one.reload())

    def test_the_hourly_rotation(self) -> None:
        """The rotation of keys that nobody shares leaves a shared one alone."""
        one = server(ticket_key=self.file(os.urandom(80)))
        two = Visitor(one).shake_hands()
        one.rotate_tickets()
        again = Visitor(one, context=two.context, session=two.client.get_session())
        self.assertTrue(again.shake_hands().resumed)

    def test_by_name(self) -> None:
        """Whatever certificate the name picks."""
        directory, key = Path(self.mktemp()), self.file(os.urandom(80))
        for name in ("a.example", "b.example"):
            Issued(name).write(directory / f"{name}.pem")
        one = Certificates.from_directory(str(directory), ticket_key=key)
        self.assertEqual(self.resumes(one, server(ticket_key=key), name="b.example"), [True] * 2)

    def test_no_way_around_client_certificates(self) -> None:
        """A session of a server that demands no certificates is useless at one that does."""
        key, ca = self.file(os.urandom(80)), self.file(Issued("ann@example.org").cert)
        demanding = server(ticket_key=key, client_ca=ca)
        optional = server(ticket_key=key, client_ca=ca, optional_client_certificate=True)
        for lax in (server(ticket_key=key), optional):
            for versions in (TLS_1_2, TLS_1_3):
                begun = Visitor(lax, versions=versions).shake_hands()
                session = begun.client.get_session()
                self.refused(demanding, context=begun.context, session=session)

    def test_files_that_cannot_be_used(self) -> None:
        """The error names the file; a running server keeps its key."""
        key = self.file(os.urandom(80))
        running = server(ticket_key=key)
        for data, why in (
            (b"", "must have 80 random bytes, not 0: openssl rand 80"),
            (os.urandom(48), "must have 80 random bytes, not 48"),
            (bytes(80), "is not random"),
            (None, "No such file"),
        ):
            if data is None:
                os.remove(key)
            else:
                Path(key).write_bytes(data)
            with self.assertRaisesRegex(CertificateError, why) as caught:
                server(ticket_key=key)
            self.assertEqual(
                (caught.exception.what, caught.exception.path),
                ("ticket-key", os.path.abspath(key)),
            )
            self.assertFalse(running.reload())
            self.assertEqual(self.resumes(running, running), [True, True])

    def test_readable_by_others(self) -> None:
        """A key that others can use is warned of."""
        key = self.file(os.urandom(80))
        for mode, warned in ((0o600, 0), (0o640, 0), (0o644, 1), (0o620, 1)):
            os.chmod(key, mode)
            with capturedLogs() as events:
                server(ticket_key=key)
            warnings = [event for event in events if event["log_level"] is LogLevel.warn]
            self.assertEqual(len(warnings), warned, oct(mode))

    def test_an_openssl_that_is_unknown(self) -> None:
        """Where the key cannot be set, the error says so, and no byte is changed."""
        self.patch(session_tickets, "_place_of_name", self.unknown)
        with self.assertRaisesRegex(CertificateError, "cannot be used: OpenSSL keeps it elsewhere"):
            server(ticket_key=self.file(os.urandom(80)))

    def unknown(self) -> int:
        raise session_tickets.TicketKeysUnsupported("OpenSSL keeps it elsewhere")

    def test_it_is_no_secret_of_the_log(self) -> None:
        """The key is in no text of the settings."""
        self.assertNotIn("ticket", repr(TLSSettings(ticket_key=os.urandom(80))))


class MinTLSTests(ContextsCase):
    def test_13_only(self) -> None:
        """Clients of TLS 1.2 are refused if the server demands 1.3; others are not."""
        certificates = server(min_tls="1.3")
        self.assertIn("protocol version", self.refused(certificates, versions=TLS_1_2))
        visitor = Visitor(certificates).shake_hands()
        self.assertEqual(visitor.client.get_protocol_version_name(), "TLSv1.3")

    def test_older_is_never_allowed(self) -> None:
        """Other versions are an error."""
        for version in ("1.1", "1.4", "TLSv1.3", "", 1.3, None):
            with self.assertRaisesRegex(ValueError, "^min_tls: must be '1.2' or '1.3', not "):
                server(min_tls=version)


@implementer(IProtocolNegotiationFactory)
class Negotiating(Factory[Protocol]):
    """A factory with its own protocols, like that of a web site."""

    def acceptableProtocols(self) -> list[bytes]:
        return [b"h2"]


class ALPNTests(ContextsCase):
    def chosen(self, own: list[bytes], offered: list[bytes] | None, protocol: Any = None) -> bytes:
        visitor = Visitor(server(alpn=own), alpn=offered, protocol=protocol).shake_hands()
        name = visitor.client.get_alpn_proto_negotiated()
        self.assertEqual(visitor.server.get_alpn_proto_negotiated(), name)
        return name

    def test_chosen(self) -> None:
        """The server's best protocol that the client offers is selected."""
        self.assertEqual(self.chosen([b"chat/2", b"chat/1"], [b"chat/1", b"chat/2"]), b"chat/2")
        self.assertEqual(self.chosen([b"chat/2", b"chat/1"], [b"x", b"chat/1"]), b"chat/1")

    def test_none_in_common(self) -> None:
        """Without overlap, the client gets an alert, and the server's error has the reason."""
        certificates = server(alpn=[b"chat/1"])
        self.assertIn("no application protocol", self.refused(certificates, alpn=[b"h2"]))
        visitor = Visitor(certificates, alpn=[b"h2"])
        with self.assertRaises(SSL.WantReadError):
            visitor.client.do_handshake()
        visitor.carry()
        with self.assertRaisesRegex(SSL.Error, "no application protocol"):
            visitor.server.do_handshake()

    def test_nothing_offered(self) -> None:
        """A client that offers no protocols is accepted."""
        self.assertEqual(self.chosen([b"chat/1"], None), b"")

    def test_nothing_to_choose(self) -> None:
        """A server without protocols ignores those of the client."""
        self.assertEqual(self.chosen([], [b"h2"]), b"")

    def test_the_factorys(self) -> None:
        """The protocols of the wrapped factory come first."""
        for wrapping in (
            WrappingFactory(Negotiating()),
            WrappingFactory(WrappingFactory(Negotiating())),  # a wrapper that hides them
            WrappingFactory(GuardFactory(WrappingFactory(Negotiating()))),
        ):
            self.check_of_factory(wrapping)

    def check_of_factory(self, wrapping: Any) -> None:
        protocol = ProtocolWrapper(wrapping, Protocol())
        self.assertEqual(self.chosen([b"chat/1"], [b"chat/1", b"h2"], protocol), b"h2")
        self.assertEqual(self.chosen([b"chat/1"], [b"chat/1"], protocol), b"chat/1")


class Shown:
    """A TLS transport, as far as certificates are concerned."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor

    def getPeerCertificate(self) -> Any:
        return self._visitor.server.get_peer_certificate()


class ClientCertificatesTests(ContextsCase):
    def test_demanded(self) -> None:
        """A certificate of one of the authorities is required; none, or another's, is rejected."""
        ann, bob, eve = (Issued(f"{name}@example.org") for name in ("ann", "bob", "eve"))
        certificates = server(client_ca=self.file(ann.cert, bob.cert))
        for good in (ann, bob):
            Visitor(certificates, identity=good).shake_hands()
        self.refused(certificates)
        self.refused(certificates, identity=eve)
        self.refused(certificates, versions=TLS_1_2)

    def test_optional(self) -> None:
        """If they are optional, a client without one is accepted, and has no subject. One that
        nobody vouches for is refused, so that it cannot be taken for a good one."""
        ann, eve = Issued("ann@example.org"), Issued("eve@example.org")
        certificates = server(client_ca=self.file(ann.cert), optional_client_certificate=True)
        for versions in (TLS_1_2, TLS_1_3):
            for identity, subject in ((None, None), (ann, "ann@example.org")):
                visitor = Visitor(certificates, identity=identity, versions=versions)
                self.assertEqual(peer_subject(Shown(visitor.shake_hands())), subject)
                again = Visitor(
                    certificates, context=visitor.context, session=visitor.client.get_session()
                ).shake_hands()
                self.assertTrue(again.resumed)
                self.assertEqual(peer_subject(Shown(again)), subject)
            self.refused(certificates, identity=eve, versions=versions)

    def test_optional_without_authorities(self) -> None:
        """Without a CA nobody's certificate means anything."""
        with self.assertRaisesRegex(ValueError, "requires client_ca"):
            server(optional_client_certificate=True)

    def test_an_intermediate_authority(self) -> None:
        """An intermediate CA alone accepts its own clients, and no others of its parent."""
        root = trustme.CA()
        middle, other = root.create_child_ca(), root.create_child_ca()
        certificates = server(client_ca=self.file(middle.cert_pem.bytes()))

        def come(authority: trustme.CA) -> Visitor:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            authority.issue_cert("ann@example.org").configure_cert(context)
            return Visitor(certificates, context=context).shake_hands()

        come(middle)
        with self.assertRaises(SSL.Error):
            come(other)

    def test_the_client_is_told_which(self) -> None:
        """The client gets the list of authorities, so that a browser knows what to offer."""
        ann = Issued("ann@example.org")
        visitor = Visitor(server(client_ca=self.file(ann.cert)), identity=ann).shake_hands()
        (name,) = visitor.client.get_client_ca_list()
        self.assertEqual(name.CN, "ann@example.org")

    def subject(self, identity: Issued | None) -> str | None:
        rules = {} if identity is None else {"client_ca": self.file(identity.cert)}
        return peer_subject(Shown(Visitor(server(**rules), identity=identity).shake_hands()))

    def test_the_subject(self) -> None:
        """The subject is the common name, or else an e-mail address, if it is printable."""
        self.assertEqual(self.subject(Issued("ann@example.org", common="Ann")), "Ann")
        self.assertEqual(self.subject(Issued("ann@example.org", common="")), "ann@example.org")
        odd = Issued("ann@example.org", common="A\x1b[2J")
        self.assertEqual(self.subject(odd), "ann@example.org")
        self.assertIsNone(self.subject(Issued("a.example", common="")))
        self.assertIsNone(self.subject(Issued(common="A\nB")))
        self.assertIsNone(self.subject(None))

    def test_no_tls(self) -> None:
        """Without TLS, there is no subject."""
        self.assertIsNone(peer_subject(object()))


class KeyLogTests(ContextsCase):
    def test_keys(self) -> None:
        """Keys are appended to a file that others cannot read."""
        path = self.mktemp()
        certificates = server(keylog=path)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        for count in (1, 2):
            Visitor(certificates).shake_hands()
            lines = Path(path).read_text().splitlines()
            secrets = [line for line in lines if line.startswith("CLIENT_TRAFFIC_SECRET_0 ")]
            self.assertEqual(len(secrets), count)

    def test_only_where_it_was_asked_for(self) -> None:
        """The environment variable SSLKEYLOGFILE is ignored."""
        path = self.mktemp()
        os.environ["SSLKEYLOGFILE"] = path
        self.addCleanup(os.environ.pop, "SSLKEYLOGFILE")
        Visitor(server()).shake_hands()
        self.assertFalse(Path(path).exists())

    def test_not_writable(self) -> None:
        """An unwritable file fails at the start; later it ends no connection, and is logged
        once."""
        path = self.mktemp()
        with self.assertRaises(CertificateError) as caught:
            server(keylog=path + "/missing")
        self.assertEqual(caught.exception.what, "keylog")
        certificates = server(keylog=path)
        os.remove(path)
        os.mkdir(path)
        events: list[Any] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for _ in range(2):
            Visitor(certificates).shake_hands()
        self.assertEqual([event["log_level"] for event in events], [LogLevel.error])
