"""OpenSSL contexts for servers: protocol versions, ciphers and options.

They allow TLS 1.2 and 1.3 with forward secrecy only, like Mozilla's "intermediate" configuration
and RFC 9325, without compression, renegotiation or early data.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from twisted_net.eager.privates import limit_groups
from twisted_net.eager.session_tickets import set_ticket_key
from twisted_net.interfaces import application_protocols
from twisted_net.tls.key_pairs import CIPHERS, CertificateError, KeyPair

TICKET_LIFETIME = 2 * 60 * 60
"""Seconds for which a session can be resumed: OpenSSL's default, made explicit."""

TLS_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
"""The versions of TLS that may be the oldest of a server or client."""

# ssl.h, since OpenSSL 1.1.1; pyOpenSSL does not define it. A client that prefers ChaCha20 has no
# hardware AES.
_OP_PRIORITIZE_CHACHA = 1 << 21

# Mozilla's three, preceded by the hybrid one. After the slash come lesser groups: a client that
# supports the hybrid but guessed another is asked again. OpenSSL's own list also has P-521, X448
# and finite fields. They add no security, and a client may choose the most expensive
# (CVE-2022-40735): the server's part of a handshake took 0.24 ms with X25519, 0.33 ms with the
# hybrid, 1.9 ms with ffdhe3072.
_GROUPS = (
    b"X25519MLKEM768/X25519:P-256/P-384",
    b"X25519:P-256:P-384",  # OpenSSL before 3.5
)

_OPTIONS = (
    SSL.OP_NO_COMPRESSION
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    | _OP_PRIORITIZE_CHACHA
)

_log = Logger()


class KeyLog:
    """A file with the keys of all connections, for Wireshark. Its readers can decrypt everything.

    The environment variable SSLKEYLOGFILE is ignored: a forgotten variable must not disable the
    encryption.

    :param path: the file; created with mode 0600, appended to.
    :raises CertificateError: it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._failed = False
        try:
            self._append(b"")
        except OSError as error:
            raise CertificateError("keylog", path, error.strerror or str(error)) from None
        _log.warn("The keys of all TLS connections are written to {path}", path=self.path)

    def write(self, connection: SSL.Connection, line: bytes) -> None:
        """Append a line. A full disk does not end connections, and is logged once."""
        try:
            self._append(line + b"\n")
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.error("Keys cannot be logged: {error}", error=error)
            self._failed = True

    def _append(self, data: bytes) -> None:
        # Opened for each line, so that logrotate works.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """The TLS settings of all connections of a server, whatever their certificate.

    :ivar roots: clients need a certificate that one of these has signed; empty: they need none.
    :ivar alpn: the application protocols, best first (RFC 7301).
    :ivar optional: whether clients without a certificate are accepted too.
    :ivar min_tls: the oldest version of TLS: one of :data:`TLS_VERSIONS`.
    :ivar ticket_key: the key of session tickets; None: each first context makes its own.
    """

    roots: tuple[x509.Certificate, ...] = ()
    alpn: tuple[bytes, ...] = ()
    keylog: KeyLog | None = None
    optional: bool = False
    min_tls: str = "1.2"
    ticket_key: bytes | None = field(default=None, repr=False)  # a secret


def parse_tls_version(text: str) -> str:
    """Check the name of a version of TLS.

    :raises ValueError: it is not one of :data:`TLS_VERSIONS`.
    """
    if text not in TLS_VERSIONS:
        raise ValueError(f"must be {' or '.join(TLS_VERSIONS)}")
    return text


def check_min_tls(version: str) -> str:
    """Return the name of a version of TLS, if it is one of :data:`TLS_VERSIONS`.

    :raises ValueError: it is not.
    """
    if version not in TLS_VERSIONS:
        known = " or ".join(map(repr, TLS_VERSIONS))
        raise ValueError(f"min_tls: must be {known}, not {version!r}")
    return version


def check_alpn(alpn: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return the names of application protocols.

    :raises ValueError: they are not of 1 to 255 bytes each (RFC 7301, 3.1).
    """
    names = alpn if isinstance(alpn, str | bytes) else tuple(alpn)
    if isinstance(names, str | bytes):
        raise ValueError(f"alpn: must be a list such as [b'h2'], not {names!r}")
    for each in names:
        if not isinstance(each, bytes) or not 0 < len(each) < 256:
            raise ValueError(f"alpn: must be 1 to 255 bytes each, such as b'h2', not {each!r}")
    return names


def make_context(pair: KeyPair, rules: TLSSettings) -> SSL.Context:
    """Make a context with one certificate.

    :raises SSL.Error: OpenSSL rejects the certificate or the key.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(TLS_VERSIONS[rules.min_tls])
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection keeps no buffers
    context.set_cipher_list(CIPHERS.encode())
    limit_groups(context, _GROUPS)  # with an unknown pyOpenSSL, OpenSSL's own list stays
    context.use_certificate(pair.chain[0])
    for each in pair.chain[1:]:
        context.add_extra_chain_cert(each)
    context.use_privatekey(pair.key)
    context.check_privatekey()
    # Tickets keep the sessions at the clients, so nothing is stored here for those that never
    # return.
    context.set_session_id(_session_id(rules))
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_timeout(TICKET_LIFETIME)
    if rules.roots:
        _request_certificates(context, rules)
    context.set_alpn_select_callback(_alpn_selection(rules.alpn))
    if rules.keylog is not None:
        context.set_keylog_callback(rules.keylog.write)
    return context


def make_first_context(
    pair: KeyPair, rules: TLSSettings, named: Mapping[bytes, SSL.Context]
) -> SSL.Context:
    """Make the context in which connections begin. It has its own keys for session tickets.

    :param pair: the certificate for clients that ask for an unknown name, or for none.
    :param named: the contexts of other names; ``*.example.org`` also matches ``a.example.org``.
    :raises SSL.Error: as :func:`make_context`.
    """
    context = make_context(pair, rules)
    if rules.ticket_key is not None:
        set_ticket_key(context, rules.ticket_key)

    def pick(connection: SSL.Connection) -> None:
        name = (connection.get_servername() or b"").lower().removesuffix(b".")
        found = named.get(name) or named.get(b"*." + name.partition(b".")[2])
        if found is not None:
            connection.set_context(found)

    if named:
        context.set_tlsext_servername_callback(pick)
    return context


class ServerConnection(SSL.Connection):
    """A connection that keeps the context in which it began alive.

    After SNI has picked another context, a client that has to send a second ClientHello (RFC 8446,
    4.1.4) makes OpenSSL call back into the first one. By then the first may have been replaced, and
    pyOpenSSL would have freed the callback.
    """

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context)
        self.began_in = context


def _session_id(rules: TLSSettings) -> bytes:
    """Return the session id context: a session is resumed only in contexts that have the same.

    All contexts of a server have the same one, because a session that began in one is resumed
    before SNI has picked another. Servers that share a ticket key but not the demands on their
    clients have another: otherwise a session of the one would do without a certificate at the
    other.
    """
    demands = hashlib.sha256(b"optional" if rules.optional else b"")
    for each in rules.roots:
        demands.update(each.fingerprint(hashes.SHA256()))
    return demands.digest()  # 32 bytes, as many as there may be


def _request_certificates(context: SSL.Context, rules: TLSSettings) -> None:
    store = context.get_cert_store()
    assert store is not None
    for each in rules.roots:
        store.add_cert(crypto.X509.from_cryptography(each))
        context.add_client_ca(each)
    # An intermediate CA may be given without its root: then only its clients are accepted.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    # A certificate that nobody vouches for is refused even where none is needed: otherwise it
    # could be taken for a good one, also when its session is resumed.
    needed = 0 if rules.optional else SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_CLIENT_ONCE | needed)


def _alpn_selection(own: tuple[bytes, ...]) -> Callable[[SSL.Connection, list[bytes]], Any]:
    """Return the callback that selects the application protocol (RFC 7301, 3.2).

    As in Twisted's own, the protocols of the wrapped factory come first, if it has any. Unlike
    there, the handshake fails with an alert if there is no overlap, and a server without protocols
    of its own ignores those of the client.
    """

    def select(connection: SSL.Connection, offered: list[bytes]) -> Any:
        accepted = _of_factory(connection.get_app_data()) + own
        if not accepted:
            return SSL.NO_OVERLAPPING_PROTOCOLS
        for each in accepted:
            if each in offered:
                return each
        # An exception here is sent as the alert, and becomes the error of the handshake.
        raise SSL.Error([("SSL routines", "", "no application protocol")])

    return select


def _of_factory(protocol: Any) -> tuple[bytes, ...]:
    factory = getattr(getattr(protocol, "factory", None), "wrappedFactory", None)
    return tuple(application_protocols(factory))
