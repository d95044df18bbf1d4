"""TLS: a server's certificate from files or made on the spot, and a client's trust."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)

SELF_SIGNED_DAYS = 30
"""A development certificate is valid for so many days; every start makes a new one."""


class CertificateError(ValueError):
    """A certificate or key that cannot be used.

    :ivar what: ``"cert"``, ``"key"`` or ``"client-ca"``: which of the files is at fault.
    :ivar path: the file, as it was given.
    """

    def __init__(self, what: str, path: str, text: str) -> None:
        super().__init__(text)
        self.what = what
        self.path = path


def server_options(cert: str, key: str, client_ca: str | None = None) -> CertificateOptions:
    """Give what a TLS listener needs: TLS 1.2 or newer, from PEM files.

    :param cert: the certificate, and after it those that lead to a root.
    :param key: its private key, not encrypted.
    :param client_ca: if given, clients must have a certificate that one of these has signed.
    :raises CertificateError: a file that cannot be read or has no such thing in it, or a key that
        does not belong to the certificate.
    """
    chain = _certificates("cert", cert)
    private_key = _key(key)
    trust = None
    if client_ca is not None:
        roots = [Certificate(each) for each in _certificates("client-ca", client_ca)]  # type: ignore[no-untyped-call]
        trust = trustRootFromCertificates(roots)  # type: ignore[no-untyped-call]
    context = SSL.Context(SSL.TLS_METHOD)
    try:
        context.use_certificate(chain[0])
    except SSL.Error as error:  # a key that is too short for today's OpenSSL
        said = "; ".join(str(entry[-1]) for entry in error.args[0])
        raise CertificateError("cert", cert, f"OpenSSL refuses it: {said}") from None
    try:
        context.use_privatekey(private_key)
        context.check_privatekey()
    except SSL.Error:
        raise CertificateError("key", key, f"does not belong to the certificate {cert}") from None
    return CertificateOptions(
        privateKey=private_key,
        certificate=chain[0],
        extraCertChain=chain[1:],
        trustRoot=trust,
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )


def self_signed_options(now: datetime.datetime) -> tuple[CertificateOptions, str]:
    """Make a certificate for this machine that nobody has signed: for development only.

    :param now: from when on it is valid; aware of its time zone.
    :return: what a TLS listener needs, and the certificate's SHA-256 fingerprint.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "twisted_net self-signed")])
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    host = socket.gethostname()
    if host.isascii() and host not in ("", "localhost"):
        names.append(x509.DNSName(host))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))  # clocks differ a little
        .not_valid_after(now + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    options = CertificateOptions(
        privateKey=crypto.PKey.from_cryptography_key(key),
        certificate=crypto.X509.from_cryptography(certificate),
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
    return options, certificate.fingerprint(hashes.SHA256()).hex(":")


def _read(what: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CertificateError(what, path, error.strerror or str(error)) from None


def _certificates(what: str, path: str) -> list[crypto.X509]:
    try:
        found = x509.load_pem_x509_certificates(_read(what, path))
    except CertificateError:
        raise
    except ValueError:
        raise CertificateError(what, path, "has no certificate in PEM form") from None
    return [crypto.X509.from_cryptography(each) for each in found]


def _key(path: str) -> crypto.PKey:
    data = _read("key", path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
        return crypto.PKey.from_cryptography_key(key)  # type: ignore[arg-type]  # or TypeError
    except (TypeError, UnsupportedAlgorithm) as error:
        encrypted = "encrypted" in str(error) or "Password" in str(error)
        text = "is encrypted" if encrypted else "is of a kind that TLS does not use"
        raise CertificateError("key", path, text) from None
    except ValueError:
        raise CertificateError("key", path, "has no private key in PEM form") from None
