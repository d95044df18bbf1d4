"""When a peer that is silent at first is greeted as a person with a terminal."""

from __future__ import annotations

from collections.abc import Mapping

GREETING_DELAY = 0.15
"""Seconds for which a peer may be silent until it is greeted. Programs and browsers speak first."""

BROWSER_DELAY = 1.0
"""The same for peers at an address from which a browser has just asked for something. A page has
many files, and one request that is answered with a greeting is lost. Linux sends a lost packet
again after 0.2 seconds and more, so that one that is lost once still comes in time."""

BROWSER_MEMORY = 2.0
"""Seconds for which a browser at an address is remembered: longer than a page takes to load."""


class RecentBrowsers:
    """The addresses from which browsers have just sent requests. Times are in seconds."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[str, float] = {}  # by address: when one asked last; the oldest first

    def add(self, host: str, now: float) -> None:
        """Note that a browser has sent a request from an address."""
        self._forget(now)
        self._asked.pop(host, None)
        self._asked[host] = now

    def is_near(self, host: str, now: float) -> bool:
        """Return whether a browser at this address has sent a request just now."""
        if self._asked:
            self._forget(now)
        return host in self._asked

    def export_state(self, now: float) -> dict[str, float]:
        """Return how long ago a browser has asked, by address, for :meth:`restore_state`."""
        self._forget(now)
        return {host: now - when for host, when in self._asked.items()}

    def restore_state(self, state: Mapping[str, float], now: float) -> None:
        """Remember the browsers of another process."""
        self._asked.update((host, now - age) for host, age in state.items())

    def _forget(self, now: float) -> None:
        while self._asked:
            host, when = next(iter(self._asked.items()))
            if 0 <= now - when < BROWSER_MEMORY:  # if it is later, the clock was set back
                break
            del self._asked[host]
