"""The TLS settings of clients: whom they trust, and how they identify themselves."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from zope.interface import implementer

from twisted_net.interfaces import AnyInterface
from twisted_net.tls.certificate_files import Stamp, stamp_of
from twisted_net.tls.contexts import check_alpn, check_min_tls
from twisted_net.tls.key_pairs import CertificateError, KeyPair, parse_certificates, parse_pair
from twisted_net.tls.passphrases import Passphrase, passphrase_bytes
from twisted_net.tls.sessions import TLSSessions
from twisted_net.tls.validity import check_authorities, check_chain, utc_now
from twisted_net.tls.verification import ExplainingCreator

PEM: TypeAlias = str | bytes | os.PathLike[str]
"""The path of a PEM file, or its text: bytes, or a string that begins with ``-----BEGIN``."""

_BEGIN = "-----BEGIN"

_log = Logger()


class ClientTLSSettings(TypedDict, total=False):
    """The keywords of :class:`ClientTLS`, for functions that pass them on."""

    ca: PEM | None
    cert: PEM | None
    key: PEM | None
    passphrase: Passphrase | None
    alpn: Iterable[bytes]
    min_tls: str
    sessions: TLSSessions | None


@implementer(IOpenSSLClientConnectionCreator)
class ClientTLS(AnyInterface):
    """Makes the TLS connections of a client. Files that have changed are read again for the next.

    If changed files cannot be used, the settings stay as they were, and one line is logged.

    :param name: the name to verify.
    :param trust: the trusted certificates, as ``optionsForClientTLS`` takes them; None with ``ca``,
        or for those of the platform.
    :param ca: the trusted CAs, in place of the platform's.
    :param cert: the client's certificate, followed by its chain.
    :param key: its private key; without it, ``cert`` has the key too.
    :param passphrase: the passphrase of the key, or a function that returns it.
    :param alpn: the application protocols to offer, best first (RFC 7301). The transport's
        ``negotiatedProtocol`` is the one that the server has chosen.
    :param min_tls: the oldest version of TLS, ``"1.2"`` or ``"1.3"``.
    :param sessions: where sessions to resume are kept; None resumes none.
    :raises ValueError: a setting cannot be used; the message names it, and its file.
    """

    def __init__(
        self,
        name: str,
        trust: Any = None,
        *,
        ca: PEM | None = None,
        cert: PEM | None = None,
        key: PEM | None = None,
        passphrase: Passphrase | None = None,
        alpn: Iterable[bytes] = (),
        min_tls: str = "1.2",
        sessions: TLSSessions | None = None,
    ) -> None:
        if ca is not None and trust is not None:
            raise ValueError("ca: cannot be used with trust")
        if key is not None and cert is None:
            raise ValueError("key: requires cert")
        self._name = name
        self._trust = trust
        self._ca = _absolute("ca", ca)
        self._cert, self._key = _absolute("cert", cert), _absolute("key", key or cert)
        self._passphrase = partial(passphrase_bytes, passphrase)
        self._alpn = check_alpn(alpn)
        self._min_tls = check_min_tls(min_tls)
        if not isinstance(sessions, TLSSessions | None):
            raise ValueError(f"sessions: must be a TLSSessions, not {sessions!r}")
        self._sessions = sessions
        self._told = ""
        self._read_as = self._stamp()
        try:
            self._options, self._identity = self._read()
        except CertificateError as error:
            raise ValueError(f"{error.what} {error.path}: {error}") from None

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Return a new client-side OpenSSL connection."""
        self._renew()
        if self._sessions is not None:
            return self._sessions.connection(self._identity, self._options, protocol)
        connection: SSL.Connection = self._options.clientConnectionForTLS(protocol)
        return connection

    def _renew(self) -> None:
        stamp = self._stamp()
        if stamp == self._read_as:
            return
        try:
            self._options, self._identity = self._read()
        except CertificateError as error:
            # Tried again for each connection: perhaps only one of two files has been renewed.
            line = f"The TLS client stays as it was: {error.what} {error.path}: {error}"
            if line != self._told:
                _log.error("{line}", line=line)
            self._told = line
        else:
            self._read_as, self._told = stamp, ""

    def _stamp(self) -> Stamp:
        paths = (self._ca, self._cert, self._key)
        return tuple(stamp_of(each) for each in paths if isinstance(each, str))

    def _read(self) -> tuple[Any, Hashable]:
        """Return Twisted's options, and what connections that share sessions have in common."""
        more: dict[str, Any] = {}
        if self._min_tls == "1.3":
            more["raiseMinimumTo"] = TLSVersion.TLSv1_3
        trust, roots = self._trust, self._read_roots()
        if roots:
            trust = trustRootFromCertificates(  # type: ignore[no-untyped-call]
                [_twisteds(each) for each in roots]
            )
        pair = self._read_pair()
        if pair is not None:
            first, *rest = (crypto.X509.from_cryptography(each) for each in pair.chain)
            more |= {"privateKey": pair.key, "certificate": first, "extraCertChain": rest}
        options = optionsForClientTLS(
            self._name,
            trust,
            acceptableProtocols=list(self._alpn) or None,
            extraCertificateOptions=more,
        )
        creator = ExplainingCreator(options, self._name)
        identity = (self._name, roots, _Same(self._trust), pair, self._alpn, self._min_tls)
        return creator, identity

    def _read_roots(self) -> tuple[x509.Certificate, ...]:
        if self._ca is None:
            return ()
        found = parse_certificates("ca", _shown(self._ca), _pem("ca", self._ca))
        check_authorities("ca", _shown(self._ca), found, utc_now())
        return found

    def _read_pair(self) -> KeyPair | None:
        if self._cert is None or self._key is None:
            return None
        pair = parse_pair(
            _pem("cert", self._cert),
            _pem("key", self._key),
            _shown(self._cert),
            _shown(self._key),
            self._passphrase,
        )
        check_chain("cert", _shown(self._cert), pair, utc_now())
        return pair


class _Same:
    """Is equal to what has the very same object: those of Twisted cannot be hashed."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


def _absolute(what: str, value: PEM | None) -> str | bytes | None:
    """Return a PEM text as bytes, and a path as an absolute one: twistd changes directories.

    :raises ValueError: it is neither.
    """
    if not isinstance(value, str | bytes | os.PathLike | None):
        raise ValueError(f"{what}: must be a path or a PEM text, not {type(value).__name__}")
    if value is None or isinstance(value, bytes):
        return value
    text = os.fspath(value)
    return text.encode() if text.lstrip().startswith(_BEGIN) else os.path.abspath(text)


def _shown(value: str | bytes) -> str:
    return value if isinstance(value, str) else "PEM"


def _pem(what: str, value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise CertificateError.from_os(what, value, error) from None


def _twisteds(certificate: x509.Certificate) -> Certificate:
    return Certificate(crypto.X509.from_cryptography(certificate))  # type: ignore[no-untyped-call]
