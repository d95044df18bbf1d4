"""OpenSSL contexts for servers: what is spoken, and what is not.

TLS 1.2 and 1.3 with forward secrecy only, as Mozilla's "intermediate" configuration and RFC 9325.
No compression, no renegotiation, no early data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.logger import Logger

from twisted_net.eager.privates import limit_groups
from twisted_net.tls.key_pairs import CIPHERS, CertificateError, KeyPair

TICKET_LIFETIME = 2 * 60 * 60
"""Seconds for which a session can be resumed: OpenSSL's own default, said aloud."""

# The same in all contexts: a session that began in one is resumed before the name has picked
# another. With client certificates, OpenSSL resumes nothing without one. The keys of the tickets
# are what keeps the sessions of different services apart, and each first context has its own.
_SESSION_ID = b"twisted_net"

# ssl.h, since OpenSSL 1.1.1; pyOpenSSL does not name it. A client that would rather have ChaCha20
# has no fast AES.
_OP_PRIORITIZE_CHACHA = 1 << 21

# Mozilla's three, and before them the hybrid one: the slash has a client asked again that knows it
# but guessed another. OpenSSL's own list has P-521, X448 and finite fields besides. They make
# nobody safer, and a client may choose what costs most (CVE-2022-40735): the server's half of a
# handshake took 0.24 ms with X25519, 0.33 with the hybrid, 1.9 with ffdhe3072.
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
    """A file with the keys of every connection, for Wireshark: whoever has it reads everything.

    The environment variable SSLKEYLOGFILE is not looked at: a variable that was left behind must
    not undo the encryption.

    :param path: the file; made with mode 0600, appended to.
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
        """Append a line. A disk that is full does not end connections, and is told once."""
        try:
            self._append(line + b"\n")
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.error("Keys cannot be logged: {error}", error=error)
            self._failed = True

    def _append(self, data: bytes) -> None:
        # Opened each time, for logrotate's sake.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """What holds for all connections of a server, whichever certificate they are shown.

    :ivar roots: clients need a certificate that one of these has signed; empty: they need none.
    :ivar alpn: the application's protocols, best first (RFC 7301).
    """

    roots: tuple[x509.Certificate, ...] = ()
    alpn: tuple[bytes, ...] = ()
    keylog: KeyLog | None = None


def make_context(pair: KeyPair, rules: TLSSettings) -> SSL.Context:
    """Make a context that shows one certificate.

    :raises SSL.Error: OpenSSL refuses the certificate or the key.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection keeps no buffers
    context.set_cipher_list(CIPHERS.encode())
    limit_groups(context, _GROUPS)  # with an unknown pyOpenSSL it is OpenSSL's own list again
    context.use_certificate(pair.chain[0])
    for each in pair.chain[1:]:
        context.add_extra_chain_cert(each)
    context.use_privatekey(pair.key)
    context.check_privatekey()
    # Sessions live in tickets, with the clients: nothing is kept here for those that never return.
    context.set_session_id(_SESSION_ID)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_timeout(TICKET_LIFETIME)
    if rules.roots:
        _demand_certificates(context, rules.roots)
    context.set_alpn_select_callback(_alpn_selection(rules.alpn))
    if rules.keylog is not None:
        context.set_keylog_callback(rules.keylog.write)
    return context


def make_first_context(
    pair: KeyPair, rules: TLSSettings, named: Mapping[bytes, SSL.Context]
) -> SSL.Context:
    """Make the context in which connections begin. The keys of the session tickets are its own.

    :param pair: the certificate for clients that ask for an unknown name, or for none.
    :param named: the contexts of other names; ``*.example.org`` is that of ``a.example.org``.
    :raises SSL.Error: as :func:`make_context`.
    """
    context = make_context(pair, rules)

    def pick(connection: SSL.Connection) -> None:
        name = (connection.get_servername() or b"").lower().removesuffix(b".")
        found = named.get(name) or named.get(b"*." + name.partition(b".")[2])
        if found is not None:
            connection.set_context(found)

    if named:
        context.set_tlsext_servername_callback(pick)
    return context


class ServerConnection(SSL.Connection):
    """A connection that keeps the context alive in which it began.

    After another was picked by name, a client that is asked for a second hello (RFC 8446, 4.1.4)
    has OpenSSL call back into the first; by then it may have been replaced, and pyOpenSSL would
    have freed the callback.
    """

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context)
        self.began_in = context


def _demand_certificates(context: SSL.Context, roots: Sequence[x509.Certificate]) -> None:
    store = context.get_cert_store()
    assert store is not None
    for each in roots:
        store.add_cert(crypto.X509.from_cryptography(each))
        context.add_client_ca(each)
    # An intermediate authority may stand alone: then its clients are let in, and no others.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT | SSL.VERIFY_CLIENT_ONCE)


def _alpn_selection(own: tuple[bytes, ...]) -> Callable[[SSL.Connection, list[bytes]], Any]:
    """Give what picks the application's protocol (RFC 7301, 3.2).

    As with Twisted's own, those of the wrapped factory come first, if it names any. Unlike there,
    no overlap ends the handshake with the alert for it, and a server without protocols of its own
    ignores those of the client.
    """

    def select(connection: SSL.Connection, offered: list[bytes]) -> Any:
        accepted = _of_factory(connection.get_app_data()) + own
        if not accepted:
            return SSL.NO_OVERLAPPING_PROTOCOLS
        for each in accepted:
            if each in offered:
                return each
        # What is raised here becomes the alert, and then the error of the handshake.
        raise SSL.Error([("SSL routines", "", "no application protocol")])

    return select


def _of_factory(protocol: Any) -> tuple[bytes, ...]:
    factory = getattr(getattr(protocol, "factory", None), "wrappedFactory", None)
    negotiating = IProtocolNegotiationFactory(factory, None)
    return () if negotiating is None else tuple(negotiating.acceptableProtocols())
