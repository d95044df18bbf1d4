"""Socket operations of OpenSSL that pyOpenSSL does not offer.

Twisted's connection creators make pyOpenSSL connections over memory buffers, and configure their
names, protocols and callbacks. :func:`attach_socket` attaches such a connection to a socket later,
as pyOpenSSL does for connections that are created with one. :func:`read` and :func:`write` replace
pyOpenSSL's ``recv`` and ``send``. They save a new buffer and a second call into OpenSSL each time,
which is a third of the cost of short messages.

:mod:`~twisted_net.eager.privates` lists the private names of pyOpenSSL that this file uses. Import
this file only if all of them are as expected.
"""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

_SSL_read, _SSL_write, _SSL_set_fd = lib.SSL_read, lib.SSL_write, lib.SSL_set_fd
_MODE = lib.SSL_MODE_ENABLE_PARTIAL_WRITE | lib.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER

RECORD = 16384
"""The most bytes of application data in one record (RFC 8446, 5.1)."""


def can_attach(connection: object) -> bool:
    """Whether :func:`attach_socket` works for ``connection``. Creators may return any object."""
    return isinstance(connection, SSL.Connection) and connection._socket is None


def is_attached(connection: Any) -> bool:
    """Whether ``connection`` is attached to a socket."""
    return connection._socket is not None


def attach_socket(connection: Any, sock: socket.socket) -> None:
    """Make a connection send and receive through ``sock``. Its memory buffers must be empty."""
    # The unsent rest of a record may be passed again at another address, with more data after it.
    lib.SSL_set_mode(connection._ssl, _MODE)
    if _SSL_set_fd(connection._ssl, sock.fileno()) != 1:
        raise RuntimeError("OpenSSL rejected the socket")
    connection._socket = sock
    connection._into_ssl = connection._from_ssl = None  # OpenSSL has freed them


def detach_socket(connection: Any) -> None:
    """Detach a connection from its socket, because the descriptor will soon be reused."""
    if is_attached(connection):
        _SSL_set_fd(connection._ssl, -1)
        connection._socket = None


def move_to_memory(connection: Any) -> None:
    """Detach a connection from its socket, and let it send and receive through memory again."""
    into, out = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
    if ffi.NULL in (into, out):
        raise MemoryError("OpenSSL has no memory")
    lib.SSL_set_bio(connection._ssl, into, out)  # it frees them
    connection._socket = None
    connection._into_ssl, connection._from_ssl = into, out


def pending_output(connection: Any) -> bytes:
    """Return the bytes to send of a connection that is not attached to a socket."""
    try:
        data: bytes = connection.bio_read(1 << 20)
    except SSL.WantReadError:
        return b""
    return data


def buffer() -> Any:
    """Return a buffer for :func:`read`. Only one thread may use it."""
    return ffi.new("char[]", RECORD)


def read(connection: Any, into: Any) -> bytes:
    """Receive one record, or the part of it that has arrived.

    :raises SSL.Error: as ``connection.recv``.
    """
    size = _SSL_read(connection._ssl, into, RECORD)
    if size > 0:
        return ffi.buffer(into, size)[:]  # type: ignore[no-any-return]
    raise _failure(connection, size)


def write(connection: Any, data: bytes | memoryview) -> int:
    """Send what the socket takes, record by record.

    :return: the number of bytes sent. The next call must begin with the first unsent byte.
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
                lib.ERR_clear_error()  # the next call meets it again
                break
            else:
                raise _failure(connection, sent)
    return total


def do_handshake(connection: Any) -> None:
    """Continue the handshake.

    :raises SSL.Error: as ``connection.do_handshake``.
    """
    try:
        connection.do_handshake()
    finally:
        lib.ERR_clear_error()


def shutdown(connection: Any) -> bool:
    """Send close_notify.

    :return: whether the peer has sent its close_notify too.
    :raises SSL.Error: as ``connection.shutdown``.
    """
    try:
        return bool(connection.shutdown())
    finally:
        lib.ERR_clear_error()


def _failure(connection: Any, result: int) -> SSL.Error:
    # After a socket error, OpenSSL may leave more entries in its error queue than pyOpenSSL takes.
    # All connections of a thread share the queue, so the next one would report them as its own.
    try:
        connection._raise_ssl_error(connection._ssl, result)
    except SSL.Error as error:
        return error
    finally:
        lib.ERR_clear_error()
    return SSL.WantReadError()  # _raise_ssl_error always raises
