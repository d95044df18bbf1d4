"""Tests for :mod:`twisted_net.tls.key_pairs`."""

from __future__ import annotations

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
from twisted.trial.unittest import SynchronousTestCase

from tests.tls.handshakes import NOW, Visitor
from twisted_net.tls import key_pairs
from twisted_net.tls.certificates import Certificates
from twisted_net.tls.key_pairs import (
    SELF_SIGNED_DAYS,
    CertificateError,
    load_certificates,
    load_pair,
    self_signed_pair,
)

MOON = datetime.datetime(2069, 7, 20, 20, 17, tzinfo=datetime.UTC)

ODD_CURVE = b"""-----BEGIN EC PRIVATE KEY-----
MD4CAQEEDsAj+1ycqJGMTNRalWa8oAcGBSuBBAAGoSADHgAEbE+a+zAUUzEdi73K
XVEMyN82GlRg314I76AE5Q==
-----END EC PRIVATE KEY-----
"""
"""A key on secp112r1, which no current library can read."""


class TLSCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.authority = trustme.CA()
        self.issued = self.authority.issue_cert("chat.example")
        self.cert = self.file(*self.issued.cert_chain_pems)
        self.key = self.file(self.issued.private_key_pem)

    def file(self, *blobs: Any) -> str:
        """Write bytes, or those of trustme's objects, to a file; return its path."""
        path = self.mktemp()
        with open(path, "wb") as file:
            for blob in blobs:
                file.write(blob if isinstance(blob, bytes) else blob.bytes())
        return path

    def pem(self, key: Any, password: bytes = b"") -> bytes:
        """Return a private key in PEM form."""
        protection: Any = serialization.NoEncryption()
        if password:
            protection = serialization.BestAvailableEncryption(password)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return bytes(key.private_bytes(encoding, form, protection))

    def assertRefused(self, what: str, path: str, text: str, *arguments: Any) -> None:
        """Check that ``load_pair`` rejects these files, and names the one at fault."""
        self.assertFault(what, path, text, load_pair, *arguments)

    def assertFault(self, what: str, path: str, text: str, load: Any, *arguments: Any) -> None:
        """Check that ``load`` rejects a file, and names it."""
        error = self.assertRaises(CertificateError, load, *arguments)
        self.assertEqual((error.what, error.path), (what, path))
        self.assertIn(text, str(error))
        self.assertNotIn("\n", str(error))


class FileTests(TLSCase):
    def test_files_that_can_be_used(self) -> None:
        """A chain and its key load, and a client that trusts the CA verifies the name."""
        client = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self.authority.configure_trust(client)
        client.set_verify(SSL.VERIFY_PEER)
        certificates = Certificates.from_files(self.cert, self.key)
        visitor = Visitor(certificates, context=client).shake_hands()
        verify_hostname(visitor.client, "chat.example")
        self.assertEqual(visitor.client.get_protocol_version_name(), "TLSv1.3")

    def test_one_file_for_both(self) -> None:
        """The key and the chain may be in the same file."""
        both = self.file(self.issued.private_key_and_cert_chain_pem)
        self.assertEqual(load_pair(both, both), load_pair(self.cert, self.key))

    def test_a_file_that_cannot_be_read(self) -> None:
        """A missing file or a directory raises an error."""
        missing, folder = self.mktemp(), self.mktemp()
        os.mkdir(folder)
        for path, why in ((missing, "No such file"), (folder, "Is a directory"), ("", "director")):
            self.assertRefused("cert", path, why, path, self.key)
            self.assertRefused("key", path, why, self.cert, path)
            self.assertFault("client-ca", path, why, load_certificates, "client-ca", path)

    def test_a_file_with_something_else_in_it(self) -> None:
        """Empty files, noise, other PEM objects, and broken or truncated ones raise an error."""
        broken = b"-----BEGIN %s-----\nAAAA\n-----END %s-----\n"
        whole = self.issued.cert_chain_pems[0].bytes()
        for blob in (b"", b"\x00\xff" * 99, self.issued.private_key_pem.bytes(), whole[:300]):
            path = self.file(blob)
            why = "has no certificate in PEM form"
            self.assertRefused("cert", path, why, path, self.key)
            self.assertFault("client-ca", path, why, load_certificates, "client-ca", path)
        path = self.file(broken % (b"CERTIFICATE", b"CERTIFICATE"))
        self.assertRefused("cert", path, "has no certificate", path, self.key)
        for blob in (b"", b"\x00\xff" * 99, whole, broken % (b"PRIVATE KEY", b"PRIVATE KEY")):
            path = self.file(blob)
            self.assertRefused("key", path, "has no private key in PEM form", self.cert, path)

    def test_a_key_of_another_certificate(self) -> None:
        """The error names the certificate, even if the key is of another kind."""
        other = self.authority.issue_cert("chat.example").private_key_pem.bytes()
        for blob in (other, self.pem(rsa.generate_private_key(65537, 2048))):
            path = self.file(blob)
            why = f"does not belong to the certificate {self.cert}"
            self.assertRefused("key", path, why, self.cert, path)

    def test_an_encrypted_key(self) -> None:
        """An encrypted key without its passphrase is rejected, because a server cannot ask."""
        path = self.file(self.pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))
        self.assertRefused("key", path, "is encrypted", self.cert, path)

    def test_a_key_that_is_not_for_tls(self) -> None:
        """Keys for key exchange only, or on unknown curves, are rejected."""
        why = "is a kind of key that TLS does not support"
        for blob in (self.pem(x25519.X25519PrivateKey.generate()), ODD_CURVE):
            path = self.file(blob)
            self.assertRefused("key", path, why, self.cert, path)

    def test_a_certificate_that_is_too_weak(self) -> None:
        """A weak certificate is rejected at the start, not at the first client."""
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


class SelfSignedTests(SynchronousTestCase):
    def made(self, now: datetime.datetime = MOON) -> Any:
        """Return the certificate alone."""
        pair = self_signed_pair(now)
        (certificate,), fingerprint = pair.chain, pair.fingerprint
        self.assertEqual(fingerprint, certificate.fingerprint(hashes.SHA256()).hex(":"))
        self.assertEqual((len(fingerprint), fingerprint.count(":")), (95, 31))
        return certificate

    def names(self) -> Any:
        extension = self.made().extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return extension.value

    def test_it_is_for_this_machine(self) -> None:
        """It contains every name of this machine."""
        self.patch(key_pairs.socket, "gethostname", lambda: "moon.example")
        names = self.names()
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["localhost", "moon.example"])
        loopback = {ipaddress.ip_address(each) for each in ("127.0.0.1", "::1")}
        self.assertEqual(set(names.get_values_for_type(x509.IPAddress)), loopback)

    def test_a_machine_with_an_odd_name(self) -> None:
        """If the host name is invalid in a certificate, only localhost is used."""
        for name in ("", "localhost", "münchen"):
            self.patch(key_pairs.socket, "gethostname", lambda name=name: name)
            self.assertEqual(self.names().get_values_for_type(x509.DNSName), ["localhost"])
        self.patch(key_pairs.socket, "gethostname", lambda: "under_score")
        self.assertIn("localhost", self.names().get_values_for_type(x509.DNSName))

    def test_it_is_valid_for_a_while(self) -> None:
        """It is valid from five minutes before, since clocks differ."""
        made = self.made()
        self.assertEqual(made.not_valid_before_utc, MOON - datetime.timedelta(minutes=5))
        self.assertEqual(made.not_valid_after_utc, MOON + datetime.timedelta(days=SELF_SIGNED_DAYS))

    def test_every_one_is_another(self) -> None:
        """Two of them share neither key nor serial number."""
        one, two = self.made(), self.made()
        self.assertNotEqual(one.serial_number, two.serial_number)
        self.assertNotEqual(one.public_key(), two.public_key())

    def test_a_client_can_trust_it(self) -> None:
        """A client with the certificate as its root verifies the name as usual."""
        pair = self_signed_pair(NOW)
        client = SSL.Context(SSL.TLS_CLIENT_METHOD)
        store = client.get_cert_store()
        assert store is not None
        store.add_cert(crypto.X509.from_cryptography(pair.chain[0]))
        client.set_verify(SSL.VERIFY_PEER)
        visitor = Visitor(Certificates.from_pair(pair, "own"), context=client).shake_hands()
        verify_hostname(visitor.client, "localhost")
