"""Counts the connections of a worker whose admission the supervisor has decided about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.services.workers.handoff import LEFT_TO_WORKER, Decision


def share_of(rules: AdmissionRules, workers: int) -> AdmissionRules:
    """Return the part of the rules that each of several workers applies by itself.

    Numbers are divided and rounded up. Ranges hold everywhere.
    """
    return replace(
        rules,
        max_connections=-(-rules.max_connections // workers),
        max_per_address=-(-rules.max_per_address // workers),
        accept_rate=rules.accept_rate / workers,
        accept_burst=max(1, -(-rules.accept_burst // workers)),
    )


class SharedAdmission(Admission):
    """Admits whom the supervisor has admitted, and tells it when they leave.

    Connections about which the supervisor could not decide are counted here, by this worker's share
    of the rules.

    :param rules: the share.
    :param left: called with the address of each connection that has left, None for a Unix socket.
    :ivar decision: what the supervisor has decided about the connection that is being made.
    """

    __slots__ = ("_handed", "_left", "decision")

    def __init__(self, rules: AdmissionRules, left: Callable[[str | None], object]) -> None:
        super().__init__(rules)
        self.decision = LEFT_TO_WORKER
        self._handed: Counter[str | None] = Counter()
        self._left = left

    def decide(self, decision: Decision) -> None:
        """Note what the supervisor has decided about the next connection."""
        self.decision = decision

    def admit(self, address: str | None, now: float) -> CloseReason | None:
        decision, self.decision = self.decision, LEFT_TO_WORKER
        if decision.is_open:
            return super().admit(address, now)
        if decision.refusal is None:
            self._handed[address] += 1
        else:
            self.refused[decision.refusal.code] += 1
        return decision.refusal

    def settle(self, address: str | None) -> None:
        """End the making of a connection: if nobody has asked about it, it is gone already."""
        decision, self.decision = self.decision, LEFT_TO_WORKER
        if not decision.is_open and decision.refusal is None:
            self._left(address)

    def leave(self, address: str | None) -> None:
        if not self._handed[address]:
            super().leave(address)
            return
        self._handed[address] -= 1
        if not self._handed[address]:
            del self._handed[address]
        self._left(address)
