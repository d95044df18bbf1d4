"""A server's certificates: picked by name, and reloaded while the server runs.

::

    certificates = Certificates.from_directory("/etc/letsencrypt/live")
    endpoint = TLSServerEndpoint(serverFromString(eager(reactor), "tcp:8443"), certificates)
    watch = CertificateWatch([certificates], reactor)  # see certificate_watch

:class:`Certificates` can also be used wherever Twisted takes ``CertificateOptions``.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Self, TypedDict, TypeVar, Unpack

from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from twisted_net.interfaces import AnyInterface
from twisted_net.tls.announcements import (
    announce_certificates,
    announce_ticket_key,
    dated_certificates,
)
from twisted_net.tls.certificate_files import (
    Directory,
    Files,
    Fixed,
    Place,
    Source,
    Stamp,
    stamp,
)
from twisted_net.tls.contexts import (
    KeyLog,
    ServerConnection,
    TLSSettings,
    check_alpn,
    check_min_tls,
    make_context,
    make_first_context,
)
from twisted_net.tls.key_pairs import (
    CertificateError,
    KeyPair,
    load_certificates,
    openssl_text,
    parse_pair,
    self_signed_pair,
)
from twisted_net.tls.passphrases import Passphrase, passphrase_bytes
from twisted_net.tls.ticket_keys import load_ticket_key
from twisted_net.tls.validity import (
    ExpiryWarnings,
    check_authorities,
    check_chain,
    utc_now,
)

DEFAULT = "default"
"""The name of the certificate in a directory that clients get if they ask for an unknown name, or
for none. If no certificate has this name, they get the first by name."""

ReadT = TypeVar("ReadT")

_log = Logger()


class CertificateSettings(TypedDict, total=False):
    """The keywords of :class:`Certificates`, for functions that pass them on."""

    client_ca: str | None
    optional_client_certificate: bool
    alpn: Iterable[bytes]
    keylog: str | None
    min_tls: str
    ticket_key: str | None
    allow_expired: bool
    now: Callable[[], datetime.datetime]


@implementer(IOpenSSLServerConnectionCreator)
class Certificates(AnyInterface):
    """A server's certificates, its TLS settings, and the contexts made from both.

    A client gets the certificate for the name that it asks for (SNI). A certificate with the name
    itself is preferred to a wildcard; among several, the one that expires last is used. Connections
    keep the certificate that they began with, even after a reload.

    :param source: the source of the certificates.
    :param client_ca: a PEM file; clients must then have a certificate that one of these has signed.
    :param optional_client_certificate: clients without a certificate are accepted too. One that
        none of ``client_ca`` has signed is refused all the same. See
        :func:`~twisted_net.tls.key_pairs.peer_subject`.
    :param alpn: the application protocols, best first. A client that offers only others is
        rejected; one that offers none is accepted (RFC 7301, 3.2).
    :param keylog: a file for the keys of all connections, for Wireshark; see
        :class:`~twisted_net.tls.contexts.KeyLog`.
    :param min_tls: the oldest version of TLS, ``"1.2"`` or ``"1.3"``.
    :param ticket_key: a file with the key of session tickets, for processes that share it; see
        :func:`~twisted_net.tls.ticket_keys.load_ticket_key`.
    :param allow_expired: use certificates that have expired, or are not valid yet.
    :param now: returns the time, with a time zone, by which certificates are valid.
    :raises CertificateError: no certificate can be used.
    :raises ValueError: ``min_tls`` is unknown, ``alpn`` is no list of bytes, or
        ``optional_client_certificate`` has no ``client_ca``.
    :ivar pairs: the certificates in use.
    """

    def __init__(
        self,
        source: Source,
        *,
        client_ca: str | None = None,
        optional_client_certificate: bool = False,
        alpn: Iterable[bytes] = (),
        keylog: str | None = None,
        min_tls: str = "1.2",
        ticket_key: str | None = None,
        allow_expired: bool = False,
        now: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        if optional_client_certificate and client_ca is None:
            raise ValueError("optional_client_certificate: requires client_ca")
        self.source = source
        self.pairs: Mapping[Place, KeyPair] = {}
        self._client_ca = _absolute(client_ca)
        self._ticket_key = _absolute(ticket_key)
        self._allow_expired = allow_expired
        self._now = now
        self._expiry = ExpiryWarnings()
        self._rules = TLSSettings(
            alpn=check_alpn(alpn),
            keylog=None if keylog is None else KeyLog(keylog),
            optional=optional_client_certificate,
            min_tls=check_min_tls(min_tls),
        )
        self._contexts: dict[Place, SSL.Context] = {}
        self._told: set[str] = set()  # lines logged at the last load
        self._known: set[str] = set()  # lines logged at the load before
        self._seen: Stamp = ()
        self._read_as: Stamp | None = None  # the files that were read last; None: read them again
        self._read()

    @classmethod
    def from_files(
        cls,
        cert: str,
        key: str,
        *,
        passphrase: Passphrase | None = None,
        **rules: Unpack[CertificateSettings],
    ) -> Self:
        """Use one certificate.

        :param cert: a PEM file with the certificate, followed by its chain.
        :param key: a PEM file with the private key; it may be the same file.
        :param passphrase: the key's passphrase, or a function that returns it. It is called each
            time that an encrypted key is read.
        :param rules: the keywords of the class.
        :raises CertificateError: the certificate or the key cannot be used.
        """
        return cls(Files(cert, key, passphrase), **rules)

    @classmethod
    def from_directory(
        cls,
        path: str,
        *,
        passphrase: Passphrase | None = None,
        **rules: Unpack[CertificateSettings],
    ) -> Self:
        """Use all certificates of a directory; see :mod:`~twisted_net.tls.certificate_files`.

        Certificates that cannot be used are logged and skipped.

        :param passphrase: of the keys that are encrypted, as in :meth:`from_files`.
        :param rules: the keywords of the class.
        :raises CertificateError: no certificate can be used.
        """
        return cls(Directory(path, passphrase), **rules)

    @classmethod
    def from_pair(cls, pair: KeyPair, name: str, **rules: Unpack[CertificateSettings]) -> Self:
        """Use a certificate that is not in a file, such as a self-signed one.

        :param name: its name in the log.
        :param rules: the keywords of the class.
        """
        return cls(Fixed(pair, name), **rules)

    @classmethod
    def from_pem(
        cls,
        cert: str | bytes,
        key: str | bytes,
        *,
        passphrase: Passphrase | None = None,
        **rules: Unpack[CertificateSettings],
    ) -> Self:
        """Use a certificate and key in PEM form that are not in files, such as those of a vault.

        :param cert: the certificate, followed by its chain.
        :param passphrase: as in :meth:`from_files`.
        :param rules: the keywords of the class.
        :raises CertificateError: the certificate or the key cannot be used.
        """
        pair = parse_pair(
            cert.encode() if isinstance(cert, str) else cert,
            key.encode() if isinstance(key, str) else key,
            passphrase=partial(passphrase_bytes, passphrase),
        )
        return cls.from_pair(pair, "PEM", **rules)

    @classmethod
    def self_signed(cls, **rules: Unpack[CertificateSettings]) -> Self:
        """Make a self-signed certificate for this machine: for development only.

        :param rules: the keywords of the class.
        """
        pair = self_signed_pair(datetime.datetime.now(datetime.UTC))
        return cls.from_pair(pair, "self-signed", **rules)

    @property
    def from_disk(self) -> bool:
        """Whether anything comes from files, which may change."""
        files = (self._client_ca, self._ticket_key)
        return files != (None, None) or not isinstance(self.source, Fixed)

    @property
    def pem(self) -> bytes:
        """All certificates in PEM form, without keys, for clients to trust."""
        return b"".join(pair.pem for pair in self.pairs.values())

    # For Twisted.

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Return a new server-side OpenSSL connection."""
        return ServerConnection(self._first)

    # Renewal.

    def reload(self) -> bool:
        """Read everything again, as on SIGHUP. Certificates that cannot be used stay as they were.

        Each certificate that is new or cannot be used is logged.

        :return: whether anything is new.
        """
        self._told.clear()  # an explicit reload logs everything
        return self._reload()

    def look(self) -> bool:
        """Reload if a file has changed, and has not changed again since the last check.

        What could not be read for a reason that may pass is read again at each check.

        :return: whether anything is new.
        """
        seen = self._stamp()
        steady, self._seen = seen == self._seen, seen
        return steady and seen != self._read_as and self._reload()

    def rotate_tickets(self) -> None:
        """Use a new key for session tickets from now on, and reject older tickets."""
        self._first = self._make_first(self.pairs, self._contexts, self._rules)

    def use_ticket_key(self, key: bytes) -> None:
        """Use a key for session tickets from now on that other processes have as well.

        :param key: see :func:`~twisted_net.tls.ticket_keys.load_ticket_key`.
        :raises TicketKeysUnsupported: OpenSSL is one whose key cannot be set.
        """
        rules = replace(self._rules, ticket_key=key)
        self._first = self._make_first(self.pairs, self._contexts, rules)
        self._rules = rules

    def warn_of_expiry(self) -> None:
        """Log which certificates expire within 14 days, or have expired: each once a day."""
        self._expiry.tell(dated_certificates(self.pairs, self._rules.roots), self._now())

    def _reload(self) -> bool:
        self._known, self._told = self._told, set()
        try:
            changed = self._read()
        except CertificateError as error:
            self._tell(f"The certificates stay as they were: {error.path}: {error}")
            return False
        if not changed and not self._told:
            _log.info("The certificates are the same as before")
        return changed

    def _stamp(self) -> Stamp:
        return stamp(self.source, self._client_ca or "", self._ticket_key or "")

    def _read(self) -> bool:
        """Read everything, and then use every certificate that can be used.

        If a passing error, or one that nobody foresaw, stood in the way, the next :meth:`look`
        reads everything again.

        :return: whether anything is new.
        :raises CertificateError: none can be used; then nothing changes.
        """
        self._seen = self._stamp()
        self._read_as = None
        failures: list[CertificateError] = []
        try:
            changed = self._read_all(failures)
        except CertificateError as error:
            self._count_as_read([*failures, error])
            raise
        self._count_as_read(failures)
        return changed

    def _count_as_read(self, failures: Sequence[CertificateError]) -> None:
        if not any(error.passing for error in failures):
            self._read_as = self._seen

    def _read_all(self, failures: list[CertificateError]) -> bool:
        """Do what :meth:`_read` does, and add each certificate's error to ``failures``."""
        rules = self._read_rules(failures)
        pairs: dict[Place, KeyPair] = {}
        contexts: dict[Place, SSL.Context] = {}
        for place in self.source.find():
            try:
                pairs[place], contexts[place] = self._use(place, rules)
            except CertificateError as error:
                failures.append(error)
                self._tell_failure(place, error)
                if place in self.pairs:
                    pairs[place] = self.pairs[place]
                    contexts[place] = self._context(place, pairs[place], rules)
        if not pairs:
            raise self.source.nothing(failures)
        if pairs == self.pairs and rules == self._rules and self._contexts:
            return False
        first = self._make_first(pairs, contexts, rules)
        if rules.ticket_key and rules.ticket_key != self._rules.ticket_key:
            announce_ticket_key(rules.ticket_key)
        old, self.pairs = self.pairs, pairs
        self._contexts, self._rules, self._first = contexts, rules, first
        if self.from_disk:
            announce_certificates(old, pairs)
        self.warn_of_expiry()
        return True

    def _read_rules(self, failures: list[CertificateError]) -> TLSSettings:
        """Read what is not a certificate of the server. What cannot be used stays as it was.

        :raises CertificateError: it cannot be used, and there is none from before.
        """
        roots = self._fresh(self._client_ca, self._read_authorities, failures)
        key = self._fresh(self._ticket_key, load_ticket_key, failures)
        old = self._rules
        return replace(old, roots=roots or old.roots, ticket_key=key or old.ticket_key)

    def _fresh(
        self,
        path: str | None,
        read: Callable[[str], ReadT],
        failures: list[CertificateError],
    ) -> ReadT | None:
        """Read a file; None if there is none, or if it cannot be used and there is an old one."""
        if path is None:
            return None
        try:
            return read(path)
        except CertificateError as error:
            if not self.pairs:
                raise
            failures.append(error)
            self._tell(f"The --{error.what} stays as it was: {error.path}: {error}")
            return None

    def _read_authorities(self, path: str) -> tuple[x509.Certificate, ...]:
        found = load_certificates("client-ca", path)
        if not self._allow_expired:
            check_authorities("client-ca", path, found, self._now())
        return found

    def _use(self, place: Place, rules: TLSSettings) -> tuple[KeyPair, SSL.Context]:
        pair = self.source.load(place)
        if not self._allow_expired:
            check_chain("cert", place.cert or place.name, pair, self._now())
        try:
            return pair, self._context(place, pair, rules)
        except SSL.Error as error:
            said = f"OpenSSL refuses it: {openssl_text(error)}"
            raise CertificateError("cert", place.cert, said) from None

    def _context(self, place: Place, pair: KeyPair, rules: TLSSettings) -> SSL.Context:
        """Return the context of a place, the existing one if nothing has changed."""
        if rules == self._rules and self.pairs.get(place) == pair:
            return self._contexts[place]
        return make_context(pair, rules)

    @staticmethod
    def _make_first(
        pairs: Mapping[Place, KeyPair], contexts: Mapping[Place, SSL.Context], rules: TLSSettings
    ) -> SSL.Context:
        default = next((place for place in pairs if place.name == DEFAULT), next(iter(pairs)))
        named: dict[bytes, SSL.Context] = {}
        if len(pairs) > 1:
            # Sorting is stable: among several that expire last, the first by name is used.
            for place in sorted(pairs, key=lambda each: pairs[each].expires, reverse=True):
                for name in pairs[place].names:
                    named.setdefault(name.encode(), contexts[place])
        return make_first_context(pairs[default], rules, named)

    # The log.

    def _tell_failure(self, place: Place, error: CertificateError) -> None:
        kept = "stays as it was" if place in self.pairs else "is passed over"
        self._tell(f"Certificate {place.name} {kept}: {error.path}: {error}")

    def _tell(self, line: str) -> None:
        if line not in self._known:
            _log.error("{line}", line=line)
        self._told.add(line)


def _absolute(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(path)  # twistd changes directories
