"""Warn when a hook blocks the reactor, which then serves no connection.

Two readings of the clock for each message would cost more than some hooks. So no message is timed:
the timers, which run every half second, tell when they last ran, and a thread looks what the
reactor is doing if they are late. While nothing blocks, that thread wakes once a second, and only
while there are connections.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import dropwhile
from threading import Event, Thread, get_ident
from time import monotonic
from types import CodeType, FrameType
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger

from twisted_net.connection.connection import Connection
from twisted_net.eager.reactor_interfaces import plain

BLOCKED = 2.0
"""The seconds without a tick after which a hook is told of."""

WARN_EVERY = 60.0
"""The least seconds between two warnings."""

_LATE = 1.0  # seconds without a tick after which the thread looks what the reactor is doing
_AGAIN = 0.25  # seconds until it looks again
_TICK = 0.5  # seconds between two ticks: see Timers

_HOOKS = (
    *("connected", "message_received", "disconnected", "idle_expired", "eof_received"),
    *("handshake_failed", "missed_notice"),
)

_CALLERS = (Connection.call_hook.__code__, Connection.dataReceived.__code__)

_log = Logger()


class BlockWatch:
    """Notices that a reactor is blocked, and by which hook.

    :param now: the time in seconds; it must not be one that can be set.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._beat_at = 0.0
        self._told_at = -WARN_EVERY
        self._seen: Counter[str] = Counter()  # what the reactor was doing, and how often
        self._where = ""  # and in which line, when it was last looked at
        self._timers = 0
        self._wanted = Event()
        self._thread: Thread | None = None
        self._reactor_thread = 0

    # In the reactor's thread.

    def begin(self) -> None:
        """Timers begin to tick, and call :meth:`beat` from now on."""
        self._timers += 1
        self._beat_at = self._now()
        self._wanted.set()

    def end(self) -> None:
        """They stop."""
        self._timers -= 1
        if not self._timers:
            self._wanted.clear()
            self._seen.clear()

    def beat(self) -> None:
        """The reactor runs. Warn if it did not, and a hook was the reason."""
        now = self._now()
        silence = now - self._beat_at
        self._beat_at = now
        if not self._seen:
            return
        seen, self._seen = self._seen, Counter()
        if silence >= BLOCKED and now - self._told_at >= WARN_EVERY:
            self._told_at = now
            _log.warn(
                "{hook} blocked the reactor for about {seconds:.0f} s, at {where}, so no other "
                "connection was served; await what takes long, or use deferToThread()",
                hook=seen.most_common(1)[0][0],
                seconds=silence - _TICK / 2,  # it began between the last tick and the next
                where=self._where,
            )

    # In the thread that watches.

    def start_thread(self) -> None:
        """Watch the thread that calls this. Later calls do nothing."""
        if self._thread is None:
            self._reactor_thread = get_ident()
            self._thread = Thread(target=self._watch, name="twisted_net blocking", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        rest = Event()  # nobody sets it
        while self._wanted.wait():
            rest.wait(self.look(sys._current_frames().get(self._reactor_thread)))

    def look(self, frame: FrameType | None) -> float:
        """Note what the reactor is doing, if it is late.

        :param frame: the innermost frame of the reactor's thread.
        :return: the seconds until the next look.
        """
        silence = self._now() - self._beat_at
        if silence < _LATE:
            return _LATE - silence
        found = hook_in(frame)
        if found is not None and self._timers:
            hook, self._where = found
            self._seen[hook] += 1
        return _AGAIN


def hook_in(frame: FrameType | None) -> tuple[str, str] | None:
    """Return the hook that is running, and the file and line that it has come to.

    :param frame: the innermost frame.
    """
    frames = list(_outwards(frame))[::-1]
    theirs = [each for each in frames if not _belongs_to(each, "twisted_net", "twisted")]
    hook = next(filter(_is_hook, theirs), None)
    if hook is None:
        # A hook of this package may only pass on what happens, as the guard's do. What it calls is
        # named; and whatever else a connection calls, such as a loop over its messages.
        inner = dropwhile(lambda each: each.f_code not in _CALLERS and not _is_hook(each), frames)
        rest = list(inner)
        hook = next((each for each in rest if each in theirs), next(filter(_is_hook, rest), None))
    if hook is None:
        return None
    last = theirs[-1] if hook in theirs else frames[-1]
    return f"{_name(hook.f_code)}()", f"{last.f_code.co_filename}:{last.f_lineno}"


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_hook(frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_name in _HOOKS and "." in code.co_qualname


def _belongs_to(frame: FrameType, *packages: str) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in packages


def _name(code: CodeType) -> str:
    return code.co_qualname.rpartition("<locals>.")[2]


_watches: WeakKeyDictionary[Any, BlockWatch] = WeakKeyDictionary()


def watch_of(clock: Any) -> BlockWatch | None:
    """Return the watch of a reactor that is running; None for any other clock."""
    clock = plain(clock)  # one watch for a reactor and its views
    if not IReactorCore.providedBy(clock) or not getattr(clock, "running", False):
        return None
    watch = _watches.get(clock)
    if watch is None:
        watch = _watches[clock] = BlockWatch()
        watch.start_thread()
    return watch
