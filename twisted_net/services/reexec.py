"""Become new code in the same process: the command line of its start is executed again, execve(2).

The process keeps its id, its child processes and the descriptors that its state names. A process
cannot come back from that. So the new code is tried before, in a process of its own: it parses the
command line, and reads the state, but does nothing else.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twisted_net.endpoints.descriptors import keep_high_descriptors
from twisted_net.upgrade import launcher
from twisted_net.upgrade.frames import StateEncoder, UpgradeFailed, decode_state
from twisted_net.upgrade.old_process import START_SECONDS
from twisted_net.upgrade.program import FIRST_ACTIVATED, StartCommand

REEXEC_VARIABLE = "TWISTED_NET_REEXEC"
"""The variable with the descriptor of the file that has the state."""

REEXEC_VERSION = 1
"""The version of the state. It changes whenever the state does."""

HELD_BACK = frozenset(
    {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT}
)
"""Signals that would end the process before the new code handles them. They wait until then."""

_SIZE = struct.Struct("!Q")
_TRIAL = "trial"


class SavedState:
    """What new code goes on with.

    :ivar values: the state.
    :ivar is_trial: whether this process only finds out whether the new code would start.
    """

    def __init__(self, values: dict[str, Any], is_trial: bool) -> None:
        self.values = values
        self.is_trial = is_trial

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> SavedState | None:
        """Return what the process had before; None if it has just begun.

        The variable is removed, so that other programs do not get it.

        :raises SystemExit: the state is of another version.
        """
        text = environment.pop(REEXEC_VARIABLE, None)
        if text is None:
            return None
        number, _, how = text.partition(",")
        try:
            with os.fdopen(int(number), "rb") as file:
                file.seek(0)
                (size,) = _SIZE.unpack(file.read(_SIZE.size))
                values = decode_state(file.read(size), file.read())
        except (ValueError, OSError, struct.error):
            return None  # it is somebody else's variable
        if values["version"] != REEXEC_VERSION:
            raise SystemExit(
                f"the new code takes states of version {REEXEC_VERSION}, and not "
                f"{values['version']}"
            )
        return cls(values, how == _TRIAL)


class KeptDescriptors:
    """Copies of descriptors, which other programs of this process inherit.

    :param first: the lowest number that they may have.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._copies: list[int] = []

    def keep(self, descriptor: int) -> int:
        """Return a copy of a descriptor.

        :raises OSError: there is none free.
        """
        copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD, self._first)
        self._copies.append(copy)
        return copy

    def close(self) -> None:
        """Close the copies: the program goes on."""
        for each in self._copies:
            os.close(each)
        self._copies.clear()


class NewProgramTrial(ProcessProtocol):
    """Hears how the new code's trial ends.

    :ivar ended: fires with its status, or minus the signal that has ended it.
    :ivar said: its standard error.
    """

    transport: Any = None

    def __init__(self) -> None:
        self.ended: Deferred[int] = Deferred(lambda _: self.kill())
        self.said = bytearray()

    def kill(self) -> None:
        """End it."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def errReceived(self, data: bytes) -> None:
        self.said += data
        del self.said[:-4096]

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        if not self.ended.called:
            self.ended.callback(-value.signal if value.signal else value.exitCode or 0)


class SelfReplacement:
    """Starts the command line of this process again, in its place.

    :param command: how this process was started.
    """

    def __init__(self, command: StartCommand) -> None:
        self._command = command
        self.first = FIRST_ACTIVATED + len(command.activated)

    async def check(self, reactor: Any, values: Mapping[str, Any]) -> None:
        """Find out whether the new code starts.

        :param values: the state that it would get.
        :raises UpgradeFailed: it does not.
        """
        kept = KeptDescriptors(self.first)
        trial = NewProgramTrial()
        null = os.open(os.devnull, os.O_RDWR)
        try:
            saved = self._save(values, kept)
            words, environment, passed = self._program(f"{saved},{_TRIAL}", kept)
            descriptors = {0: null, 1: null, 2: "r"} | {each: each for each in (saved, *passed)}
            keep_high_descriptors()
            reactor.spawnProcess(
                *(trial, words[0], words),
                env=environment,
                path=self._command.directory,
                childFDs=descriptors,
            )
        except OSError as error:
            raise UpgradeFailed(f"the new code cannot be started: {error}") from None
        finally:
            kept.close()
            os.close(null)
        late = reactor.callLater(START_SECONDS, trial.kill)
        status = await trial.ended
        if late.active():
            late.cancel()
            why = f"the new code ended with status {status}"
        else:
            why = f"the new code has not started within {START_SECONDS:g} s"
        if status:
            lines = [each.strip() for each in trial.said.decode(errors="replace").splitlines()]
            said = next((each for each in reversed(lines) if each), "")
            raise UpgradeFailed(f"{why}: {said}" if said else why)

    def become(self, values: Mapping[str, Any], kept: KeptDescriptors) -> NoReturn:
        """Become new code.

        :param values: the state.
        :param kept: the descriptors that the state names. They are closed if this fails.
        :raises UpgradeFailed: the program could not be started, and this one goes on.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        directory = os.getcwd()
        try:
            saved = self._save(values, kept)
            words, environment, _ = self._program(str(saved), kept)
            sys.stdout.flush()
            os.chdir(self._command.directory)
            os.execve(words[0], words, environment)
        except OSError as error:
            raise UpgradeFailed(f"{error.strerror or error}") from None
        finally:
            with suppress(OSError):
                os.chdir(directory)
            kept.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _save(self, values: Mapping[str, Any], kept: KeptDescriptors) -> int:
        if not hasattr(os, "memfd_create"):
            raise OSError("upgrades in place need Linux")
        encoder = StateEncoder()
        data = encoder.encode({"version": REEXEC_VERSION, **values})
        with os.fdopen(os.memfd_create("state"), "wb") as file:
            file.write(b"".join((_SIZE.pack(len(data)), data, *encoder.behind)))
            file.flush()
            return kept.keep(file.fileno())

    def _program(
        self, variable: str, kept: KeptDescriptors
    ) -> tuple[list[str], dict[str, str], list[int]]:
        """Return the words, the environment, and copies of systemd's sockets."""
        command = self._command
        environment = {**command.environment, REEXEC_VARIABLE: variable}
        words = list(command.words)
        copies = [kept.keep(each) for each in command.activated]
        if copies:
            words = [sys.executable, launcher.__file__, ",".join(map(str, copies)), *words]
            environment |= command.listen_variables
        return words, environment, copies


def end_trial(saved: SavedState | None) -> None:
    """End this process if it was only to find out whether the new code starts: it does."""
    if saved is not None and saved.is_trial:
        os._exit(0)
