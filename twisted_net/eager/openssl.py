"""What OpenSSL can do on a socket, and pyOpenSSL does not offer.

Twisted's connection creators make pyOpenSSL connections over memory, configured as they see fit:
names, protocols, callbacks. :func:`put_on` gives such a connection a socket afterwards, as
pyOpenSSL itself does for those that are made with one. :func:`read` and :func:`write` are
pyOpenSSL's ``recv`` and ``send`` without a new buffer and a second call into OpenSSL each time,
which is a third of their cost for short messages.

:mod:`~twisted_net.eager.privates` lists what is used of pyOpenSSL beyond its public interface:
import this file only where it finds all of that.
"""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

_SSL_read, _SSL_write, _SSL_set_fd = lib.SSL_read, lib.SSL_write, lib.SSL_set_fd
_MODE = lib.SSL_MODE_ENABLE_PARTIAL_WRITE | lib.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER

RECORD = 16384
"""Bytes of the application in one record, at most (RFC 8446, 5.1)."""


def can_put_on(connection: object) -> bool:
    """Whether :func:`put_on` works for ``connection``: creators may make anything."""
    return isinstance(connection, SSL.Connection) and connection._socket is None


def is_on(connection: Any) -> bool:
    """Whether :func:`put_on` was called for ``connection``."""
    return connection._socket is not None


def put_on(connection: Any, sock: socket.socket) -> None:
    """Let a connection send and receive by ``sock``; nothing may be left in its memory."""
    # What is left of a record that the socket did not take may be given again at another address,
    # with more behind it.
    lib.SSL_set_mode(connection._ssl, _MODE)
    if _SSL_set_fd(connection._ssl, sock.fileno()) != 1:
        raise RuntimeError("OpenSSL does not take the socket")
    connection._socket = sock
    connection._into_ssl = connection._from_ssl = None  # OpenSSL has freed them


def take_off(connection: Any) -> None:
    """Let a connection use its socket no more, whose number will soon be another's."""
    if is_on(connection):
        _SSL_set_fd(connection._ssl, -1)
        connection._socket = None


def from_memory(connection: Any) -> bytes:
    """Give what a connection that is on no socket yet has to send."""
    try:
        data: bytes = connection.bio_read(1 << 20)
    except SSL.WantReadError:
        return b""
    return data


def buffer() -> Any:
    """Make what :func:`read` reads into. It must be one thread's alone."""
    return ffi.new("char[]", RECORD)


def read(connection: Any, into: Any) -> bytes:
    """Receive one record, or what has come of it.

    :raises SSL.Error: as ``connection.recv``.
    """
    size = _SSL_read(connection._ssl, into, RECORD)
    if size > 0:
        return ffi.buffer(into, size)[:]  # type: ignore[no-any-return]
    raise _failure(connection, size)


def write(connection: Any, data: bytes | memoryview) -> int:
    """Send what the socket takes, record by record.

    :return: how many bytes were sent; the next call must begin with the first that was not.
    :raises SSL.Error: as ``connection.send``, if nothing was sent.
    """
    ssl = connection._ssl
    size = len(data)
    if size <= RECORD and isinstance(data, bytes):
        sent: int = _SSL_write(ssl, data, size)
        if sent > 0:
            return sent
        raise _failure(connection, sent)
    total = 0
    with ffi.from_buffer(data) as start:
        while total < size:
            sent = _SSL_write(ssl, start + total, min(RECORD, size - total))
            if sent > 0:
                total += sent
            elif total:
                lib.ERR_clear_error()  # it will be met again
                break
            else:
                raise _failure(connection, sent)
    return total


def do_handshake(connection: Any) -> None:
    """Go on with the handshake.

    :raises SSL.Error: as ``connection.do_handshake``.
    """
    try:
        connection.do_handshake()
    finally:
        lib.ERR_clear_error()


def shutdown(connection: Any) -> bool:
    """Send close_notify.

    :return: whether the peer's has come, too.
    :raises SSL.Error: as ``connection.shutdown``.
    """
    try:
        return bool(connection.shutdown())
    finally:
        lib.ERR_clear_error()


def _failure(connection: Any, result: int) -> SSL.Error:
    # Where the socket fails, OpenSSL notes more than pyOpenSSL takes, in a list that all of a
    # thread's connections share: what is left there looks like the next one's failure.
    try:
        connection._raise_ssl_error(connection._ssl, result)
    except SSL.Error as error:
        return error
    finally:
        lib.ERR_clear_error()
    return SSL.WantReadError()  # it always raises
