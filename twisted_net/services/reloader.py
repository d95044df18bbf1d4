"""Reload certificates while a service runs: when their files change, and on SIGHUP.

SIGHUP also reads the ``--config`` file again.
SIGHUP never ends a service: scripts send it to every server after a renewal.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from twisted.logger import Logger

from twisted_net.services.config_reloader import ConfigReloader
from twisted_net.services.early_signals import NotedSignal, in_main_thread
from twisted_net.services.live_flags import ReloadError
from twisted_net.services.service_manager import ServiceManager, StateListener
from twisted_net.tls.certificate_watch import CertificateWatch
from twisted_net.tls.certificates import Certificates
from twisted_net.web.admin.log_level import changes

READING = "reading the certificates again"
NOTHING_TO_READ = "there are no certificate files to read again"

_log = Logger()


class SignalHandler:
    """Calls a function in the reactor's thread when a signal arrives, until :meth:`restore`.

    The previous handler is called too, so several services can handle the same signal. A signal
    that was noted before there was any handler counts as if it came now.

    :param call: called without arguments soon after the signal, and never inside other code.
    """

    def __init__(self, reactor: Any, number: int, call: Callable[[], object]) -> None:
        self._reactor = reactor
        self._number = number
        self._call: Callable[[], object] | None = call
        # Known before, because the signal may arrive before signal.signal() has returned.
        self._before: Any = signal.getsignal(number)
        self._before = signal.signal(number, self)
        noted = self._first()
        if isinstance(noted, NotedSignal) and noted.has_come:
            reactor.callFromThread(call)
            # Later, so that other services, which start in the same turn, hear of it as well.
            reactor.callFromThread(noted.end)
        elif isinstance(noted, NotedSignal):
            noted.end()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._call is not None:
            self._reactor.callFromThread(self._call)
        if callable(self._before):
            self._before(number, frame)

    def _first(self) -> Any:
        """Return the handler before all of these."""
        before = self._before
        while isinstance(before, SignalHandler):
            before = before._before
        return before

    def restore(self) -> None:
        """Restore the previous handler, unless another one has been installed since."""
        self._call = None
        now: Any = signal.getsignal(self._number)
        if now is not self:
            return
        before = self._before
        while isinstance(before, SignalHandler) and before._call is None:  # ended before this one
            before = before._before
        # None: the handler was not installed from Python.
        signal.signal(self._number, signal.SIG_DFL if before is None else before)


class CertificateReloader:
    """Reloads the certificates of a service while it runs, and its ``--config`` file.

    The service may have neither.

    :param manager: is told of each SIGHUP.
    :param config: the file.
    """

    def __init__(
        self,
        certificates: Sequence[Certificates],
        reactor: Any,
        manager: StateListener | None = None,
        config: ConfigReloader | None = None,
    ) -> None:
        self._config = config
        self._manager: StateListener = manager or ServiceManager(reactor, {})
        self._certificates = certificates
        self._reactor = reactor
        self._watch = CertificateWatch(certificates, reactor)
        self._hangup: SignalHandler | None = None

    def start(self) -> None:
        """Start checking the files, and handle SIGHUP, which otherwise ends the process."""
        if self._certificates:
            self._watch.startService()
        if in_main_thread():
            self._hangup = SignalHandler(self._reactor, signal.SIGHUP, self._hung_up)

    def stop(self) -> None:
        """Stop checking, and restore the previous handler of SIGHUP."""
        if self._watch.running:
            self._watch.stopService()
        if self._hangup is not None:
            self._hangup.restore()
            self._hangup = None

    def _hung_up(self) -> None:
        with suppress(ReloadError):  # it is in the log
            self.reload("SIGHUP")

    def reload(self, why: str, *, config: bool = True) -> str:
        """Read the certificates and the ``--config`` file again, and log what came of it.

        :param why: what asks for it, for the log; empty if who asks logs it.
        :param config: whether the file is read.
        :return: a line about what has changed.
        :raises ReloadError: the file is wrong, and nothing of it is obeyed. The certificates are
            read all the same.
        """
        with self._manager.reloading():
            told = self._reload_certificates(why)
            if self._config is None or not config:
                return told
            return self._reload_config(self._config, why)

    def _reload_certificates(self, why: str) -> str:
        if any(each.from_disk for each in self._certificates):
            told = READING
            if why:
                changes.info("{why}: {told}", why=why, told=told)
            for each in self._certificates:
                each.reload()
            return told
        told = NOTHING_TO_READ
        if self._config is None and why:
            changes.info("{why}: {told}", why=why, told=told)
        return told

    def _reload_config(self, config: ConfigReloader, why: str) -> str:
        try:
            told = config.reload()
        except ReloadError as error:
            if why:
                _log.error("{why}: {error}; nothing has changed", why=why, error=str(error))
            raise
        if why:
            changes.info("{why}: {told}", why=why, told=told)
        return told
