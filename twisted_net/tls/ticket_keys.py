"""The key of session tickets that several processes share, in a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.logger import Logger

from twisted_net.eager.session_tickets import (
    TICKET_KEY_BYTES,
    TicketKeysUnsupported,
    check_supported,
)
from twisted_net.tls.key_pairs import CertificateError

TICKET_KEY = "ticket-key"

_log = Logger()


def load_ticket_key(path: str) -> bytes:
    """Read a file with one ticket key: 80 random bytes, as nginx's ``ssl_session_ticket_key``.

    The first 16 bytes are the key's name, which each ticket contains. The next 32 authenticate the
    tickets, and the last 32 encrypt them (RFC 5077, section 4).

    :raises CertificateError: the file cannot be read, has another size, or OpenSSL is one whose
        key cannot be set.
    """
    try:
        data = Path(path).read_bytes()
        mode = os.stat(path).st_mode
    except OSError as error:
        raise CertificateError.from_os(TICKET_KEY, path, error) from None
    if len(data) != TICKET_KEY_BYTES:
        said = f"must have {TICKET_KEY_BYTES} random bytes, not {len(data)}"
        raise CertificateError(TICKET_KEY, path, f"{said}: openssl rand {TICKET_KEY_BYTES}")
    if len(set(data)) < 16:  # 80 random bytes have about 69 different ones
        raise CertificateError(TICKET_KEY, path, "is not random")
    try:
        check_supported()
    except TicketKeysUnsupported as error:
        raise CertificateError(TICKET_KEY, path, f"cannot be used: {error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        _log.warn("Others can use the key of session tickets, {path}: chmod 640", path=path)
    return data
