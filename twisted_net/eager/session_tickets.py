"""Sets the key with which OpenSSL encrypts session tickets, so that several processes share it.

OpenSSL offers ``SSL_CTX_set_tlsext_ticket_keys`` for this. pyOpenSSL does not pass it on, and in
cryptography's wheels OpenSSL is linked in without its names, so that ``ctypes`` cannot find it
either. But OpenSSL keeps the three parts of a key as plain bytes: the name in the context itself,
and behind it the address of the two secrets. We write there what the function would write.

Where that is depends on OpenSSL's version, so it is not assumed but found and proved, once in a
process. A ticket that OpenSSL makes has the name of its key in it (RFC 5077, section 4), so the
name is found in the context; and the secrets behind it are the right ones if they give the ticket's
authentication code and decrypt it. Nothing is written before that proof, and a second ticket proves
that OpenSSL uses what was written. If anything is not as expected, there is one error, and no byte
has changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import hashlib
import hmac
import os
import sys
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from OpenSSL import SSL, crypto

from twisted_net.eager.privates import context_address

TICKET_KEY_BYTES = 80
"""The size of a key: its name, the secret that authenticates, and the one that encrypts."""

_NAME, _SECRETS = 16, 64
_CODE = 32  # HMAC with SHA-256, at the end of a ticket
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_HANDSHAKE, _NEW_SESSION_TICKET = 22, 4
_SEARCHED = 4096  # bytes of a context; it has about 1,500


class TicketKeysUnsupported(Exception):
    """The ticket key of this OpenSSL cannot be set; the message says why."""


def check_supported() -> None:
    """Check that ticket keys can be set, once in a process.

    :raises TicketKeysUnsupported: they cannot.
    """
    _place_of_name()


def set_ticket_key(context: SSL.Context, key: bytes) -> None:
    """Make a context encrypt and accept session tickets with a key.

    :param key: :data:`TICKET_KEY_BYTES` bytes.
    :raises TicketKeysUnsupported: the key cannot be set.
    """
    if len(key) != TICKET_KEY_BYTES:
        raise ValueError(f"key: must have {TICKET_KEY_BYTES} bytes, not {len(key)}")
    _write(context, _place_of_name(), key)


def _write(context: SSL.Context, offset: int, key: bytes) -> None:
    address = _address_of(context) + offset
    secrets = int.from_bytes(ctypes.string_at(address + _NAME, _POINTER), sys.byteorder)
    ctypes.memmove(address, key, _NAME)
    ctypes.memmove(secrets, key[_NAME:], _SECRETS)


@cache
def _place_of_name() -> int:
    """Return the offset of the key's name in a context, once everything is proved.

    :raises TicketKeysUnsupported: it is not as expected.
    """
    context = _probe_context()
    offset = _find(context, _ticket_of(context))
    key = os.urandom(TICKET_KEY_BYTES)
    _write(context, offset, key)
    if not _is_of(_ticket_of(context), key):
        raise TicketKeysUnsupported("this OpenSSL does not use the key that was set")
    return offset


def _find(context: SSL.Context, ticket: bytes) -> int:
    address = _address_of(context)
    try:
        offset = _read_memory(address, _SEARCHED).find(ticket[:_NAME])
        if offset >= 0:
            behind = _read_memory(address + offset + _NAME, _POINTER)
            secrets = _read_memory(int.from_bytes(behind, sys.byteorder), _SECRETS)
            if _is_of(ticket, ticket[:_NAME] + secrets):
                return offset
    except (OSError, OverflowError) as error:
        raise TicketKeysUnsupported(f"OpenSSL's memory cannot be read: {error}") from None
    raise TicketKeysUnsupported("this OpenSSL keeps the key elsewhere")


def _address_of(context: SSL.Context) -> int:
    address = context_address(context)
    if address is None:
        raise TicketKeysUnsupported("this pyOpenSSL is unknown")
    return address


def _is_of(ticket: bytes, key: bytes) -> bool:
    """Whether a ticket was made with a key: by its name, its authentication and its encryption."""
    authenticating, encrypting = key[_NAME : _NAME + 32], key[_NAME + 32 :]
    code = hmac.digest(authenticating, ticket[:-_CODE], hashlib.sha256)
    return (
        ticket[:_NAME] == key[:_NAME]
        and hmac.compare_digest(code, ticket[-_CODE:])
        and _is_session(_decrypted(ticket, encrypting))
    )


def _decrypted(ticket: bytes, key: bytes) -> bytes:
    """Return the content of a ticket (RFC 5077, section 4); nonsense for another key."""
    vector, content = ticket[_NAME : _NAME + 16], ticket[_NAME + 16 : -_CODE]
    if not content or len(content) % 16:
        return b""
    decryptor = Cipher(algorithms.AES256(key), modes.CBC(vector)).decryptor()
    padded = decryptor.update(content) + decryptor.finalize()
    return padded[: -padded[-1]]


def _is_session(data: bytes) -> bool:
    """Whether bytes are one sequence in DER, as OpenSSL writes a session (X.690, 8.1 and 8.9)."""
    if len(data) < 2 or data[0] != 0x30:
        return False
    size, begin = data[1], 2
    if size > 0x80:
        begin += size - 0x80
        size = int.from_bytes(data[2:begin], "big")
    return begin + size == len(data)


def _read_memory(address: int, size: int) -> bytes:
    """Read this process's memory. An address that is none is an error, and not a crash.

    :return: fewer bytes if the memory ends before.
    :raises OSError: there is no memory at this address, or no ``/proc``.
    """
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), size, address)


def _probe_context() -> SSL.Context:
    """Return a server's context that gives tickets to everybody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(crypto.X509.from_cryptography(certificate))
    context.use_privatekey(crypto.PKey.from_cryptography_key(key))
    return context


def _ticket_of(context: SSL.Context) -> bytes:
    """Shake hands in memory, and return the ticket that the server sends.

    In TLS 1.2 it is sent before encryption begins, so that it can be read on the way.

    :raises TicketKeysUnsupported: there is none.
    """
    old = SSL.Context(SSL.TLS_CLIENT_METHOD)
    old.set_max_proto_version(SSL.TLS1_2_VERSION)
    client, server = SSL.Connection(old), SSL.Connection(context)
    client.set_connect_state()
    server.set_accept_state()
    said = b""
    for side, other in ((client, server), (server, client)) * 3:
        with contextlib.suppress(SSL.WantReadError):
            side.do_handshake()
        with contextlib.suppress(SSL.WantReadError):
            data = side.bio_read(1 << 16)
            said += data if side is server else b""
            other.bio_write(data)
    ticket = _ticket_in(said)
    if ticket is None:
        raise TicketKeysUnsupported("OpenSSL makes no session tickets")
    return ticket


def _ticket_in(records: bytes) -> bytes | None:
    """Return the ticket in a server's records (RFC 5246, 6.2.1; RFC 5077, 3.3)."""
    while len(records) > 5:
        size = int.from_bytes(records[3:5], "big")
        kind, message = records[0], records[5 : 5 + size]
        if kind == _HANDSHAKE and message[0] == _NEW_SESSION_TICKET:
            ticket = message[10:]  # after type and length, lifetime, and length
            return ticket if len(ticket) > _NAME + _CODE else None
        records = records[5 + size :]
    return None
