"""Mutes that several processes have in common. This module is pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted_net.chat.bans import Sanction, Sanctions

Changed = Callable[[str, Sanction | None], None]
"""Called with a key, and the mute that has it now; None if it was lifted."""


class SharedMutes(Sanctions):
    """The mutes. It says what changes, except by what other processes have said."""

    def __init__(self, changed: Changed) -> None:
        super().__init__()
        self._changed = changed

    def add(self, sanction: Sanction, now: float) -> tuple[Sanction, list[Sanction]]:
        sanction, dropped = super().add(sanction, now)
        self._changed(sanction.key, sanction)
        for each in dropped:
            self._changed(each.key, None)
        return sanction, dropped

    def restore_state(self, state: Iterable[str], now: float) -> None:
        for text in state:  # all know it already
            super().add(Sanction.from_json(text), now)

    def lift(self, mark: str, marks: Iterable[str] = ()) -> list[Sanction]:
        lifted = super().lift(mark, marks)
        for each in lifted:
            self._changed(each.key, None)
        return lifted
