"""PROXY protocol headers as a proxy sends them, encoded according to the specification."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Any

from twisted_net.wire.proxy_protocol import Endpoint, Family, ProxyHeader, _crc32c

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"

_LAYOUTS = {
    Family.IPV4: (0x10, Struct("!4s4sHH")),
    Family.IPV6: (0x20, Struct("!16s16sHH")),
    Family.UNIX: (0x30, Struct("108s108s")),
}


def v2(block: bytes = b"", command: int = 0x21, family: int = 0x11) -> bytes:
    """Return a version 2 header around ``block``."""
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


def tlv(kind: int, value: bytes) -> bytes:
    """Return an additional field of a version 2 header."""
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def encode_v1(header: ProxyHeader) -> bytes:
    """Encode the header as a line (2.1), which supports only TCP."""
    source, destination = _ends(header)
    kind = "TCP4" if header.family is Family.IPV4 else "TCP6"
    hosts = f"{_text(source)} {_text(destination)}"
    return f"PROXY {kind} {hosts} {source.port} {destination.port}\r\n".encode()


def encode_v2(header: ProxyHeader, *, checksum: bool = False) -> bytes:
    """Encode the header in binary (2.2), with or without a checksum (2.2.3)."""
    family, block = 0, b""
    if not header.local and header.family is not Family.UNKNOWN:
        family, layout = _LAYOUTS[header.family]
        family |= 2 if header.datagram else 1
        block = layout.pack(*_packed(header))
    block += b"".join(tlv(kind, value) for kind, value in header.tlvs)
    if checksum:
        block += tlv(0x03, bytes(4))
    encoded = v2(block, 0x20 if header.local else 0x21, family)
    return encoded[:-4] + _crc32c(encoded).to_bytes(4, "big") if checksum else encoded


def _packed(header: ProxyHeader) -> list[Any]:
    source, destination = ends = _ends(header)
    if header.family is Family.UNIX:
        return [end.host.encode("utf-8", "surrogateescape") for end in ends]
    kind = IPv4Address if header.family is Family.IPV4 else IPv6Address
    return [*(kind(end.host).packed for end in ends), source.port, destination.port]


def _ends(header: ProxyHeader) -> tuple[Endpoint, Endpoint]:
    assert header.source is not None
    assert header.destination is not None
    return header.source, header.destination


def _text(end: Endpoint) -> str:
    if ":" not in end.host:
        return end.host
    address = IPv6Address(end.host)
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)
