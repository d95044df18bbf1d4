"""What is used of Twisted's private names."""

from __future__ import annotations

from typing import Any

from twisted.protocols.policies import ProtocolWrapper


def _descriptor(transport: Any) -> Any:
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def unsent(transport: Any) -> int:
    """Count the bytes that a transport of Twisted's holds and the kernel has not taken yet.

    There is no public count. Where it cannot be had, it is 0.
    """
    transport = _descriptor(transport)
    try:
        waiting: int = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
    except AttributeError:
        return 0
    return waiting


def send_position(transport: Any) -> tuple[int, int]:
    """Give which buffer a transport is sending, and from where on."""
    transport = _descriptor(transport)
    return id(getattr(transport, "dataBuffer", None)), getattr(transport, "offset", 0)


def inner_protocol(protocol: Any) -> Any:
    """Give the protocol that one of Twisted's wraps: TLS, another wrapper, a client endpoint's."""
    inner = getattr(protocol, "wrappedProtocol", None)
    return getattr(protocol, "_wrappedProtocol", None) if inner is None else inner
