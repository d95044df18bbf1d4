"""Requests whose head and body are bounded, for the sites of this package."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import NOT_DONE_YET, Request, Site

from twisted_net.web.plain_answers import fault_answer, method_answer, overdue_answer
from twisted_net.web.request_head import (
    MAX_HEAD,
    HeadFault,
    find_line_fault,
    split_target,
    too_long,
)

MOST_BODY = 65536
"""The most bytes in the body of a request."""

_TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n"


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
        channel.refuse(_TOO_LARGE)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        host, target = split_target(path.decode("latin-1"))
        if host and len(self.requestHeaders.getRawHeaders(b"Host", [])) < 2:  # more are refused
            self.requestHeaders.setRawHeaders(b"Host", [host.encode("latin-1")])
        super().requestReceived(  # type: ignore[no-untyped-call]
            command, target.encode("latin-1"), version
        )

    def render(self, resrc: Any) -> None:
        bodiless = self.method == b"HEAD"
        super().render(_WithoutBody(resrc) if bodiless else resrc)  # type: ignore[no-untyped-call]


class _WithoutBody:
    """A resource for HEAD: the answer has the length of the body, and no body.

    Twisted's own request does the same, but logs each such answer as somebody's mistake.
    """

    def __init__(self, resource: Any) -> None:
        self._resource = resource

    def render(self, request: BoundedRequest) -> Any:
        body = self._resource.render(request)
        if body is NOT_DONE_YET:
            return body
        if body:  # otherwise it may be 304, which has the length of nothing
            request.setHeader("Content-Length", str(len(body)))  # type: ignore[no-untyped-call]
        return b""


class BoundedChannel(HTTPChannel):
    """A connection that says why it does not read a request.

    Twisted itself answers none whose first line is too long, and none that takes too long.
    """

    MAX_LENGTH = maxHeaders = MAX_HEAD

    transport: Any  # while anything comes, there is one
    site: Any
    _first = b""  # the first line of the head that is being read
    _size = 0  # the bytes of that head so far
    _aborting: IDelayedCall | None = None

    def lineReceived(self, line: bytes) -> None:
        answer = b""
        if not line:  # the head is complete, or has not begun
            if self._first:
                answer = self._find_other_method()
            self._first, self._size = b"", 0
        elif self.persistent:  # otherwise, Twisted drops what comes behind the last request
            fault = self._find_fault(line)
            answer = b"" if fault is None else fault_answer(fault)
        if answer:
            self.refuse(answer)
        else:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def _find_other_method(self) -> bytes:
        """Return the answer to a head whose method the site does not have; empty if it has it.

        Its body is not waited for, and what comes behind it is not obeyed: a form in somebody's
        browser chooses both.
        """
        methods: Collection[str] | None = self.site.methods
        method = self._first.partition(b" ")[0].decode("ascii")  # otherwise it has a fault
        return b"" if methods is None or method in methods else method_answer(methods)

    def _find_fault(self, line: bytes) -> HeadFault | None:
        """Return what is wrong with a head, of which this is the next line."""
        self._first = self._first or line
        before = self._size
        self._size += len(line) + len(self.delimiter)
        if before + len(line) > MAX_HEAD:
            return too_long(len(self._first), self._first)
        return None if before else find_line_fault(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(fault_answer(too_long(len(self._first or line), self._first or line)))

    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]
        except ValueError:  # a length of more digits than Python reads
            self.refuse(_TOO_LARGE)
            return False

    def refuse(self, answer: bytes) -> None:
        """Send an answer that is the last one."""
        self.transport.write(answer)
        self.loseConnection()  # type: ignore[no-untyped-call]

    def has_begun(self) -> bool:
        """Return whether a request has begun. What has come of an incomplete line is dropped."""
        return bool(self.requests or self.clearLineBuffer())  # type: ignore[no-untyped-call]

    def timeoutConnection(self) -> None:
        # Without Twisted's own, which logs each: anybody can connect, and say nothing.
        if self.has_begun():
            self.transport.write(overdue_answer())
        if self.abortTimeout is not None:
            later: Any = self.callLater
            self._aborting = later(self.abortTimeout, self._abort)
        self.loseConnection()  # type: ignore[no-untyped-call]

    def _abort(self) -> None:
        self._aborting = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._aborting is not None:
            self._aborting.cancel()
            self._aborting = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class BoundedSite(Site):
    """A site whose requests are bounded. It speaks HTTP/1.1 alone.

    :cvar methods: requests with another one get 405, and are the last of their connection. None if
        the resources decide about that.
    """

    methods: Collection[str] | None = None
    protocol = BoundedChannel  # type: ignore[assignment]  # the declared one may change to HTTP/2
    requestFactory = BoundedRequest

    def __init__(self, *arguments: Any, **named: Any) -> None:
        # Forms are not read: nothing here has any, and Twisted fails on some that are malformed.
        named = {"parsePOSTFormSubmission": False, **named}
        super().__init__(*arguments, **named)  # type: ignore[no-untyped-call]

    def acceptableProtocols(self) -> list[bytes]:
        """Return what is spoken by TLS: a connection of HTTP/2 has many requests at a time."""
        return [b"http/1.1"]
