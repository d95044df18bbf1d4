"""What a running service does for its certificates: a look at their files, and SIGHUP."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from twisted.logger import Logger

from twisted_net.tls.certificates import Certificates, CertificateWatch

_log = Logger()


class SignalHandler:
    """Calls something in the reactor's thread when a signal comes, until :meth:`restore`.

    What handled the signal before is called too, so that several services may have it.

    :param call: called without arguments, soon after the signal, never in the midst of anything.
    """

    def __init__(self, reactor: Any, number: int, call: Callable[[], object]) -> None:
        self._reactor = reactor
        self._number = number
        self._call: Callable[[], object] | None = call
        self._before: Any = signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._call is not None:
            self._reactor.callFromThread(self._call)
        if callable(self._before):
            self._before(number, frame)

    def restore(self) -> None:
        """Give the signal back to whom it was taken from, unless somebody else has taken it."""
        self._call = None
        now: Any = signal.getsignal(self._number)
        if now is not self:
            return
        before = self._before
        while isinstance(before, SignalHandler) and before._call is None:  # it has ended before us
            before = before._before
        # None: it was not Python that handled it.
        signal.signal(self._number, signal.SIG_DFL if before is None else before)


class CertificateReloader:
    """Keeps the certificates of a service fresh while it runs."""

    def __init__(self, certificates: Sequence[Certificates], reactor: Any) -> None:
        self._certificates = certificates
        self._reactor = reactor
        self._watch = CertificateWatch(certificates, reactor)
        self._hangup: SignalHandler | None = None

    def start(self) -> None:
        """Begin to look, and reload on SIGHUP, which ends the process otherwise."""
        self._watch.startService()
        # Python takes signals in its main thread alone; elsewhere, an application has its own.
        if (
            any(each.from_disk for each in self._certificates)
            and threading.current_thread() is threading.main_thread()
        ):
            self._hangup = SignalHandler(self._reactor, signal.SIGHUP, self._reload)

    def stop(self) -> None:
        """Look no more, and leave SIGHUP to whoever had it."""
        self._watch.stopService()
        if self._hangup is not None:
            self._hangup.restore()
            self._hangup = None

    def _reload(self) -> None:
        _log.info("SIGHUP: reading the certificates again")
        for each in self._certificates:
            each.reload()
