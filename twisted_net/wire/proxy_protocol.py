"""Parse the PROXY protocol, versions 1 and 2: it tells who connected to the proxy in front of us.

https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt; section numbers below refer to it. A
header comes once, at the very beginning of a connection, before TLS. The user must ask for it; it
must not be guessed (section 2). Accept it only from known proxies, because any client can send one.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import NamedTuple

from twisted_net.wire.framing import RemoteProtocolError

MAX_LENGTH = 4096
"""The most bytes of a version 2 header after its first 16. HAProxy's usual headers have under 100;
one that passes on a client certificate has 1 to 3 KiB."""

_LONGEST_V1 = 107  # including CRLF (2.1)
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_PATH = 108  # bytes of a Unix socket's path (2.2)
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")

_AUTHORITY, _CRC32C, _NOOP, _SSL = 0x02, 0x03, 0x04, 0x20
_SSL_VERSION, _SSL_CN, _SSL_CIPHER = 0x21, 0x22, 0x23
_HAS_CERTIFICATE = 0x02 | 0x04  # in this connection, or in its session


class Family(enum.Enum):
    """The kind of addresses in a header."""

    UNKNOWN = "unknown"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    UNIX = "unix"


class Endpoint(NamedTuple):
    """One side of a connection.

    :ivar host: an IP address in the form of RFC 5952, or the path of a Unix socket. The path of an
        abstract socket starts with NUL; that of an unnamed socket is empty.
    :ivar port: the port; 0 for a Unix socket.
    """

    host: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class ProxyTls:
    """What a proxy says about the TLS between the client and itself (2.2.6).

    The texts may come from the client: see :func:`twisted_net.wire.text.printable`.

    :ivar has_certificate: whether the client presented a certificate.
    :ivar verified: whether the client presented a certificate and the proxy found it valid.
    :ivar version: the TLS version, such as ``TLSv1.3``; None if unknown.
    :ivar common_name: the common name of the client's certificate; None if unknown.
    :ivar cipher: the name of the cipher; None if unknown.
    """

    has_certificate: bool
    verified: bool
    version: str | None = None
    common_name: str | None = None
    cipher: str | None = None


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy says about a connection.

    :ivar family: the kind of addresses. If UNKNOWN, the connection's own addresses apply.
    :ivar source: the client's address; None if the family is UNKNOWN.
    :ivar destination: the address that the client connected to; None if the family is UNKNOWN.
    :ivar local: whether the proxy itself opened the connection, for example for a health check. The
        family is then UNKNOWN.
    :ivar datagram: whether the client uses UDP, or another datagram protocol, with the proxy.
    :ivar tlvs: the type and value of each additional field (2.2), in order, without checksum and
        padding. Version 1 has none.
    """

    family: Family = Family.UNKNOWN
    source: Endpoint | None = None
    destination: Endpoint | None = None
    local: bool = False
    datagram: bool = False
    tlvs: tuple[tuple[int, bytes], ...] = ()

    @property
    def authority(self) -> str | None:
        """The host name that the client asked for, for example in TLS SNI (2.2.2).

        It may be any text.

        :raises UnicodeDecodeError: if it is not UTF-8. This never happens for a header that was
            parsed.
        """
        value = dict(self.tlvs).get(_AUTHORITY)
        return None if value is None else value.decode()

    @property
    def tls(self) -> ProxyTls | None:
        """The TLS between the client and the proxy; None if there was none or it is unknown.

        :raises ValueError: if it is malformed. This never happens for a header that was parsed.
        """
        value = dict(self.tlvs).get(_SSL)
        if value is None or not (value and value[0] & 1):
            return None
        if len(value) < 5:
            raise ValueError("the TLS part is cut short")
        texts = dict(_split_tlvs(value[5:]))
        has_certificate = bool(value[0] & _HAS_CERTIFICATE)
        return ProxyTls(
            has_certificate,
            has_certificate and not any(value[1:5]),
            *(
                texts[kind].decode() if kind in texts else None
                for kind in (_SSL_VERSION, _SSL_CN, _SSL_CIPHER)
            ),
        )


class ProxyParser:
    """Parse the one header at the beginning of a connection.

    The parser stores at most one header, and its work is bounded by the header's size.

    :param max_length: the most bytes of a version 2 header after its first 16.
    """

    __slots__ = ("_buffer", "_dead", "_done", "_max_length")

    def __init__(self, *, max_length: int = MAX_LENGTH) -> None:
        self._max_length = max_length
        self._buffer = bytearray()
        self._dead: RemoteProtocolError | None = None
        self._done = False

    def feed(self, data: bytes, /) -> tuple[ProxyHeader, bytes] | None:
        """Take the next bytes.

        :return: None while the header is incomplete. Then the header and the bytes after it, which
            belong to the connection. Do not call it again after that.
        :raises RemoteProtocolError: ``bad-input``, if the header is missing or malformed. Every
            later call raises it too.
        :raises RuntimeError: if the header was already complete.
        """
        if self._done:
            raise RuntimeError("the header is complete: what follows belongs to the connection")
        if self._dead is not None:
            raise RemoteProtocolError(self._dead.code, str(self._dead))
        buffer = self._buffer
        buffer += data
        try:
            if _SIGNATURE.startswith(buffer[: len(_SIGNATURE)]):
                end = self._end_of_v2()
                header = _read_v2(bytes(buffer[:end])) if end else None
            else:
                end = self._end_of_v1()
                header = _read_v1(bytes(buffer[: end - 2])) if end else None
        except RemoteProtocolError as error:
            self._dead = error
            self._buffer = bytearray()
            raise RemoteProtocolError(error.code, str(error)) from None
        if header is None:
            return None
        self._done = True
        self._buffer = bytearray()
        return header, bytes(buffer[end:])

    def _end_of_v1(self) -> int:
        """Return the size of the header, or 0 if it is incomplete."""
        buffer = self._buffer
        if not b"PROXY ".startswith(buffer[:6]):
            raise _bad("it does not begin with a PROXY header")
        found = buffer.find(b"\r\n", 0, _LONGEST_V1)
        if found < 0 and len(buffer) >= _LONGEST_V1:
            raise _bad(f"a PROXY line is longer than {_LONGEST_V1} bytes")
        return found + 2 if found >= 0 else 0

    def _end_of_v2(self) -> int:
        """Return the size of the header, or 0 if it is incomplete."""
        buffer = self._buffer
        if len(buffer) > 12 and buffer[12] not in (0x20, 0x21):
            raise _bad(f"no such version and command of the PROXY protocol: 0x{buffer[12]:02x}")
        if len(buffer) < 16:
            return 0
        length = int.from_bytes(buffer[14:16], "big")
        if length > self._max_length:
            raise _bad(f"a PROXY header of {length} bytes is longer than {self._max_length} bytes")
        return 16 + length if len(buffer) >= 16 + length else 0


# By their numbers on the wire (2.2): the families, and the layout of their addresses and ports.
_FAMILIES = (Family.UNKNOWN, Family.IPV4, Family.IPV6, Family.UNIX)
_LAYOUTS = (Struct(""), Struct("!4s4sHH"), Struct("!16s16sHH"), Struct(f"{_PATH}s{_PATH}s"))


def _bad(text: str) -> RemoteProtocolError:
    return RemoteProtocolError("bad-input", text)


def _read_v1(line: bytes) -> ProxyHeader:
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader()
    fields = line.split(b" ")
    if len(fields) != 6 or fields[1] not in (b"TCP4", b"TCP6"):
        raise _bad(f"no PROXY line: {line!r}")
    family = Family.IPV4 if fields[1] == b"TCP4" else Family.IPV6
    hosts = []
    for text in fields[2:4]:
        try:
            address = text.decode("ascii")
            if "%" in address:  # a zone, which Python accepts and the protocol does not
                raise ValueError
            packed = (IPv4Address if family is Family.IPV4 else IPv6Address)(address).packed
        except ValueError:
            raise _bad(f"no {fields[1].decode()} address in a PROXY line: {text!r}") from None
        hosts.append(_host(packed))
    for text in fields[4:]:
        if not _PORT.fullmatch(text) or int(text) > 65535:
            raise _bad(f"no port in a PROXY line: {text!r}")
    source, destination = map(Endpoint, hosts, map(int, fields[4:]))
    return ProxyHeader(family, source, destination)


def _read_v2(data: bytes) -> ProxyHeader:
    """Parse a complete header whose signature, version, command and length are valid."""
    if data[12] == 0x20:
        return ProxyHeader(local=True)  # the rest must be ignored
    family, transport = data[13] >> 4, data[13] & 15
    if family > 3 or transport > 2:
        raise _bad(f"no such address family and transport in a PROXY header: 0x{data[13]:02x}")
    if not family or not transport:
        return ProxyHeader()
    layout = _LAYOUTS[family]
    start = 16 + layout.size
    if len(data) < start:
        raise _bad("a PROXY header is too short for its addresses")
    source, destination, *ports = layout.unpack_from(data, 16)
    if family == 3:
        endpoints = Endpoint(_path(source)), Endpoint(_path(destination))
    else:
        endpoints = Endpoint(_host(source), ports[0]), Endpoint(_host(destination), ports[1])
    try:
        tlvs = tuple(_checked(data, start))
        header = ProxyHeader(_FAMILIES[family], *endpoints, False, transport == 2, tlvs)
        # Decode them now, so that a later access cannot fail.
        _ = header.authority, header.tls
    except UnicodeDecodeError:
        raise _bad("a text in a PROXY header is not UTF-8") from None
    except ValueError as error:
        raise _bad(f"a PROXY header is wrong: {error}") from None
    return header


def _checked(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield the additional fields, after verifying the checksum among them.

    :raises ValueError: if a field is malformed or the checksum is wrong.
    """
    position = start
    seen = False
    for kind, value in _split_tlvs(data[start:]):
        position += 3
        if kind == _CRC32C:
            if seen:  # each checksum costs a pass over the header
                raise ValueError("it has two checksums")
            seen = True
            zeroed = data[:position] + bytes(len(value)) + data[position + len(value) :]
            if value != _crc32c(zeroed).to_bytes(4, "big"):
                raise ValueError("the checksum does not match")
        elif kind != _NOOP:
            yield kind, value
        position += len(value)


def _split_tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """:raises ValueError: if the last field is cut short."""
    position = 0
    while position < len(data):
        start = position + 3
        end = start + int.from_bytes(data[position + 1 : start], "big")
        if start > len(data) or end > len(data):
            raise ValueError("it ends within a piece")
        yield data[position], data[start:end]
        position = end


def _host(packed: bytes) -> str:
    """Format an address as in RFC 5952. Python 3.11 does not support its section 5."""
    if len(packed) == 4:
        return str(IPv4Address(packed))
    address = IPv6Address(packed)
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)


def _path(padded: bytes) -> str:
    # Only an abstract socket's name starts with NUL, and only a path ends at the first NUL.
    path = padded[:1] + padded[1:].partition(b"\0")[0] if any(padded) else b""
    return path.decode("utf-8", "surrogateescape")


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc32c_table()


def _crc32c(data: bytes) -> int:
    """Return the CRC32c of RFC 4960, appendix B.

    It takes 0.1 us per byte, and headers are short.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
