"""A certificate and its key, from files or newly made, and the subject of a peer's certificate.

For a server that reloads renewed certificates, see :mod:`twisted_net.tls.certificates`.
"""

from __future__ import annotations

import datetime
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from twisted_net import TwistedNetError

SELF_SIGNED_DAYS = 30
"""Days for which a development certificate is valid. Every start makes a new one."""

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
"""TLS 1.2 ciphers with forward secrecy and authenticated encryption only, like Mozilla's
"intermediate" without its DHE, with at least 112 bits of security. All of TLS 1.3 is like that."""

# The extension is missing or invalid. An invalid one must only affect its own certificate.
_NO_EXTENSION = (
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    ValueError,
)


# When these end, the file or its path has changed, which shows. All others may pass unseen.
_LASTING = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM),
}


class CertificateError(TwistedNetError, ValueError):
    """A certificate or key that cannot be used.

    :ivar what: the setting at fault: ``"cert"``, ``"key"``, ``"client-ca"``, ``"tls-dir"``,
        ``"keylog"``, ``"ticket-key"``, ``"key-passphrase-file"`` or ``"key-passphrase-env"``.
    :ivar path: the file or directory.
    :ivar passing: whether the same file may be readable later, although nothing about it changes:
        for example, if the process had no free file descriptor.
    """

    def __init__(self, what: str, path: str, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.what = what
        self.path = path
        self.passing = passing

    @classmethod
    def from_os(cls, what: str, path: str, error: OSError) -> Self:
        """Return the error for a file or directory that cannot be read."""
        passing = error.errno not in _LASTING
        return cls(what, path, error.strerror or str(error), passing=passing)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A usable certificate and its private key.

    :ivar chain: the certificate, followed by its chain.
    """

    chain: tuple[x509.Certificate, ...]
    key: crypto.PKey = field(compare=False)  # it belongs to the certificate, which is compared

    @property
    def names(self) -> tuple[str, ...]:
        """The host names of the certificate in lower case, wildcards such as ``*.example.org``."""
        try:
            extension = self.chain[0].extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            )
        except _NO_EXTENSION:
            return ()
        found = extension.value.get_values_for_type(x509.DNSName)
        return tuple(dict.fromkeys(name.lower() for name in found))

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256 fingerprint, as ``openssl x509 -fingerprint`` prints it."""
        return self.chain[0].fingerprint(hashes.SHA256()).hex(":")

    @property
    def pem(self) -> bytes:
        """The certificate in PEM form, without the key, for clients to trust."""
        return self.chain[0].public_bytes(serialization.Encoding.PEM)

    @property
    def expires(self) -> datetime.datetime:
        """When the certificate expires."""
        return self.chain[0].not_valid_after_utc


def load_pair(
    cert: str, key: str, passphrase: Callable[[], bytes | None] = lambda: None
) -> KeyPair:
    """Read a certificate and its key from PEM files, which may be the same file.

    :param cert: the certificate, followed by its chain.
    :param key: its private key.
    :param passphrase: returns the passphrase of the key; called only if the key is encrypted.
    :raises CertificateError: a file cannot be read or lacks the certificate or key, OpenSSL
        considers the certificate too weak, the key does not belong to it, or its passphrase is
        missing or wrong.
    """
    return parse_pair(_read("cert", cert), _read("key", key), cert, key, passphrase)


def parse_pair(
    cert_pem: bytes,
    key_pem: bytes,
    cert: str = "PEM",
    key: str = "PEM",
    passphrase: Callable[[], bytes | None] = lambda: None,
) -> KeyPair:
    """Return a certificate and its key from PEM texts.

    :param cert: where the certificate comes from, for the error; so is ``key``.
    :param passphrase: as in :func:`load_pair`.
    :raises CertificateError: as :func:`load_pair`.
    """
    chain = parse_certificates("cert", cert, cert_pem)
    pair = KeyPair(chain, _key(key, key_pem, passphrase))
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(CIPHERS.encode())
    try:
        context.use_certificate(chain[0])
    except SSL.Error as error:
        raise CertificateError("cert", cert, f"OpenSSL refuses it: {openssl_text(error)}") from None
    try:
        context.use_privatekey(pair.key)
        context.check_privatekey()
    except SSL.Error:
        raise CertificateError("key", key, f"does not belong to the certificate {cert}") from None
    return pair


def load_certificates(what: str, path: str) -> tuple[x509.Certificate, ...]:
    """Read all certificates of a PEM file.

    :param what: the setting, for the error.
    :raises CertificateError: the file cannot be read, or has no certificate.
    """
    return parse_certificates(what, path, _read(what, path))


def parse_certificates(what: str, path: str, data: bytes) -> tuple[x509.Certificate, ...]:
    """Return all certificates of a PEM text.

    :param path: where it comes from, for the error.
    :raises CertificateError: it has no certificate.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(data))
    except ValueError:
        raise CertificateError(what, path, "has no certificate in PEM form") from None


def openssl_text(error: SSL.Error) -> str:
    """Return OpenSSL's reason for an error."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[-1]) for entry in queue) or "no reason given"


_NOT_TLS = ("wrong version number", "packet length too long", "http request", "https proxy request")


def handshake_text(error: BaseException | None, peer: str = "the other side") -> str:
    """Return why a TLS handshake failed, in one line.

    :param peer: what to call the peer, if it does not speak TLS.
    """
    if not isinstance(error, SSL.Error) or not error.args:
        return " ".join(str(error).split()) or type(error).__name__
    text = openssl_text(error)
    return f"{peer} does not speak TLS ({text})" if text in _NOT_TLS else text


def self_signed_pair(now: datetime.datetime) -> KeyPair:
    """Make a self-signed certificate for this machine: for development only.

    :param now: the start of its validity, with a time zone.
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
    return KeyPair((certificate,), crypto.PKey.from_cryptography_key(key))


def peer_subject(transport: Any) -> str | None:
    """Return the name in the peer's certificate, whose key the peer has proved to have.

    It is as trustworthy as the authority that signed it; on a server, that is one of ``client_ca``.

    :param transport: a protocol's transport, after the handshake.
    :return: the subject's common name; without one, the first e-mail address among the alternative
        names; None without TLS, without a certificate, or if neither is printable.
    """
    find = getattr(transport, "getPeerCertificate", None)
    certificate = None if find is None else find()
    if certificate is None:
        return None
    for name in _subject_names(certificate.to_cryptography()):
        if name and name.isprintable():  # it is written to logs and terminals
            return name
    return None


def _subject_names(certificate: x509.Certificate) -> Iterator[str]:
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        yield str(attribute.value)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except _NO_EXTENSION:
        return
    yield from names.value.get_values_for_type(x509.RFC822Name)


def _read(what: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CertificateError.from_os(what, path, error) from None


def _call(passphrase: Callable[[], bytes | None], path: str) -> bytes | None:
    try:
        return passphrase()
    except CertificateError:
        raise
    except Exception as error:  # it is the program's own, such as a vault's
        reason = str(error) or type(error).__name__
        said = f"is encrypted, and its passphrase cannot be had: {reason}"
        raise CertificateError("key", path, " ".join(said.split()), passing=True) from error


def _key(path: str, data: bytes, passphrase: Callable[[], bytes | None]) -> crypto.PKey:
    secret = None
    try:
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except TypeError:  # it is encrypted
            secret = _call(passphrase, path)
            if not secret:
                raise CertificateError(
                    "key", path, "is encrypted: its passphrase is missing"
                ) from None
            key = serialization.load_pem_private_key(data, password=secret)
        return crypto.PKey.from_cryptography_key(key)  # type: ignore[arg-type]  # or TypeError
    except (TypeError, UnsupportedAlgorithm):
        raise CertificateError("key", path, "is a kind of key that TLS does not support") from None
    except CertificateError:
        raise
    except ValueError:
        if secret is not None:
            # The file with the passphrase may be renewed after the key.
            raise CertificateError(
                "key", path, "is encrypted with another passphrase", passing=True
            ) from None
        raise CertificateError("key", path, "has no private key in PEM form") from None
