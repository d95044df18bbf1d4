"""Answers in plain text to requests that are refused. The connection closes behind them."""

from __future__ import annotations

from http import HTTPStatus

from twisted_net.policy.close_reasons import DENIED, TOO_FAST, CloseReason

RETRY_AFTER = 5
"""The seconds after which who wanted a page shall come back."""

_STATUS = {DENIED: HTTPStatus.FORBIDDEN, TOO_FAST: HTTPStatus.TOO_MANY_REQUESTS}


def plain_answer(head: bytes, status: HTTPStatus, text: str, *fields: str) -> bytes:
    """Return an answer with a sentence.

    :param head: the head of the request. A HEAD request gets no sentence.
    :param fields: further header fields.
    """
    body = f"{text}\n".encode()
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        "X-Content-Type-Options: nosniff",
        f"Content-Length: {len(body)}",
        *fields,
        "Connection: close\r\n\r\n",
    )
    answer = "\r\n".join(lines).encode()
    return answer if head.startswith(b"HEAD ") else answer + body


def refusing_answer(head: bytes, reason: CloseReason) -> bytes:
    """Return the answer to the request of a client that may not connect, or not now."""
    fields = (f"Retry-After: {RETRY_AFTER}",) if reason.retry else ()
    status = _STATUS.get(reason, HTTPStatus.SERVICE_UNAVAILABLE)
    return plain_answer(head, status, reason.text, *fields)
