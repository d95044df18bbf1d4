"""Why the store cannot be used now, and who wants to know."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

_log = Logger()


class Trouble:
    """What is wrong with the store.

    :param where: where Redis is.
    :ivar text: one sentence for operators; empty if nothing is wrong.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._watchers: list[Callable[[str], None]] = []
        self.text = ""

    def watch(self, changed: Callable[[str], None]) -> None:
        """Call ``changed`` with the text each time it changes."""
        self._watchers.append(changed)

    def expect(self, problem: str) -> None:
        """Note what is wrong before anything was tried. It is neither logged nor told."""
        self.text = self._sentence(problem)

    def set(self, problem: str) -> None:
        """Note what is wrong, log it, and tell it; empty if nothing is."""
        text = self._sentence(problem) if problem else ""
        if text == self.text:
            return
        self.text = text
        if text:
            _log.error("The store is in trouble. {text}", text=text)
        else:
            _log.info("The store works: Redis at {where}", where=self._where)
        for changed in list(self._watchers):
            try:
                changed(text)
            except Exception:
                _log.failure("A watcher of the store's trouble failed")

    def _sentence(self, problem: str) -> str:
        return f"Redis at {self._where}: {problem}"
