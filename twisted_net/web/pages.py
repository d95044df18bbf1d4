"""The page of the chat, as a ``Site`` of ``twisted.web``: the files of the package alone."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from importlib.resources import files
from typing import Any

from twisted.web import http, resource, server
from twisted.web import pages as web_pages

from twisted_net.connection.addresses import is_loopback
from twisted_net.web.bounded_request import BoundedSite
from twisted_net.web.upgrade import is_local_host

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content-Security-Policy: nothing from elsewhere, and no text that becomes code."""

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
"""The files that are served, by the ending of their names."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # ask each time whether the file is still the same
}


class PageFile(resource.Resource):
    """One file, which is kept in memory.

    :param content: its bytes.
    :param kind: its media type.
    """

    def __init__(self, content: bytes, kind: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._content = content
        self._kind = kind
        self._tag = b'"' + hashlib.sha256(content).hexdigest()[:16].encode() + b'"'

    def render_GET(self, request: Any) -> bytes:
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        request.setHeader("Content-Type", self._kind)
        if request.setETag(self._tag) is http.CACHED:
            return b""
        return self._content


class _Pages(resource.Resource):
    """The files by name. ``/`` is ``index.html``."""

    def __init__(self, origins: Collection[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._origins = origins

    def getChild(self, path: bytes, request: Any) -> Any:
        return web_pages.notFound()

    def getChildWithDefault(self, path: bytes, request: Any) -> Any:
        host = getattr(request.getHost(), "host", "")
        hosts = request.requestHeaders.getRawHeaders(b"Host", [])
        if len(hosts) > 1:
            return web_pages.errorPage(http.BAD_REQUEST, "Bad Request", "A request has one Host.")
        asked = b"".join(hosts).decode("ascii", "replace")
        if is_loopback(host) and not is_local_host(asked, self._origins):
            return web_pages.forbidden(message="Ask by a name of this machine.")
        return super().getChildWithDefault(path, request)  # type: ignore[no-untyped-call]


class _PageSite(BoundedSite):
    methods = ("GET", "HEAD")


def page_site(clock: Any, origins: Collection[str] = ()) -> server.Site:
    """Return the site of the page.

    :param clock: the reactor.
    :param origins: further pages that may connect. On a loopback address, this page is served by
        their hosts' names too.
    """
    root = _Pages(origins)
    for name, content, kind in _page_files():
        root.putChild(name.encode(), PageFile(content, kind))
        if name == "index.html":
            root.putChild(b"", PageFile(content, kind))
    site = _PageSite(root, reactor=clock)
    site.displayTracebacks = False
    return site


def _page_files() -> Iterator[tuple[str, bytes, str]]:
    for each in files("twisted_net.web").joinpath("page").iterdir():
        kind = TYPES.get(each.name.rpartition(".")[2])
        if kind is not None and each.is_file():
            yield each.name, each.read_bytes(), kind
