"""The check before the start, so that a service that cannot use Redis ends with one line.

No reactor runs yet, so this uses a blocking socket, and the same steps as a connection.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Generator
from typing import Any, TypeVar

from twisted_net.store.interface import StoreError
from twisted_net.store.redis.errors import RedisUnavailable, single_line
from twisted_net.store.redis.framing import RedisCommand, Resp, encode_command
from twisted_net.store.redis.handshake import find_primary, log_in
from twisted_net.store.redis.location import RedisLocation, show_address
from twisted_net.wire.framing import RemoteProtocolError

_Answer = TypeVar("_Answer")


def check_redis(location: RedisLocation) -> None:
    """Check that Redis can be used.

    It takes at most ``timeout`` seconds for each step.

    :raises StoreError: it cannot be. The text says why, in one line.
    """
    address = _primary(location) if location.service else location.hosts[0]
    try:
        _talk(
            address, location, log_in(location, "netchat-check", with_scripts=False), location.tls
        )
    except StoreError as error:
        raise StoreError(f"{show_address(*address)}: {error}") from None


def _primary(location: RedisLocation) -> tuple[str, int]:
    problems = []
    for address in location.hosts:
        try:
            return _talk(address, location, find_primary(location), tls=False)
        except StoreError as error:
            problems.append(f"Sentinel at {show_address(*address)}: {error}")
    raise RedisUnavailable("; ".join(problems))


def _talk(
    address: tuple[str, int],
    location: RedisLocation,
    steps: Generator[RedisCommand, Any, _Answer],
    tls: bool,
) -> _Answer:
    try:
        with _connect(address, location.timeout) as plain:
            if not tls:
                return _converse(plain, steps)
            context = _context(location.cafile)
            with context.wrap_socket(plain, server_hostname=address[0]) as secure:
                return _converse(secure, steps)
    except TimeoutError:
        text = f"no answer within {location.timeout:g} s"
        raise RedisUnavailable(text + tls * "; perhaps Redis does not speak TLS") from None
    except socket.gaierror:
        raise RedisUnavailable("host not found") from None
    except ssl.SSLCertVerificationError as error:
        text = error.verify_message or str(error)
        raise RedisUnavailable(f"the certificate cannot be verified: {single_line(text)}") from None
    except ssl.SSLError as error:
        text = (
            f"no TLS: {single_line(error.reason or str(error))}; perhaps Redis does not speak TLS"
        )
        raise RedisUnavailable(text) from None
    except ConnectionResetError:
        raise RedisUnavailable("it closed the connection; perhaps it expects TLS") from None
    except OSError as error:
        text = os.strerror(error.errno) if error.errno else str(error)
        raise RedisUnavailable(single_line(text)) from None


def _connect(address: tuple[str, int], timeout: float) -> socket.socket:
    """Connect. A host's addresses have ``timeout`` seconds each."""
    problem: OSError = socket.gaierror()
    for each in _resolve(*address, timeout):
        try:
            return socket.create_connection(each[:2], timeout)
        except OSError as error:
            problem = error
    raise problem


def _resolve(host: str, port: int, timeout: float) -> list[tuple[Any, ...]]:
    """Return the addresses of a host.

    The system's resolver has its own idea of how long that may take, and while it works in this
    thread, Python handles no signal.
    """
    found: list[tuple[Any, ...]] = []
    problems: list[OSError] = []

    def resolve() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.extend(entry[-1] for entry in entries)
        except OSError as error:
            problems.append(error)
        except UnicodeError:  # no name can be like that
            problems.append(socket.gaierror())

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise RedisUnavailable(f"the name is not resolved within {timeout:g} s")
    if problems:
        raise problems[0]
    return found


def _converse(stream: socket.socket, steps: Generator[RedisCommand, Any, _Answer]) -> _Answer:
    framing = Resp()
    reply: Any = None
    while True:
        try:
            command = steps.send(reply)
        except StopIteration as end:
            answer: _Answer = end.value
            return answer
        stream.sendall(encode_command(command))
        reply = _reply(stream, framing)


def _reply(stream: socket.socket, framing: Resp) -> Any:
    while True:
        data = stream.recv(65536)
        if not data:
            raise RedisUnavailable("it closed the connection; perhaps it expects TLS")
        try:
            replies = framing.feed(data)
        except RemoteProtocolError as error:
            raise RedisUnavailable(str(error)) from None
        if replies:
            return replies[0]


def _context(cafile: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile or None)
    except OSError as error:  # also ssl.SSLError
        if isinstance(error, ssl.SSLError):
            text = "this is no PEM file with certificates"
        else:
            text = os.strerror(error.errno or 0)
        raise RedisUnavailable(f"cafile={cafile}: {text}") from None
