"""Read the ``--config`` file again while a service runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from twisted_net.policy.admission import Admission, RuleChanges
from twisted_net.services.live_flags import flag_changes, read_again, summarize


class ConfigReloader:
    """Reads the file of a service again, and lets the service obey what has changed.

    :param options: the command line of the service. It gets the new values of the flags that the
        service obeys, so that the next time shows what has changed since.
    :param apply: called with the options so far, the new ones, and the names of the flags that have
        changed and that a running service obeys, if there are any.
    """

    def __init__(self, options: Any, apply: Callable[[Any, Any, Collection[str]], object]) -> None:
        self._options = options
        self._apply = apply

    def reload(self) -> str:
        """Read the file again.

        :return: a line about what has changed, and about what needs a restart.
        :raises ReloadError: the file is wrong; then nothing has changed.
        """
        now = read_again(self._options)
        changes = flag_changes(self._options, now)
        live = [change.flag for change in changes if change.is_live]
        if live:
            self._apply(self._options, now, frozenset(live))
            for flag in live:
                self._options.adopt(flag, now)
        options = self._options
        return f"{options.command}: {options['config']}: {summarize(changes)}"


def change_rules(admission: Admission, before: Any, now: Any, changed: Collection[str]) -> None:
    """Change who may connect. Ranges that operators have denied meanwhile stay denied.

    :param before: the command line so far.
    :param now: the new one.
    :param changed: the names of the flags that have changed.
    """
    rules, changes = now.rules(), RuleChanges()
    if "max-connections" in changed:
        changes["max_connections"] = rules.max_connections
    if "max-per-address" in changed:
        changes["max_per_address"] = rules.max_per_address
    if "accept-rate" in changed:
        changes["accept_rate"] = rules.accept_rate
    if changes:
        admission.change(**changes)
    for flag, ranges in ("allow", admission.allowed), ("deny", admission.denied):
        old, new = set(before[flag]), set(now[flag])
        # In this order: while no range is allowed, all are.
        for network in new - old:
            ranges.add(network)
        for network in old - new:
            with suppress(ValueError):  # somebody has removed it meanwhile
                ranges.remove(network)
