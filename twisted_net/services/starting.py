"""Failed starts: one line that names the flag, exit status 1, and no traceback."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection
from types import FrameType
from typing import Any, TypeVar

from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger, LogLevel

from twisted_net.connection.timers import reactor_clock
from twisted_net.eager.steady import make_steady
from twisted_net.endpoints.listening import ListenerService, ListenFailed
from twisted_net.policy.close_reasons import DRAINING
from twisted_net.services import early_signals
from twisted_net.services.config_reloader import ConfigReloader, change_rules
from twisted_net.services.live_flags import ReloadError
from twisted_net.services.privileges import FilesInUse
from twisted_net.services.reloader import CertificateReloader, SignalHandler
from twisted_net.services.service_manager import ServiceManager, StateListener
from twisted_net.services.upgrading import Launch, Upgrader, was_logged
from twisted_net.web.admin.log_level import set_log_level

_log = Logger()

ParsedT = TypeVar("ParsedT")


# twistd does not catch SystemExit, and Python ends with its message and status 1. Because it is an
# Exception too, twistd first removes its pid file, and tells the parent of a daemon.
class StartError(SystemExit, Exception):
    """The service cannot start. The message is the one line for the user."""

    def show(self) -> StartError:
        """Print the line now, because the log has already replaced standard error."""
        print(self, file=sys.__stderr__, flush=True)
        self.code = 1
        return self


def fail_late(reactor: IReactorCore, line: str) -> None:
    """End a start that failed after the reactor began to run.

    Exceptions inside the reactor do not reach twistd, whose exit status would be 0.
    """
    print(line, file=sys.__stderr__, flush=True)
    atexit.register(_exit_with_failure)
    reactor.stop()


def _exit_with_failure() -> None:
    sys.stdout.flush()
    os._exit(1)


_ENDPOINT_ERRORS = (
    (re.compile(r"required positional arguments?: (.*)"), "{} is missing"),
    (re.compile(r"unexpected keyword argument (.*)"), "{} is unknown"),
    (re.compile(r"takes .* positional arguments? but"), "has too many parts"),
    (re.compile(r"invalid literal for int\(\) with base 10: (.*)"), "{} is not a number"),
    (re.compile(r"digits\) for integer string conversion"), "a number has too many digits"),
)


def format_endpoint_error(error: BaseException) -> str:
    """Return what is wrong with an endpoint, from whatever error its parser raised."""
    if isinstance(error, MemoryError):  # cffi's, for the callbacks that pyOpenSSL gives to OpenSSL
        return (
            "TLS needs memory that is both writable and executable, which is forbidden here "
            "(in systemd: MemoryDenyWriteExecute=)"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, SSL.Error | crypto.Error) and error.args:
        return "OpenSSL: " + "; ".join(str(entry[-1]) for entry in error.args[0])
    text = " ".join(str(error).split()) or type(error).__name__
    for pattern, sentence in _ENDPOINT_ERRORS:
        found = pattern.search(text)
        if found:
            return sentence.format(*found.groups())
    return text


def format_systemd_error(error: BaseException) -> str:
    """Return what is wrong with a ``systemd:`` endpoint, from the error of Twisted's parser."""
    match error:
        case IndexError() | KeyError():
            return (
                "systemd has passed no such socket; it passes those of the service's .socket units "
                "(LISTEN_FDS, LISTEN_FDNAMES)"
            )
        case AttributeError():
            return "the domain must be INET, INET6 or UNIX"
    text = format_endpoint_error(error)
    if "'domain'" in text or "exactly one" in text:
        return (
            "must be systemd:domain=INET6:name=NAME, with NAME from FileDescriptorName= of the "
            "socket unit, or systemd:domain=INET6:index=0"
        )
    return text


def parse_endpoint(where: str, text: str, parse: Callable[[], ParsedT]) -> ParsedT:
    """Call an endpoint's parser and return the result.

    :param where: command, flag and value, for the error.
    :param text: the endpoint.
    :raises StartError: the parser raised an exception.
    """
    try:
        return parse()
    except Exception as error:  # each kind of endpoint raises its own errors
        systemd = text.partition(":")[0] == "systemd"
        explain = format_systemd_error if systemd else format_endpoint_error
        raise StartError(f"{where}: {explain(error)}") from None


class SecondSignal:
    """Ends services at once if a second SIGINT or SIGTERM arrives while they stop."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._stopping: list[ListenerService] = []
        self._before: dict[signal.Signals, Any] = {}

    def begin(self, service: ListenerService) -> None:
        """Start handling signals while ``service`` stops; only in the program's main thread."""
        from twisted.internet import reactor

        running = getattr(reactor, "running", False)
        if not running or threading.current_thread() is not threading.main_thread():
            return
        if not self._stopping:
            self._before = {each: signal.signal(each, self._hear) for each in self.SIGNALS}
        self._stopping.append(service)

    def end(self, service: ListenerService) -> None:
        """Restore the previous handlers after the last service has stopped."""
        if service in self._stopping:
            self._stopping.remove(service)
            if not self._stopping:
                for each, handler in self._before.items():
                    signal.signal(each, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        from twisted.internet import reactor

        reactor.callFromThread(self._end_all, reactor)  # type: ignore[attr-defined]

    def _end_all(self, reactor: IReactorCore) -> None:
        _log.info("A signal to stop, while stopping: every connection is aborted")
        for service in list(self._stopping):
            for factory in (service.factory, *service.factory.auxiliaries):
                factory.abort(DRAINING)
        with contextlib.suppress(ReactorNotRunning):
            reactor.stop()  # if only the service was being stopped


second_signal = SecondSignal()
"""That of this process."""


def settle() -> None:
    """Prepare the process for a service, unless the reactor already runs.

    Limits hold when somebody sets the clock. Imported objects are excluded from garbage collection:
    they stay until the process ends, and each scan of them would block the server for 20 ms.
    """
    from twisted.internet import reactor

    if not getattr(reactor, "running", False):  # otherwise the application decides
        make_steady(reactor)
        reactor.callWhenRunning(_freeze)


def _freeze() -> None:
    gc.collect()
    gc.freeze()


def begin_log_level(name: str) -> None:
    """Log events of this level and above alone, from the start on."""
    if name == "debug":
        return  # as Twisted's log itself
    from twisted.internet import reactor

    set_log_level(LogLevel.levelWithName(name))
    # twist begins its log only now.
    reactor.callWhenRunning(set_log_level, LogLevel.levelWithName(name))


class NamedService(ListenerService):
    """A listening service with a name, whose failed start prints one line with that name.

    While it runs, it reloads the certificates of its listeners when they change, and on SIGHUP,
    which does not end it. SIGHUP also reads its ``--config`` file again.
    While it stops, SIGINT and SIGTERM abort the remaining connections.
    It tells systemd how it is, if systemd has started it.

    :param options: its command line, if a file of that may be read again.
    :ivar admin: shows this service to operators; it starts and stops with it.
    :ivar manager: is told how the service is.
    :ivar takes_second_signal: whether SIGINT and SIGTERM abort connections while it stops.
    :ivar upgrades_in_place: whether SIGUSR2, and operators, let new code go on in a new process.
    """

    _reloader: CertificateReloader | None = None
    _upgrade_signal: SignalHandler | None = None
    admin: ListenerService | None = None
    takes_second_signal = True
    upgrades_in_place = True

    def __init__(
        self,
        command: str,
        *args: Any,
        files: FilesInUse | None = None,
        options: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.command = command
        self._files = files
        self._launch: Launch = (options and options.launch) or Launch()
        self._log_level = "debug" if options is None else str(options["log-level"])
        self._config: ConfigReloader | None = None
        if options is not None and options.config_path is not None:
            self._config = ConfigReloader(options, self.apply_flags)
        manager = ServiceManager(self.factory.clock, os.environ)
        self.manager: StateListener = manager
        self._upgrader = Upgrader(
            command, self._all_services, self._launch, manager, self.drain_rest
        )

    def _all_services(self) -> dict[str, ListenerService]:
        """Return what an upgrade moves, by name."""
        return {self.command: self} | ({} if self.admin is None else {"admin": self.admin})

    def open(self) -> None:
        """Open what the service needs, before it serves anybody. Does nothing."""

    def upgrade(self) -> Deferred[str]:
        """Let new code go on in another process, without closing a plain connection.

        :return: fires with what was done, one sentence, and the end of this process follows; fails
            with :exc:`~twisted_net.upgrade.frames.UpgradeFailed`, and nothing has changed.
        """
        from twisted.internet import reactor

        return self._upgrader.upgrade(reactor)

    def drain_rest(self) -> Deferred[Any]:
        """Close what has stayed after an upgrade.

        :return: fires when all have ended.
        """
        stopping = [self.begin_drain()]
        if self.admin is not None:
            stopping.append(self.admin.begin_drain())
        return DeferredList(stopping)

    def privilegedStartService(self) -> None:
        if self._launch.succession is not None:
            return  # the listening sockets come from the old process
        try:
            super().privilegedStartService()
            if self.admin is not None:
                self.admin.privilegedStartService()
        except ListenFailed as error:
            raise self._start_error(error) from None

    def startService(self) -> None:
        self._upgrader.wait()
        self.open()
        try:
            super().startService()
            if self.admin is not None:
                self.admin.startService()
        except ListenFailed as error:
            raise self._start_error(error) from None
        if self._launch.succession is None:
            settle()
        else:
            make_steady(reactor_clock(None))
        if self.upgrades_in_place and threading.current_thread() is threading.main_thread():
            clock = reactor_clock(None)
            self._upgrade_signal = SignalHandler(clock, signal.SIGUSR2, self._signalled)
        begin_log_level(self._log_level)
        from twisted.internet import reactor

        early_signals.started(reactor)  # from here on, somebody may be connected
        self._upgrader.adopt()
        if self._files is not None:
            self._files.warn()
        used = [each.certificates for each in self.listeners if each.certificates is not None]
        self._reloader = CertificateReloader(used, reactor, self.manager, self._config)
        self._reloader.start()
        self._tell_if_ready()

    def reload(self, why: str, *, config: bool = True) -> str:
        """Read the certificates and the ``--config`` file again, as SIGHUP does.

        :param why: what asks for it, for the log; empty if who asks logs it.
        :param config: whether the file is read.
        :return: a line about what has changed.
        :raises ReloadError: the file is wrong, and nothing of it is obeyed.
        """
        if self._reloader is None:
            raise ReloadError(f"{self.command} does not run")
        return self._reloader.reload(why, config=config)

    def apply_flags(self, before: Any, now: Any, changed: Collection[str]) -> None:
        """Obey flags that have changed while the service runs.

        Who is connected stays, even from an address that is denied now, as in nginx and HAProxy.

        :param before: the command line so far.
        :param now: the new one.
        :param changed: the names of the flags that have changed.
        """
        factory = self.factory
        factory.change_limits(**now.limit_changes())
        if factory.admission is not None:
            change_rules(factory.admission, before, now, changed)
        if "memory-budget" in changed:
            factory.change_budget(now.budget())
        if "log-ends" in changed:
            factory.log_ends = now["log-ends"]
        if "log-level" in changed:
            set_log_level(LogLevel.levelWithName(now["log-level"]))
        self.drain = now["drain"]

    def _signalled(self) -> None:
        self.upgrade().addErrback(was_logged)

    def listening_late(self) -> None:
        self._tell_if_ready()

    def _tell_if_ready(self) -> None:
        if self.ready:
            self.manager.ready(self._count_connections)

    def _count_connections(self) -> str:
        count = len(self.factory.connections)
        return f"{count} connection{'s' if count != 1 else ''}"

    def begin_drain(self) -> Deferred[None]:
        self._upgrader.cancel()
        return super().begin_drain()

    def stopService(self) -> Deferred[None]:
        self._upgrader.cancel()
        if self._reloader is not None:
            self._reloader.stop()
            self._reloader = None
        if self._upgrade_signal is not None:
            self._upgrade_signal.restore()
            self._upgrade_signal = None
        left = f"connections left: {len(self.factory.connections)}"
        self.manager.stopping(f"Stopping; {left}", self.drain)
        stopped = super().stopService()
        if self.admin is not None:
            stopped.addBoth(self._stop_admin, self.admin)
        if not stopped.called and self.takes_second_signal:
            second_signal.begin(self)
        return stopped.addBoth(self._has_stopped)

    def _stop_admin(self, result: Any, admin: ListenerService) -> Deferred[Any]:
        # Last, so that operators can see how the connections end.
        return admin.stopService().addBoth(lambda _: result)

    def _has_stopped(self, result: Any) -> Any:
        self.manager.close()
        second_signal.end(self)
        return result

    def listen_failed_late(self, failure: ListenFailed) -> None:
        from twisted.internet import reactor

        fail_late(reactor, f"{self.command}: {failure}")

    def _start_error(self, error: ListenFailed) -> StartError:
        return StartError(f"{self.command}: {error}").show()
