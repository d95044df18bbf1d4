"""A server's certificates: picked by name, renewed while it runs.

::

    certificates = Certificates.from_directory("/etc/letsencrypt/live")
    endpoint = TLSServerEndpoint(serverFromString(eager(reactor), "tcp:8443"), certificates)
    watch = CertificateWatch([certificates], reactor)

:class:`Certificates` also goes where Twisted takes its ``CertificateOptions``.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Self, TypedDict, Unpack

from OpenSSL import SSL
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from twisted_net.interfaces import AnyInterface
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
    make_context,
    make_first_context,
)
from twisted_net.tls.key_pairs import (
    CertificateError,
    KeyPair,
    load_certificates,
    openssl_text,
    self_signed_pair,
)

LOOK_EVERY = 5.0
"""Seconds between two looks at the files. What has changed is read at the second look that finds
it the same, so a renewal is there after at most twice as many: ``certbot`` switches its links one
after another, and for a moment a key belongs to no certificate."""

ROTATE_TICKETS_EVERY = 12 * 60 * 60
"""Seconds until session tickets are made with a new key, as in Caddy. The old key is thrown away:
who steals the new one reads nothing older, and who comes back with an older ticket makes a full
handshake."""

DEFAULT = "default"
"""The certificate of a directory that clients get who ask for an unknown name, or for none. Where
there is no such one: the first by name."""

_log = Logger()


class CertificateSettings(TypedDict, total=False):
    """The keywords of :class:`Certificates`, for those who pass them on."""

    client_ca: str | None
    alpn: Iterable[bytes]
    keylog: str | None


@implementer(IOpenSSLServerConnectionCreator)
class Certificates(AnyInterface):
    """A server's certificates, its rules for TLS, and the contexts made of both.

    A client gets the certificate that has the name it asks for (SNI); before one with a wildcard,
    one with the name itself; and of several, the one that expires last. Connections keep what they
    began with, whatever is reloaded meanwhile.

    :param source: where the certificates are.
    :param client_ca: a PEM file; clients must then have a certificate that one of these has signed.
    :param alpn: the application's protocols, best first. A client that offers others alone is
        refused; one that offers none is not (RFC 7301, 3.2).
    :param keylog: a file for the keys of all connections, to be read by Wireshark; see
        :class:`~twisted_net.tls.contexts.KeyLog`.
    :raises CertificateError: nothing that can be used.
    :ivar pairs: the certificates that are used now.
    """

    def __init__(
        self,
        source: Source,
        *,
        client_ca: str | None = None,
        alpn: Iterable[bytes] = (),
        keylog: str | None = None,
    ) -> None:
        self.source = source
        self.pairs: Mapping[Place, KeyPair] = {}
        self._client_ca = client_ca
        self._rules = TLSSettings(
            alpn=tuple(alpn), keylog=None if keylog is None else KeyLog(keylog)
        )
        self._contexts: dict[Place, SSL.Context] = {}
        self._told: set[str] = set()  # of the last time that everything was read
        self._known: set[str] = set()  # of the time before
        self._read_as = self._seen = self._stamp()
        self._read()

    @classmethod
    def from_files(cls, cert: str, key: str, **rules: Unpack[CertificateSettings]) -> Self:
        """Use one certificate.

        :param cert: a PEM file with the certificate, and after it those that lead to a root.
        :param key: one with its private key, not encrypted; it may be the same.
        :param rules: as the class takes them.
        :raises CertificateError: nothing that can be used.
        """
        return cls(Files(cert, key), **rules)

    @classmethod
    def from_directory(cls, path: str, **rules: Unpack[CertificateSettings]) -> Self:
        """Use all certificates of a directory; see :mod:`~twisted_net.tls.certificate_files`.

        What cannot be used has a line in the log, and is passed over.

        :param rules: as the class takes them.
        :raises CertificateError: nothing that can be used.
        """
        return cls(Directory(path), **rules)

    @classmethod
    def from_pair(cls, pair: KeyPair, name: str, **rules: Unpack[CertificateSettings]) -> Self:
        """Use a certificate that is in no file, such as a self-signed one.

        :param name: what to call it in the log.
        :param rules: as the class takes them.
        """
        return cls(Fixed(pair, name), **rules)

    @classmethod
    def self_signed(cls, **rules: Unpack[CertificateSettings]) -> Self:
        """Make a certificate for this machine that nobody has signed: for development only.

        :param rules: as the class takes them.
        """
        pair = self_signed_pair(datetime.datetime.now(datetime.UTC))
        return cls.from_pair(pair, "self-signed", **rules)

    @property
    def from_disk(self) -> bool:
        """Whether there are files that may change."""
        return not isinstance(self.source, Fixed)

    @property
    def pem(self) -> bytes:
        """All certificates in PEM form, without keys: what a client needs to trust them."""
        return b"".join(pair.pem for pair in self.pairs.values())

    # For Twisted.

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """Give OpenSSL's side of a connection that begins."""
        return ServerConnection(self._first)

    # Renewal.

    def reload(self) -> bool:
        """Read everything again, as on SIGHUP. What cannot be used stays as it was.

        Each certificate that is new has a line in the log, and so has each that cannot be used.

        :return: whether anything is new.
        """
        self._told.clear()  # who asks is to be answered
        return self._reload()

    def look(self) -> bool:
        """Read everything again if a file has changed and has stayed the same since the last look.

        :return: whether anything is new.
        """
        seen = self._stamp()
        steady, self._seen = seen == self._seen, seen
        return steady and seen != self._read_as and self._reload()

    def rotate_tickets(self) -> None:
        """Make the session tickets from now on with a new key, and take no older ones."""
        self._first = self._make_first(self.pairs, self._contexts, self._rules)

    def _reload(self) -> bool:
        self._read_as = self._seen = self._stamp()
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
        return stamp(self.source, *([] if self._client_ca is None else [self._client_ca]))

    def _read(self) -> bool:
        """Read all, and then use all that can be used.

        :return: whether anything is new.
        :raises CertificateError: nothing can; nothing has changed.
        """
        rules = self._read_rules()
        pairs: dict[Place, KeyPair] = {}
        contexts: dict[Place, SSL.Context] = {}
        failures: list[CertificateError] = []
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
        old, self.pairs = self.pairs, pairs
        self._contexts, self._rules, self._first = contexts, rules, first
        if self.from_disk:
            _announce(old, pairs)
        return True

    def _read_rules(self) -> TLSSettings:
        old = self._rules
        if self._client_ca is None:
            return old
        return TLSSettings(load_certificates("client-ca", self._client_ca), old.alpn, old.keylog)

    def _use(self, place: Place, rules: TLSSettings) -> tuple[KeyPair, SSL.Context]:
        pair = self.source.load(place)
        try:
            return pair, self._context(place, pair, rules)
        except SSL.Error as error:
            said = f"OpenSSL refuses it: {openssl_text(error)}"
            raise CertificateError("cert", place.cert, said) from None

    def _context(self, place: Place, pair: KeyPair, rules: TLSSettings) -> SSL.Context:
        """Give a place's context: the one there is, if nothing has changed."""
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
            # Sorting keeps the order of equals: of several that expire last, it is the first.
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


class CertificateWatch(Service):
    """Looks for renewed certificates while it runs, and changes the keys of session tickets.

    :param certificates: whose.
    :param clock: the time, such as a reactor.
    :param look_every: seconds; see :data:`LOOK_EVERY`.
    :param rotate_every: seconds; see :data:`ROTATE_TICKETS_EVERY`.
    """

    def __init__(
        self,
        certificates: Sequence[Certificates],
        clock: IReactorTime,
        *,
        look_every: float = LOOK_EVERY,
        rotate_every: float = ROTATE_TICKETS_EVERY,
    ) -> None:
        self.certificates = certificates
        self._looking = LoopingCall(self._each, "look")
        self._rotating = LoopingCall(self._each, "rotate_tickets")
        self._every = ((self._looking, look_every), (self._rotating, rotate_every))
        self._looking.clock = self._rotating.clock = clock

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        for loop, seconds in self._every:
            loop.start(seconds, now=False)

    def stopService(self) -> Deferred[None] | None:
        for loop, _ in self._every:
            if loop.running:
                loop.stop()
        super().stopService()  # type: ignore[no-untyped-call]
        return None

    def _each(self, what: str) -> None:
        for each in self.certificates:
            try:
                getattr(each, what)()
            except Exception:  # the next look must come
                _log.failure("Certificates could not be looked after")


def _announce(old: Mapping[Place, KeyPair], new: Mapping[Place, KeyPair]) -> None:
    for place, pair in new.items():
        if old.get(place) != pair:
            _log.info(
                "Certificate {name} for {names}: expires {expires:%Y-%m-%d %H:%M} UTC, "
                "SHA-256 {fingerprint}",
                name=place.name,
                names=", ".join(pair.names) or "no host name",
                expires=pair.expires,
                fingerprint=pair.fingerprint,
            )
    for place in old:
        if place not in new:
            _log.info("Certificate {name} is gone", name=place.name)
