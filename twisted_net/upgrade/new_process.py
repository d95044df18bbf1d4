"""The new process of an upgrade: it adopts everything before its reactor runs; see the package."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, NoReturn

from twisted.logger import Logger

from twisted_net.connection.factory import ConnectionFactory
from twisted_net.eager.moving import adopt_transport, resume_transport
from twisted_net.endpoints.listening import ListenerService
from twisted_net.endpoints.proxied import restore_proxy
from twisted_net.upgrade.frames import FrameSocket

_log = Logger()

UPGRADE_VARIABLE = "TWISTED_NET_UPGRADE"
"""The variable with the descriptors that a new process has from the old one: the Unix socket, and
standard error, which the old one keeps for itself until the new one goes on."""

STATE_VERSION = 1
"""The version of all states. It changes whenever a state of any class does."""


class Succession:
    """What a new process has from the old one. The old one goes on until :meth:`take_over`.

    :param end: the descriptor of the Unix socket to it.
    :param error: the descriptor of the real standard error.
    :ivar old_pid: the old process, as soon as it has passed something on.
    """

    _frames: FrameSocket

    def __init__(self, end: int, error: int) -> None:
        self._end_of_pair = end
        self._error = error
        self._states: list[dict[str, Any]] = []
        self.old_pid = 0

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Succession | None:
        """Return what the old process has passed; None if there is none.

        The variable is removed, so that other programs do not get it.
        """
        text = environment.pop(UPGRADE_VARIABLE, None)
        if text is None:
            return None
        try:
            end, error = map(int, text.split(","))
            for each in end, error:
                os.set_inheritable(each, False)
            is_socket = stat.S_ISSOCK(os.fstat(end).st_mode)
        except (ValueError, OSError):
            is_socket = False
        return cls(end, error) if is_socket else None  # else it is somebody else's variable

    def wait(self, services: Mapping[str, ListenerService]) -> None:
        """Say that this process is ready, and wait for the listening sockets.

        The services have them, as soon as they listen. A store may be opened after that.
        """
        # Not before: a command line that is wrong ends the process, and a socket object would warn.
        self._frames = FrameSocket(socket.socket(fileno=self._end_of_pair))
        try:
            self._frames.send({"version": STATE_VERSION, "pid": os.getpid()})
            message, descriptors = self._frames.receive()
        except (EOFError, OSError):
            self._end("the old process goes on without it")
        sockets = iter([socket.socket(fileno=each) for each in descriptors])
        for known in message["services"]:
            inherited = {label: next(sockets) for label in known["labels"]}
            service = services.get(known["name"])
            if service is None:
                for each in inherited.values():
                    each.close()
                continue
            service.inherit(inherited)
        self._states = message["services"]
        self.old_pid = message["pid"]

    def adopt(self, services: Mapping[str, ListenerService]) -> int:
        """Adopt the connections, after everything listens, and say so. Wait until it may go on.

        :return: the number of connections.
        """
        try:
            count = self._adopt(services)
        except (EOFError, ConnectionError):
            self._end("the old process has ended, or goes on without it")
        except Exception as error:
            _log.failure("The state of the old process cannot be adopted")
            text = f"the new process cannot adopt the state: {type(error).__name__}: {error}"
            self._frames.send({"failed": " ".join(text.split())})
            self._end(text)
        return count

    def _adopt(self, services: Mapping[str, ListenerService]) -> int:
        factories: list[ConnectionFactory | None] = []
        for known in self._states:
            service = services.get(known["name"])
            own = [] if service is None else list(service.factories)
            for number, state in enumerate(known["factories"]):
                factory = own[number] if number < len(own) else None
                factories.append(factory)
                if factory is not None:
                    factory.restore_state(state)
        adopted: list[tuple[Any, Any]] = []
        while True:
            message, descriptors = self._frames.receive()
            if "end" in message:
                break
            factory = factories[message["factory"]]
            if factory is None:
                raise ValueError("there is no service for some connections")
            for state, descriptor in zip(message["connections"], descriptors, strict=True):
                adopted.append((_adopt_one(factory, descriptor, state), state[0]))
        for factory in factories:
            if factory is not None:
                factory.all_adopted()
        self._frames.send({"adopted": len(adopted)})
        self._frames.receive()  # go
        self._frames.send({"started": True})  # from here on the old one does nothing any more
        for connection, state in adopted:
            resume_transport(connection.transport, state)
            connection.resume_after_move()
        return len(adopted)

    def take_over(self, services: Mapping[str, ListenerService]) -> None:
        """Go on: the old process will not."""
        self._frames.close()
        os.dup2(self._error, 2)
        os.close(self._error)
        for service in services.values():
            service.take_over_paths()

    def _end(self, why: str) -> NoReturn:
        """End this process, without touching anything that it has got."""
        print(why, file=sys.__stderr__, flush=True)
        os._exit(1)


def _adopt_one(factory: ConnectionFactory, descriptor: int, state: Any) -> Any:
    """Adopt one connection, and return it."""
    from twisted.internet import reactor

    moved, proxy, own = state
    connection: Any = None

    def make(address: Any) -> Any:
        nonlocal connection
        connection = factory.make_moved(address, own)
        return connection

    transport = adopt_transport(reactor, descriptor, moved, make)
    if proxy is not None:
        restore_proxy(transport, proxy)
    factory.adopt(connection, transport, own)
    return connection
