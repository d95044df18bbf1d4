"""What a service has counted, and how that goes on in another process, as by an upgrade in place.

The other process goes on with some connections, and with what they have received and sent; and so
do factories with what they count themselves. All else would be missing there: what connections that
have ended have received, for example, or what ports have accepted. So the old process tells what it
has counted, and the new one remembers what of this it does not count itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Counters:
    """Numbers of one service that never fall.

    :ivar accepted: connections, by listener.
    :ivar endings: connections that have ended, by the code of the reason.
    :ivar handshakes: completed TLS handshakes, by version.
    :ivar traffic: bytes and messages, by the name of the counter.
    """

    accepted: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    handshakes: Counter[str] = field(default_factory=Counter)
    traffic: Counter[str] = field(default_factory=Counter)

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Counters:
        """Return the counters of :meth:`export_state`."""
        return cls(*(Counter(state[each.name]) for each in fields(cls)))

    def export_state(self) -> dict[str, dict[str, int]]:
        """Return JSON for :meth:`restored`."""
        return {each.name: dict(getattr(self, each.name)) for each in fields(self)}

    def subtract(self, others: Counters) -> None:
        """Subtract each of the numbers."""
        for each in fields(self):
            getattr(self, each.name).subtract(getattr(others, each.name))
