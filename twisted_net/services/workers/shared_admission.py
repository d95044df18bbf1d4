"""Counts the connections of a worker whose admission the supervisor has decided about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Unpack

from twisted_net.policy.admission import Admission, AdmissionRules, Admitting, RuleChanges
from twisted_net.policy.close_reasons import CloseReason
from twisted_net.services.workers.handoff import LEFT_TO_WORKER, Decision

_DIVIDED = ("max_connections", "max_per_address", "accept_burst")


def share_of(rules: AdmissionRules, workers: int) -> AdmissionRules:
    """Return the part of the rules that each of several workers applies by itself.

    Numbers are divided and rounded up. Ranges hold everywhere.
    """
    values = {name: getattr(rules, name) for name in (*_DIVIDED, "accept_rate")}
    return replace(rules, **{name: _share(name, each, workers) for name, each in values.items()})


def _share(name: str, value: Any, workers: int) -> Any:
    if name == "accept_rate":
        return value / workers
    return -(-value // workers) if name in _DIVIDED else value


class SharedAdmission(Admission):
    """Admits whom the supervisor has admitted, and tells it when they leave.

    Connections about which the supervisor could not decide are counted here, by this worker's share
    of the rules.

    :param rules: the share.
    :param workers: how many workers there are. Changes of rules are divided by it.
    :param left: called with the address of each connection that has left, None for a Unix socket.
    :ivar decision: what the supervisor has decided about the connection that is being made.
    """

    __slots__ = ("_expected", "_handed", "_left", "_workers", "decision")

    def __init__(
        self, rules: AdmissionRules, workers: int, left: Callable[[str | None], object]
    ) -> None:
        super().__init__(rules)
        self.decision = LEFT_TO_WORKER
        self._handed: Counter[str | None] = Counter()
        self._expected: Counter[str | None] = Counter()
        self._left = left
        self._workers = workers

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

    def admit_proxy(self, address: str | None) -> CloseReason | None:
        # Only the worker will learn who the clients are, so the supervisor has not decided.
        self.decision = LEFT_TO_WORKER
        return super().admit_proxy(address)

    def change(self, **changes: Unpack[RuleChanges]) -> None:
        shares: Any = {name: _share(name, each, self._workers) for name, each in changes.items()}
        super().change(**shares)

    def serve(self, factory: Admitting) -> None:
        """Do not remember it: most of its connections are not counted here."""

    def settle(self, address: str | None) -> None:
        """End the making of a connection: if nobody has asked about it, it is gone already."""
        decision, self.decision = self.decision, LEFT_TO_WORKER
        if not decision.is_open and decision.refusal is None:
            self._left(address)

    def leave(self, address: str | None) -> None:
        if take_one(self._handed, address):
            self._left(address)
        else:
            super().leave(address)

    # Moving to another process, as by an upgrade in place.

    def keep(self, addresses: Iterable[str | None]) -> list[str | None]:
        """Count only these connections from now on: another process has the others.

        :return: the addresses of those that the supervisor counts.
        """
        self._handed &= Counter(addresses)
        return list(self._handed.elements())

    def export_state(self, now: float) -> dict[str, Any]:
        return {**super().export_state(now), "handed": list(self._handed.items())}

    def restore_state(self, state: Mapping[str, Any], now: float) -> None:
        super().restore_state(state, now)
        self._expected.update(dict(state["handed"]))

    def count_moved(self, address: str | None) -> None:
        if take_one(self._expected, address):
            self._handed[address] += 1
        else:
            super().count_moved(address)


def take_one(counts: Counter[str | None], address: str | None) -> bool:
    """Count out a connection, and return whether it was counted."""
    if counts[address] < 1:
        return False
    counts[address] -= 1
    if not counts[address]:
        del counts[address]
    return True
