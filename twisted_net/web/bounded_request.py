"""Requests whose body is bounded, for the sites of this package."""

from __future__ import annotations

from typing import Any

from twisted.web.server import Request

MOST_BODY = 65536
"""The most bytes in the body of a request."""


class BoundedRequest(Request):
    """A request with a bounded body. Twisted itself would keep any number of bytes in a file."""

    _body = 0
    _is_refused = False

    def gotLength(self, length: int | None) -> None:
        if length is not None and length > MOST_BODY:
            self._refuse_body()
        else:
            super().gotLength(length)  # type: ignore[no-untyped-call]

    def handleContentChunk(self, data: bytes) -> None:
        self._body += len(data)
        if self._body > MOST_BODY:
            self._refuse_body()
        elif not self._is_refused:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def _refuse_body(self) -> None:
        if self._is_refused:
            return
        self._is_refused = True
        channel: Any = self.channel
        channel.transport.write(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n")
        channel.transport.loseConnection()
