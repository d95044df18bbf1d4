"""The opening request of a WebSocket (RFC 6455, 4), and what to answer.

The library ``websockets`` reads the request and makes the answer. What is decided here: who may ask
(``Origin`` and ``Host``), which subprotocol is spoken, and whether messages are compressed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from twisted_net.web.request_head import split_target
from twisted_net.wire.websocket import LEAST_WINDOW_BITS, WINDOW_BITS

_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:[^\r\n]*\bwebsocket\b", re.IGNORECASE)

_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=WINDOW_BITS,
)


@dataclass(frozen=True, slots=True)
class OpeningRequest:
    """A request to open a WebSocket.

    :ivar target: the path and the query, also if the client has asked for a whole URL.
    :ivar headers: its fields; ``headers.get(name)`` ignores case. ``Host`` is the one of that URL.
    """

    target: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class OpeningAnswer:
    """What to answer to an opening request.

    :ivar data: the bytes to send.
    :ivar request: the request, if the WebSocket is open now; else None, and the connection has to
        be closed.
    :ivar subprotocol: the one that was chosen; may be empty.
    :ivar window_bits: the window of compressed messages; 0 if they may not be compressed.
    :ivar why: why it was refused; empty if it was not.
    """

    data: bytes
    request: OpeningRequest | None = None
    subprotocol: str = ""
    window_bits: int = 0
    why: str = ""

    def forbidden(self) -> OpeningAnswer:
        """Return the answer to a client that may not open this WebSocket."""
        why = "this WebSocket is not for you"
        return _refusal(ServerProtocol(), HTTPStatus.FORBIDDEN, why)


def bad_request(why: str) -> OpeningAnswer:
    """Return the answer to a request that cannot be understood."""
    return _refusal(ServerProtocol(), HTTPStatus.BAD_REQUEST, why)


def is_upgrade(head: bytes) -> bool:
    """Return whether the head of a request asks for a WebSocket."""
    return head[:4] == b"GET " and _UPGRADE.search(head) is not None


def answer_upgrade(
    head: bytes,
    *,
    subprotocols: Sequence[str] = (),
    origins: Collection[str] | None = (),
    on_loopback: bool = False,
    secure: bool = False,
) -> OpeningAnswer:
    """Return the answer to an opening request.

    A browser says from which page a request comes (``Origin``). It is refused with 403 unless the
    page is this server's own, by the ``Host`` that was asked for, or one of ``origins``. Programs
    send no ``Origin``.

    :param head: the head of the request, with the empty line at its end.
    :param subprotocols: those that this server speaks, the best first. A client that offers some,
        but none of these, gets an answer without one, and ends the connection.
    :param origins: further pages that may connect, such as ``https://chat.example``; None for any.
    :param on_loopback: whether the server is reached on a loopback address. Then ``Host`` must name
        one, or a host of ``origins``, as behind a proxy on the same machine: otherwise a page could
        get here through a name of its own (DNS rebinding).
    :param secure: whether the connection is TLS.
    """
    protocol = ServerProtocol(
        subprotocols=[Subprotocol(each) for each in subprotocols] or None,
        extensions=[_DEFLATE],
        select_subprotocol=_select,
    )
    protocol.receive_data(head)
    requests = protocol.events_received()
    if not requests:
        return _refusal(protocol, HTTPStatus.BAD_REQUEST, _why(protocol.handshake_exc))
    request = requests[0]
    assert isinstance(request, Request)
    host, target = split_target(request.path)
    if host and len(request.headers.get_all("Host")) == 1:  # otherwise it is refused
        del request.headers["Host"]
        request.headers["Host"] = host
    forbidden = _forbidden(request.headers, origins, on_loopback, secure)
    if forbidden:
        return _refusal(protocol, HTTPStatus.FORBIDDEN, forbidden)
    response = protocol.accept(request)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        protocol.send_response(response)
        data = b"".join(protocol.data_to_send())
        return OpeningAnswer(data, why=_why(protocol.handshake_exc))
    protocol.parser.close()  # so that no cycle keeps it in memory
    window_bits = _agreed(protocol.extensions)
    if not window_bits and "Sec-WebSocket-Extensions" in response.headers:
        del response.headers["Sec-WebSocket-Extensions"]
    return OpeningAnswer(
        response.serialize(),
        OpeningRequest(target, request.headers),
        protocol.subprotocol or "",
        window_bits,
    )


def _select(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose the first of ours that is offered. None is no error: the client decides."""
    ours = protocol.available_subprotocols or ()
    return next((each for each in ours if each in offered), None)


def _agreed(extensions: Sequence[Any]) -> int:
    """Return the window of compression, if it was agreed and zlib can do it."""
    for each in extensions:
        if isinstance(each, PerMessageDeflate) and each.local_max_window_bits >= LEAST_WINDOW_BITS:
            return min(each.local_max_window_bits, WINDOW_BITS)
    return 0


def _refusal(protocol: ServerProtocol, status: HTTPStatus, why: str) -> OpeningAnswer:
    response: Response = protocol.reject(status, f"{why}\n")
    return OpeningAnswer(response.serialize(), why=why)


def _why(error: BaseException | None) -> str:
    if error is None:
        return "the head of the request is incomplete"
    inner = error.__cause__
    if isinstance(error, (InvalidHandshake, ConnectionClosed)) or inner is None:
        return str(error)
    return str(inner)


def _forbidden(
    headers: Headers, origins: Collection[str] | None, on_loopback: bool, secure: bool
) -> str:
    """Return why a request may not open a WebSocket; empty if it may."""
    hosts, pages = headers.get_all("Host"), headers.get_all("Origin")
    if len(hosts) != 1 or len(pages) > 1:
        return "a request has one Host, and at most one Origin"
    host = _split(f"//{hosts[0]}")
    if host is None:
        return f"the host {hosts[0][:100]!r} is none"
    if on_loopback and not is_local_host(hosts[0], origins):
        return f"{host[1]!r} is not a name of this machine's loopback interface"
    if not pages or origins is None or pages[0] in origins:
        return ""
    page = _split(pages[0])
    if page is not None and page[0] in _PORTS and page[1] == host[1]:
        # Without a port, a scheme's own is meant. A proxy may have taken TLS off, so that this
        # connection does not show the scheme.
        schemes = ("https",) if secure else ("http", "https")
        ports = {_PORTS[scheme] for scheme in schemes} if host[2] is None else {host[2]}
        if (page[2] or _PORTS[page[0]]) in ports:
            return ""
    return f"a page of {pages[0][:100]!r} may not connect here"


_PORTS = {"http": 80, "https": 443}


def _split(url: str) -> tuple[str, str, int | None] | None:
    """Return scheme, name and port of a URL that has nothing else; None if it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    name = (parts.hostname or "").rstrip(".")
    rest = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    return (parts.scheme, name, port) if name and not rest else None


def is_origin(text: str) -> bool:
    """Return whether a text is what a browser sends as ``Origin``."""
    parts = _split(text)
    return parts is not None and bool(parts[0]) and text == text.lower()


def is_local_host(host: str, origins: Collection[str] | None) -> bool:
    """Return whether a server that is reached on a loopback address may answer to a ``Host``.

    :param origins: pages that may connect. Their hosts may be asked for too.
    """
    if is_loopback_host(host):
        return True
    asked = _split(f"//{host}")
    pages = [_split(each) for each in origins or ()]
    return asked is not None and any(page is not None and page[1] == asked[1] for page in pages)


def is_loopback_host(host: str) -> bool:
    """Return whether a ``Host`` names the loopback interface, with a port or without."""
    parts = _split(f"//{host}")
    if parts is None:
        return False
    name = parts[1]
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
