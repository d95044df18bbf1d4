"""Whether a client may trust a server's certificate, and why not.

Twisted's own check says "certificate verify failed". OpenSSL knows why, and tells it only while it
verifies. So the check is made here, by the same rules: OpenSSL verifies the chain, and
service-identity the name (RFC 9525).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.eager.privates import prefer_reason
from twisted_net.tls.validity import certificate_name

Verifier = Callable[[SSL.Connection, crypto.X509, int, int, int], bool]

_MOST_NAMES = 5
"""Names of a certificate that an error has: one of a large provider has hundreds."""

_NOT_YET, _EXPIRED = 9, 10
_NO_ISSUER = (2, 20, 21)

_WORDS = {
    2: "unable to get issuer certificate",
    3: "unable to get certificate CRL",
    7: "certificate signature failure",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    22: "certificate chain too long",
    23: "certificate revoked",
    25: "path length constraint exceeded",
    26: "unsuitable certificate purpose",
    27: "certificate not trusted",
    28: "certificate rejected",
    34: "unhandled critical extension",
    47: "permitted subtree violation",
    48: "excluded subtree violation",
    66: "EE certificate key too weak",
    67: "CA certificate key too weak",
    68: "CA signature digest algorithm too weak",
    79: "invalid CA certificate",
}
"""OpenSSL's words, of ``openssl verify`` and of web searches: pyOpenSSL has only the numbers."""

_log = Logger()


class CertificateRefused(SSL.Error):
    """OpenSSL does not trust a certificate. The text says why.

    :ivar number: OpenSSL's ``X509_V_ERR``.
    """

    def __init__(self, number: int, certificate: x509.Certificate) -> None:
        super().__init__()  # not OpenSSL's queue of errors, which says less
        self.number = number
        self._text = f"certificate verify failed: {describe_refusal(number, certificate)}"

    def __str__(self) -> str:
        return self._text


class WrongName(VerificationError):
    """A certificate is not for the name that was asked for. The text has the names it is for."""

    def __init__(self, error: Exception, name: str, certificate: x509.Certificate) -> None:
        super().__init__(getattr(error, "errors", []))
        self._text = f"the certificate is for {_listed(certificate)}, not for {name}"

    def __str__(self) -> str:
        return self._text


def describe_refusal(number: int, certificate: x509.Certificate) -> str:
    """Return why OpenSSL does not trust a certificate, and which one.

    Names in it come from the server: what could control a terminal is escaped.
    """
    words = _WORDS.get(number, f"OpenSSL's error {number}")
    name = certificate_name(certificate)
    if number == _EXPIRED:
        return f"{words} ({name}, on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC)"
    if number == _NOT_YET:
        begins = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        return f"{words} ({name}, before {begins}); is the clock right?"
    if number in _NO_ISSUER:
        return f"{words} ({name}, issued by {certificate.issuer.rfc4514_string()!r})"
    return f"{words} ({name})"


class ExplainingCreator:
    """Makes the TLS connections of a client, which say why a certificate is refused.

    :param creator: Twisted's, which makes them.
    :param name: the host name or address that certificates must be for.
    """

    def __init__(self, creator: Any, name: str) -> None:
        self._creator = creator
        self._name = name

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Return a new client-side OpenSSL connection."""
        connection: SSL.Connection = self._creator.clientConnectionForTLS(protocol)
        mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT  # as Twisted's
        connection.set_verify(mode, verify_for(protocol, self._name))
        return connection


def verify_for(tls: Any, name: str) -> Verifier:
    """Return what verifies the certificate of one connection, for pyOpenSSL.

    :param tls: the TLS transport, which tells its protocol why the handshake has failed.
    :param name: the host name or address that the certificate must be for.
    """
    is_address = isIPAddress(name) or isIPv6Address(name)
    wanted = IPAddress_ID(name) if is_address else DNS_ID(name)
    transport = ref(tls)  # the connection has this function, and the transport the connection

    def verify(
        connection: SSL.Connection, presented: crypto.X509, number: int, depth: int, is_fine: int
    ) -> bool:
        # An exception in here would be lost, and the handshake would fail without a reason.
        try:
            if is_fine and depth:
                return True
            certificate = presented.to_cryptography()
            if not is_fine:
                # OpenSSL still tells the server by an alert, so the transport is not aborted.
                prefer_reason(transport(), CertificateRefused(number, certificate))
                return False
            try:
                verify_service_identity(extract_patterns(certificate), [wanted], [])
            except (VerificationError, CertificateError) as error:  # the latter: it has no names
                end, wrong = transport(), WrongName(error, name, certificate)
                if end is not None:
                    end.failVerification(Failure(wrong))  # type: ignore[no-untyped-call]
                return False
            return True
        except Exception:
            _log.failure("A certificate could not be verified")
            return False

    return verify


def _listed(certificate: x509.Certificate) -> str:
    names = list(_names(certificate))
    if not names:
        return "no host name"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(repr, names[:_MOST_NAMES])) + more


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return
    yield from found.get_values_for_type(x509.DNSName)
    yield from map(str, found.get_values_for_type(x509.IPAddress))
