"""Read what HTTP proxies say about the client of a request.

``Forwarded`` is the header of RFC 7239. Most proxies send ``X-Forwarded-For`` and
``X-Forwarded-Proto``, which have no standard. Any client can send all of them: believe them only
from known proxies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from twisted_net.wire.framing import RemoteProtocolError

_FOR, _PROTO, _FORWARDED = "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"
_HEADERS = {name.lower().encode(): name for name in (_FOR, _PROTO, _FORWARDED)}

_HIDDEN = r"_[0-9A-Za-z._-]+"  # a name that only the proxy understands (RFC 7239, 6.3)
_NODE = re.compile(
    rf"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<ipv4>[0-9.]+)|(?i:unknown)|{_HIDDEN})"
    rf"(?::(?:[0-9]{{1,5}}|{_HIDDEN}))?"
)
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[\t !#-\[\]-~]|\\[\t -~])*)")')
_ESCAPED = re.compile(r"\\(.)")

_SECURE_SCHEMES = {"https": True, "wss": True, "http": False, "ws": False}  # Traefik sends wss


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What proxies say about the client of a request.

    :ivar nodes: the IP addresses that the request has come from, the nearest last; None for one
        that a proxy does not know or does not tell. The last one is what the nearest proxy has
        seen; the others are what it was told.
    :ivar is_secure: whether the client speaks TLS with its proxy; None if no proxy tells.
    """

    nodes: tuple[str | None, ...] = ()
    is_secure: bool | None = None

    def __bool__(self) -> bool:
        """Return whether a proxy says anything."""
        return bool(self.nodes) or self.is_secure is not None


def parse_forwarded(head: bytes) -> Forwarded:
    """Return what the head of a request says about its client.

    ``Forwarded`` is used only if there is no ``X-Forwarded-For``. A header that is sent several
    times counts as one list (RFC 9110, 5.3).

    :raises RemoteProtocolError: ``bad-input``: one of the headers is malformed.
    """
    values = _values(head)
    nodes: list[str | None] = []
    schemes = list(_elements(values.get(_PROTO, "")))
    if _FOR in values:
        nodes += [_address(_FOR, each) for each in _elements(values[_FOR])]
        if not nodes:
            raise _malformed(_FOR, "")
    elif _FORWARDED in values:
        for pairs in _forwarded_elements(values[_FORWARDED]):
            nodes.append(_address(_FORWARDED, pairs["for"]) if "for" in pairs else None)
            schemes += [pairs["proto"]] if "proto" in pairs else []
        if not nodes:
            raise _malformed(_FORWARDED, "")
    return Forwarded(tuple(nodes), _is_secure(schemes))


def _values(head: bytes) -> dict[str, str]:
    """Return the values of the headers that count here, by name."""
    found: dict[str, list[str]] = {}
    known: str | None = None
    for line in head.lstrip(b"\r\n").split(b"\r\n")[1:]:
        if line[:1] in (b" ", b"\t"):  # it continues the header before it (RFC 9112, 5.2)
            if known is not None:
                raise _malformed(known, line.decode("latin-1"))
            continue
        field, _, value = line.partition(b":")
        name = field.rstrip(b" \t")
        known = _HEADERS.get(name.lower())
        if known is None:
            continue
        if name != field or not value.isascii():  # no space before the colon (RFC 9112, 5.1)
            raise _malformed(known, line.decode("latin-1"))
        found.setdefault(known, []).append(value.decode())
    return {name: ",".join(values) for name, values in found.items()}


def _elements(text: str) -> Iterator[str]:
    """Split a list whose elements have no commas; empty ones do not count (RFC 9110, 5.6.1)."""
    return filter(None, (each.strip(" \t") for each in text.split(",")))


def _forwarded_elements(text: str) -> Iterator[dict[str, str]]:
    """Split the list of ``Forwarded``: each element is a set of pairs (RFC 7239, 4)."""
    pairs: dict[str, str] = {}
    position, is_separated = 0, True
    while position < len(text):
        if text[position] in " \t,;":
            if text[position] == "," and pairs:
                yield pairs
                pairs = {}
            is_separated = is_separated or text[position] in ",;"
            position += 1
            continue
        found = _PAIR.match(text, position)
        if found is None or not is_separated or found[1].lower() in pairs:
            raise _malformed(_FORWARDED, text[position:])
        token, quoted = found[2], found[3]
        pairs[found[1].lower()] = _ESCAPED.sub(r"\1", quoted) if token is None else token
        position, is_separated = found.end(), False
    if pairs:
        yield pairs


def _address(header: str, text: str) -> str | None:
    """Return the address of a node (RFC 7239, 6); None if it is not told."""
    if header == _FOR and _BARE_IPV6.fullmatch(text):  # there, it needs no brackets
        text = f"[{text}]"
    found = _NODE.fullmatch(text)
    if found is None:
        raise _malformed(header, text)
    try:
        if found["ipv6"] is not None:
            address = IPv6Address(found["ipv6"])
            return str(address.ipv4_mapped or address)
        return None if found["ipv4"] is None else str(IPv4Address(found["ipv4"]))
    except ValueError:
        raise _malformed(header, text) from None


def _is_secure(schemes: list[str]) -> bool | None:
    for each in schemes:
        if each.lower() not in _SECURE_SCHEMES:
            raise _malformed(f"{_PROTO} or {_FORWARDED}", each)
    # Behind several proxies, what is plain on one part of the way can be read there.
    return all(_SECURE_SCHEMES[each.lower()] for each in schemes) if schemes else None


def _malformed(header: str, text: str) -> RemoteProtocolError:
    return RemoteProtocolError("bad-input", f"{header} is malformed: {text[:60]!r}")
