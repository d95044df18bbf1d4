"""What an order of another process must have, so that no wrong one does harm. This module is pure.

Another version may send other orders, and the network may be faulty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted_net.chat.bans import Sanction

_Check = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_person(value: Any) -> bool:
    return type(value) is list and len(value) == 4 and all(map(_is_text, value))


def _is_number(value: Any) -> bool:
    return type(value) is int


def _is_object(value: Any) -> bool:
    return type(value) is dict


def _is_sanction(value: Any) -> bool:
    try:
        Sanction.from_json(value)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _texts(*fields: str) -> dict[str, _Check]:
    return dict.fromkeys(fields, _is_text)


ORDER_FIELDS: dict[str, dict[str, _Check]] = {
    "private": {**_texts("to", "text", "id"), "from": _is_person},
    "kick": _texts("to", "by", "text"),
    "say-muted": {**_texts("to", "but"), "minutes": _is_number},
    "yield": _texts("origin"),
    "evict": _texts("name"),
    "topic": _texts("room", "topic", "by", "but"),
    "notice": _texts("room", "text", "but"),
    "own": {**_texts("room", "kind", "text", "origin", "but"), "fields": _is_object},
    "ban": {"ban": _is_sanction},
    "unban": _texts("key"),
    "mute": {"mute": _is_sanction},
    "unmute": _texts("key"),
}


def wrong_field(order: Mapping[str, Any]) -> str:
    """Return the name of a field that an order lacks, or that is wrong; empty if all are right."""
    for field, is_right in ORDER_FIELDS.get(order["do"], {}).items():
        if field not in order or not is_right(order[field]):
            return field
    return ""


def is_answer(order: Mapping[str, Any]) -> bool:
    """Return whether something is an answer: a number, and perhaps a name and ids."""
    delivered = order.get("delivered", [])
    return (
        type(order.get("call")) is int
        and _is_text(order.get("name", ""))
        and type(delivered) is list
        and all(map(_is_text, delivered))
    )
