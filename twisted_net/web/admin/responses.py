"""Writes the answers of the operator's view. Every answer has the same strict headers."""

from __future__ import annotations

from typing import Any

from twisted.web.http import Request

from twisted_net.wire.json_values import encode_json

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def begin_answer(request: Request, status: int, kind: str) -> None:
    """Set status and headers.

    :param kind: the content type.
    """
    request.setResponseCode(status)
    for name, value in _HEADERS.items():
        request.setHeader(name, value)
    request.setHeader("Content-Type", kind)


def answer(request: Request, status: int, kind: str, body: bytes) -> None:
    """Answer a request as a whole."""
    begin_answer(request, status, kind)
    request.setHeader("Content-Length", str(len(body)))
    request.write(body)
    request.finish()


def answer_json(request: Request, value: Any, status: int = 200) -> None:
    """Answer with a JSON value and a line feed, for those who use a terminal."""
    answer(request, status, "application/json", encode_json(value) + b"\n")


def answer_text(request: Request, text: str, status: int = 200) -> None:
    """Answer with one line of text."""
    answer(request, status, "text/plain; charset=utf-8", text.encode() + b"\n")


def answer_error(request: Request, status: int, text: str) -> None:
    """Answer with an error."""
    answer_json(request, {"error": text}, status)
