"""Upgrade a service in place: on SIGUSR2, and when an operator asks for it.

The new process is started with the same command line, and adopts the listeners and connections; see
:mod:`twisted_net.upgrade`.
"""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.connection.factory import flush_log
from twisted_net.connection.timers import reactor_clock
from twisted_net.endpoints.descriptors import open_descriptors
from twisted_net.endpoints.listening import ListenerService
from twisted_net.services.reexec import SavedState
from twisted_net.services.reloader import SignalHandler
from twisted_net.services.service_manager import ServiceManager
from twisted_net.upgrade.frames import UpgradeFailed
from twisted_net.upgrade.new_process import Succession
from twisted_net.upgrade.old_process import Moved, Upgrade
from twisted_net.upgrade.program import NewProgram, StartCommand
from twisted_net.wire.text import counted, noun_for

_log = Logger()


class Launch:
    """How this process was started, and how the next one is to be.

    It has to be made while the command line is parsed: later, twistd changes the directory.

    :param flags: those of twistd, if it runs the service.
    :ivar succession: what this process has from an old one; None if it is the first.
    :ivar saved: what this process had before it became new code; None if it was not that.
    """

    def __init__(self, flags: MutableMapping[str, Any] | None = None) -> None:
        self.saved = SavedState.from_environment(os.environ)
        self.command = StartCommand()
        self.succession = Succession.from_environment(os.environ)
        self._flags = {} if flags is None else flags
        self._pid_file = ""
        if self.succession is not None or self.saved is not None:
            self.hide_pid_file()  # twistd would refuse to start beside the process that it names
        if self.saved is not None:
            self._stay_daemon()

    def append_to_log(self) -> None:
        """Write to the end of ``--logfile``, wherever that is by now.

        Twisted goes on where it has written last. Two processes would overwrite each other's lines.
        """
        path = self._flags.get("logfile") or self._named_log()
        if not path or path == "-":
            return  # one descriptor, which both have
        with suppress(OSError):
            log = os.stat(path)
            for each in open_descriptors():
                with suppress(OSError):  # it is not open
                    if os.path.samestat(os.fstat(each), log):
                        flags = fcntl.fcntl(each, fcntl.F_GETFL)
                        fcntl.fcntl(each, fcntl.F_SETFL, flags | os.O_APPEND)

    def _named_log(self) -> str:
        """Return the log that the command line names: a .tac file does not get twistd's flags."""
        words = self.command.words
        for word, following in pairwise([*words, ""]):
            name, equals, value = word.partition("=")
            if name in ("-l", "--logfile"):
                return os.path.join(self.command.directory, value if equals else following)
        return ""

    def _stay_daemon(self) -> None:
        """Let twistd not fork again if the process is a daemon already."""
        flags = self._flags
        if "nodaemon" in flags and not (flags["nodaemon"] or flags["debug"]):
            flags["nodaemon"] = True
            if not (flags["logfile"] or flags["syslog"] or flags["logger"]):
                flags["logfile"] = "twistd.log"  # as daemons do

    def hide_pid_file(self) -> None:
        """Let twistd neither check the pid file, nor write it, nor remove it."""
        self._pid_file = self._flags.get("pidfile") or self._pid_file
        if self._pid_file:
            self._flags["pidfile"] = ""

    def restore_pid_file(self) -> None:
        """Let twistd remove the pid file at the end."""
        if self._pid_file:
            self._flags["pidfile"] = self._pid_file

    def write_pid_file(self, pid: int) -> None:
        """Replace the pid file's number, at once."""
        path = self._flags.get("pidfile") or self._pid_file
        if not path:
            return
        try:
            with open(f"{path}.{os.getpid()}", "w") as file:
                file.write(str(pid))
            os.rename(file.name, path)
        except OSError as error:
            _log.warn("--pidfile {path}: {reason}", path=path, reason=error.strerror)


class Upgrader:
    """Upgrades one service, as often as somebody asks.

    :param name: for the log.
    :param services: all that is moved, by name. The first one is the service itself.
    :param launch: how the process was started.
    :param manager: is told of the new process.
    """

    def __init__(
        self,
        name: str,
        services: Callable[[], Mapping[str, ListenerService]],
        launch: Launch,
        manager: ServiceManager,
        drain: Callable[[], Deferred[Any]],
    ) -> None:
        self._name = name
        self._services = services
        self._launch = launch
        self._manager = manager
        self._drain = drain
        self._is_running = False
        self._attempt: Deferred[Moved] | None = None
        self.has_moved = False

    # The new process.

    def wait(self) -> None:
        """Load what is needed, and wait for what the old process passes on."""
        succession = self._launch.succession
        if succession is not None:
            self._launch.append_to_log()
            gc.collect()
            gc.freeze()
            gc.disable()  # until everything is adopted, there is only more and more
            succession.wait(self._services())

    def adopt(self) -> None:
        """Adopt what the old process has passed on, after everything listens."""
        succession, self._launch.succession = self._launch.succession, None
        if succession is None:
            return
        services = self._services()
        count = succession.adopt(services)
        succession.take_over(services)
        gc.enable()
        self._launch.restore_pid_file()
        _log.info(
            f"Upgrade: this process goes on with {{count}} {noun_for(count, 'connection')} "
            "of process {old}",
            count=count,
            old=succession.old_pid,
        )

    # The old process.

    def upgrade(self, reactor: Any) -> Deferred[str]:
        """Let the new code go on. The end of this process follows, unless that fails.

        :return: fires with what was done, one sentence; fails with :exc:`UpgradeFailed`.
        """
        return Deferred.fromCoroutine(self._logged(reactor))

    async def _logged(self, reactor: Any) -> str:
        try:
            return await self._upgrade(reactor)
        except CancelledError:
            _log.info("Upgrade given up: {name} stops", name=self._name)
            raise UpgradeFailed(f"{self._name} stops") from None
        except UpgradeFailed as error:
            _log.error("Upgrade failed, and this process goes on: {reason}", reason=str(error))
            raise

    async def _upgrade(self, reactor: Any) -> str:
        if self._is_running:
            raise UpgradeFailed("an upgrade is running already")
        if self.has_moved:
            raise UpgradeFailed("another process goes on already, and this one is about to end")
        service = next(iter(self._services().values()))
        if not service.ready:
            raise UpgradeFailed(f"{self._name} is not ready")
        self._is_running = True
        self._launch.append_to_log()
        _log.info("Upgrade: starting the new code")
        start = partial(NewProgram, self._launch.command)
        attempt = Upgrade(reactor, self._services(), start, self._announce)
        try:
            self._attempt = attempt.start()
            moved = await self._attempt
        finally:
            self._attempt = None
            self._is_running = False
        self.has_moved = True
        self._end(reactor, attempt, moved)
        return f"Process {moved.pid} goes on with {counted(moved.count, 'connection')}."

    def cancel(self) -> None:
        """Give an upgrade up that is running, because the service stops. The new process ends."""
        if self._attempt is not None:
            self._attempt.cancel()

    def _announce(self, pid: int) -> None:
        """Tell whoever must know the service's process."""
        self._launch.write_pid_file(pid)
        self._manager.main_process(pid)

    def _end(self, reactor: Any, attempt: Upgrade, moved: Moved) -> None:
        """End this process: now, or when what has stayed is closed."""
        moved.log()
        self._manager.close()
        self._launch.hide_pid_file()
        if not moved.stayed:
            flush_log()
            sys.stdout.flush()
            os._exit(0)
        attempt.finish()

        def over(_: object) -> None:
            with suppress(ReactorNotRunning):
                reactor.stop()

        # In a later turn, so that an operator who has asked for it is answered before.
        deferLater(reactor, 0, self._drain).addBoth(over)


class UpgradableService(MultiService):
    """Runs listening services of your own, and upgrades them in place on SIGUSR2::

        service = ListenerService(ConnectionFactory.forProtocol(Shout), [listener])
        UpgradableService({"shout": service}).setServiceParent(application)

    The new process is started with the same command line. Connections whose class has
    ``save_state()`` and ``load_state()`` move to it; the others are closed (``draining``).

    :param services: by names, which are the same in the new code.
    """

    def __init__(self, services: Mapping[str, ListenerService]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._services = dict(services)
        for each in self._services.values():
            each.setServiceParent(self)  # type: ignore[no-untyped-call]
        self._launch = Launch()
        self._signal: SignalHandler | None = None
        name = ", ".join(self._services)
        manager = ServiceManager(reactor_clock(None), os.environ)
        self._upgrader = Upgrader(
            name, lambda: self._services, self._launch, manager, self._drain_rest
        )

    def privilegedStartService(self) -> None:
        if self._launch.succession is None:  # else the listening sockets come from the old process
            super().privilegedStartService()  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        self._upgrader.wait()
        super().startService()  # type: ignore[no-untyped-call]
        if threading.current_thread() is threading.main_thread():
            self._signal = SignalHandler(reactor_clock(None), signal.SIGUSR2, self._signalled)
        self._upgrader.adopt()

    def stopService(self) -> Any:
        self._upgrader.cancel()
        if self._signal is not None:
            self._signal.restore()
            self._signal = None
        return super().stopService()  # type: ignore[no-untyped-call]

    def upgrade(self) -> Deferred[str]:
        """Let new code go on in another process, without closing a connection that can move.

        :return: fires with what was done, one sentence, and the end of this process follows; fails
            with :exc:`UpgradeFailed`, and nothing has changed.
        """
        return self._upgrader.upgrade(reactor_clock(None))

    def _signalled(self) -> None:
        self.upgrade().addErrback(was_logged)

    def _drain_rest(self) -> Deferred[Any]:
        return DeferredList([each.begin_drain() for each in self._services.values()])


def was_logged(failure: Failure) -> None:
    """Ignore that an upgrade has failed: the log says so."""
    failure.trap(UpgradeFailed)  # type: ignore[no-untyped-call]
