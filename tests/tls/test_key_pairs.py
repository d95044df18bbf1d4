"""Certificates from files and made on the spot: :mod:`twisted_net.tls.key_pairs`."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from OpenSSL import SSL, crypto
from service_identity.pyopenssl import verify_hostname
from twisted.internet.ssl import CertificateOptions
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.tls import key_pairs
from twisted_net.tls.key_pairs import (
    SELF_SIGNED_DAYS,
    CertificateError,
    self_signed_options,
    server_options,
)

NOW = datetime.datetime.now(datetime.UTC)
MOON = datetime.datetime(2069, 7, 20, 20, 17, tzinfo=datetime.UTC)

ODD_CURVE = b"""-----BEGIN EC PRIVATE KEY-----
MD4CAQEEDsAj+1ycqJGMTNRalWa8oAcGBSuBBAAGoSADHgAEbE+a+zAUUzEdi73K
XVEMyN82GlRg314I76AE5Q==
-----END EC PRIVATE KEY-----
"""
"""A key on secp112r1, which no current library can read."""


def talk(server: Any, client: Any) -> str:
    """Shake hands in memory; give the version of TLS that was agreed on.

    :raises SSL.Error: one of the two did not want to.
    """
    ends = [SSL.Connection(server), client]
    ends[0].set_accept_state()
    done = [False, False]
    for _ in range(20):
        for number, end in enumerate(ends):
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
                done[number] = True
            with contextlib.suppress(SSL.WantReadError):
                ends[1 - number].bio_write(end.bio_read(65536))
        if all(done):
            break
    if not all(done):
        raise SSL.Error([("", "", "no handshake")])
    return str(ends[0].get_protocol_version_name())


def plain_client(least: int = 0, most: int = 0, identity: Any = None) -> Any:
    """A client that trusts everybody and speaks these versions only."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(least)
    context.set_max_proto_version(most)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    if identity is not None:
        identity.configure_cert(context)
    connection = SSL.Connection(context)
    connection.set_connect_state()
    return connection


def talk_and_verify(server: Any, root: crypto.X509, name: str) -> None:
    """Shake hands with a client that trusts this root alone, and wants this name."""
    context = SSL.Context(SSL.TLS_METHOD)
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(root)
    context.set_verify(SSL.VERIFY_PEER)
    client = SSL.Connection(context)
    client.set_connect_state()
    talk(server, client)
    verify_hostname(client, name)


class TLSCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.authority = trustme.CA()
        self.issued = self.authority.issue_cert("chat.example")
        self.cert = self.file(*self.issued.cert_chain_pems)
        self.key = self.file(self.issued.private_key_pem)

    def file(self, *blobs: Any) -> str:
        """A file with these bytes, or with these of trustme's; give its name."""
        path = self.mktemp()
        with open(path, "wb") as file:
            for blob in blobs:
                file.write(blob if isinstance(blob, bytes) else blob.bytes())
        return path

    def root(self) -> crypto.X509:
        """What trusts the server's certificate."""
        return crypto.load_certificate(crypto.FILETYPE_PEM, self.authority.cert_pem.bytes())

    def pem(self, key: Any, password: bytes = b"") -> bytes:
        """A private key in PEM form."""
        protection: Any = serialization.NoEncryption()
        if password:
            protection = serialization.BestAvailableEncryption(password)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return bytes(key.private_bytes(encoding, form, protection))

    def assertRefused(self, what: str, path: str, text: str, *arguments: Any) -> None:
        """``server_options`` refuses these files, and names the one at fault."""
        error = self.assertRaises(CertificateError, server_options, *arguments)
        self.assertEqual((error.what, error.path), (what, path))
        self.assertIn(text, str(error))
        self.assertNotIn("\n", str(error))


class FileTests(TLSCase):
    def test_files_that_can_be_used(self) -> None:
        """A chain and its key, and a client that trusts the authority and checks the name."""
        options = server_options(self.cert, self.key)
        talk_and_verify(options.getContext(), self.root(), "chat.example")
        self.assertEqual(talk(options.getContext(), plain_client()), "TLSv1.3")

    def test_one_file_for_both(self) -> None:
        """The key and the chain may stand in the same file."""
        both = self.file(self.issued.private_key_and_cert_chain_pem)
        self.assertIsInstance(server_options(both, both), CertificateOptions)

    def test_old_versions_are_refused(self) -> None:
        """TLS 1.2 is the oldest."""
        context = server_options(self.cert, self.key).getContext()
        for version in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION):
            with self.assertRaises(SSL.Error):
                talk(context, plain_client(version, version))
        version = talk(context, plain_client(SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION))
        self.assertEqual(version, "TLSv1.2")

    def test_a_file_that_cannot_be_read(self) -> None:
        """Missing, or a directory."""
        missing, folder = self.mktemp(), self.mktemp()
        os.mkdir(folder)
        for path, why in ((missing, "No such file"), (folder, "Is a directory"), ("", "director")):
            self.assertRefused("cert", path, why, path, self.key)
            self.assertRefused("key", path, why, self.cert, path)
            self.assertRefused("client-ca", path, why, self.cert, self.key, path)

    def test_a_file_with_something_else_in_it(self) -> None:
        """Nothing, noise, another kind of PEM, a broken or a cut one."""
        broken = b"-----BEGIN %s-----\nAAAA\n-----END %s-----\n"
        whole = self.issued.cert_chain_pems[0].bytes()
        for blob in (b"", b"\x00\xff" * 99, self.issued.private_key_pem.bytes(), whole[:300]):
            path = self.file(blob)
            why = "has no certificate in PEM form"
            self.assertRefused("cert", path, why, path, self.key)
            self.assertRefused("client-ca", path, why, self.cert, self.key, path)
        path = self.file(broken % (b"CERTIFICATE", b"CERTIFICATE"))
        self.assertRefused("cert", path, "has no certificate", path, self.key)
        for blob in (b"", b"\x00\xff" * 99, whole, broken % (b"PRIVATE KEY", b"PRIVATE KEY")):
            path = self.file(blob)
            self.assertRefused("key", path, "has no private key in PEM form", self.cert, path)

    def test_a_key_of_another_certificate(self) -> None:
        """Says whose it is not, also where it is of another kind."""
        other = self.authority.issue_cert("chat.example").private_key_pem.bytes()
        for blob in (other, self.pem(rsa.generate_private_key(65537, 2048))):
            path = self.file(blob)
            why = f"does not belong to the certificate {self.cert}"
            self.assertRefused("key", path, why, self.cert, path)

    def test_an_encrypted_key(self) -> None:
        """There is nobody who could be asked for the password."""
        path = self.file(self.pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))
        self.assertRefused("key", path, "is encrypted", self.cert, path)

    def test_a_key_that_is_not_for_tls(self) -> None:
        """For key exchange only, or on a curve that nobody knows."""
        why = "is of a kind that TLS does not use"
        for blob in (self.pem(x25519.X25519PrivateKey.generate()), ODD_CURVE):
            path = self.file(blob)
            self.assertRefused("key", path, why, self.cert, path)

    def test_a_certificate_that_is_too_weak(self) -> None:
        """OpenSSL does not serve it: that is known at the start, not at the first client."""
        key = rsa.generate_private_key(65537, 1024)
        name = x509.Name([])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(NOW)
            .not_valid_after(NOW + datetime.timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        cert = self.file(certificate.public_bytes(serialization.Encoding.PEM))
        self.assertRefused("cert", cert, "key too small", cert, self.file(self.pem(key)))

    def test_clients_with_a_certificate(self) -> None:
        """Where a CA is given for them, clients without one, or with another's, are refused."""
        roots = trustme.CA()
        ca = self.file(roots.cert_pem)
        context = server_options(self.cert, self.key, ca).getContext()
        good, bad = roots.issue_cert("ann@example.org"), trustme.CA().issue_cert("eve@example.org")
        self.assertEqual(talk(context, plain_client(identity=good)), "TLSv1.3")
        for identity in (None, bad):
            with self.assertRaises(SSL.Error):
                talk(context, plain_client(identity=identity))

    def test_several_authorities_for_clients(self) -> None:
        """One file may have them all."""
        roots = [trustme.CA(), trustme.CA()]
        ca = self.file(*(root.cert_pem for root in roots))
        context = server_options(self.cert, self.key, ca).getContext()
        for root in roots:
            talk(context, plain_client(identity=root.issue_cert("ann@example.org")))

    def test_an_intermediate_is_sent(self) -> None:
        """A client that knows the root alone can follow the chain."""
        issued = self.authority.create_child_ca().issue_cert("chat.example")
        self.assertEqual(len(issued.cert_chain_pems), 2)
        options = server_options(
            self.file(*issued.cert_chain_pems), self.file(issued.private_key_pem)
        )
        talk_and_verify(options.getContext(), self.root(), "chat.example")


class SelfSignedTests(SynchronousTestCase):
    def made(self, now: datetime.datetime = MOON) -> Any:
        """The certificate alone."""
        options, fingerprint = self_signed_options(now)
        certificate = options.certificate.to_cryptography()
        self.assertEqual(fingerprint, certificate.fingerprint(hashes.SHA256()).hex(":"))
        self.assertEqual((len(fingerprint), fingerprint.count(":")), (95, 31))
        return certificate

    def names(self) -> Any:
        extension = self.made().extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return extension.value

    def test_it_is_for_this_machine(self) -> None:
        """By every name that it has for itself."""
        self.patch(key_pairs.socket, "gethostname", lambda: "moon.example")
        names = self.names()
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["localhost", "moon.example"])
        loopback = {ipaddress.ip_address(each) for each in ("127.0.0.1", "::1")}
        self.assertEqual(set(names.get_values_for_type(x509.IPAddress)), loopback)

    def test_a_machine_with_an_odd_name(self) -> None:
        """Is called localhost alone, where its name is none for a certificate."""
        for name in ("", "localhost", "münchen"):
            self.patch(key_pairs.socket, "gethostname", lambda name=name: name)
            self.assertEqual(self.names().get_values_for_type(x509.DNSName), ["localhost"])
        self.patch(key_pairs.socket, "gethostname", lambda: "under_score")
        self.assertIn("localhost", self.names().get_values_for_type(x509.DNSName))

    def test_it_is_valid_for_a_while(self) -> None:
        """From five minutes before, since clocks differ."""
        made = self.made()
        self.assertEqual(made.not_valid_before_utc, MOON - datetime.timedelta(minutes=5))
        self.assertEqual(made.not_valid_after_utc, MOON + datetime.timedelta(days=SELF_SIGNED_DAYS))

    def test_every_one_is_another(self) -> None:
        """Nothing of it is shared."""
        one, two = self.made(), self.made()
        self.assertNotEqual(one.serial_number, two.serial_number)
        self.assertNotEqual(one.public_key(), two.public_key())

    def test_a_client_can_trust_it(self) -> None:
        """Given the certificate itself as a root, the name is verified as ever."""
        options, _ = self_signed_options(NOW)
        talk_and_verify(options.getContext(), options.certificate, "localhost")

    def test_old_versions_are_refused(self) -> None:
        """As with a certificate from files."""
        options, _ = self_signed_options(NOW)
        with self.assertRaises(SSL.Error):
            talk(options.getContext(), plain_client(SSL.TLS1_1_VERSION, SSL.TLS1_1_VERSION))
