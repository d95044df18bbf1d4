"""Answers in plain text to requests that are refused. The connection closes behind them."""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus

from twisted_net.policy.close_reasons import DENIED, TOO_FAST, CloseReason
from twisted_net.web.request_head import HeadFault

RETRY_AFTER = 5
"""The seconds after which who wanted a page shall come back."""

_PHRASES = {HTTPStatus.REQUEST_URI_TOO_LONG: "URI Too Long"}  # Python has RFC 2616's up to 3.12
_STATUS = {DENIED: HTTPStatus.FORBIDDEN, TOO_FAST: HTTPStatus.TOO_MANY_REQUESTS}


def plain_answer(head: bytes, status: HTTPStatus, text: str, *fields: str) -> bytes:
    """Return an answer with a sentence.

    :param head: the head of the request. A HEAD request gets no sentence.
    :param fields: further header fields.
    """
    body = f"{text}\n".encode()
    lines = (
        f"HTTP/1.1 {status.value} {_PHRASES.get(status, status.phrase)}",
        "Content-Type: text/plain; charset=utf-8",
        "X-Content-Type-Options: nosniff",
        f"Content-Length: {len(body)}",
        *fields,
        "Connection: close\r\n\r\n",
    )
    answer = "\r\n".join(lines).encode()
    return answer if head.startswith(b"HEAD ") else answer + body


def fault_answer(fault: HeadFault) -> bytes:
    """Return the answer to a request whose head cannot be read."""
    return plain_answer(fault.head.lstrip(b"\r\n"), fault.status, fault.text)


def method_answer(methods: Collection[str]) -> bytes:
    """Return the answer to a request whose method is none of these, whatever it asks for."""
    text = f"Only {' and '.join(methods)} are answered here."
    allowed = f"Allow: {', '.join(methods)}"
    return plain_answer(b"", HTTPStatus.METHOD_NOT_ALLOWED, text, allowed)


def overdue_answer() -> bytes:
    """Return the answer to a request of which only a part has come in time."""
    text = "The request took too long to arrive."
    return plain_answer(b"", HTTPStatus.REQUEST_TIMEOUT, text)


def refusing_answer(head: bytes, reason: CloseReason) -> bytes:
    """Return the answer to the request of a client that may not connect, or not now."""
    fields = (f"Retry-After: {RETRY_AFTER}",) if reason.retry else ()
    status = _STATUS.get(reason, HTTPStatus.SERVICE_UNAVAILABLE)
    return plain_answer(head, status, reason.text, *fields)
