"""Decides about each accepted connection, and hands it to the worker whose turn it is."""

from __future__ import annotations

import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.logger import Logger

from twisted_net.policy.admission import Admission
from twisted_net.policy.ranges import Network, Ranges
from twisted_net.services.workers.handle import WorkerHandle
from twisted_net.services.workers.handoff import (
    LEFT_TO_WORKER,
    Decision,
    decode_decision,
    encode_decision,
)
from twisted_net.services.workers.rotation import Rotation
from twisted_net.services.workers.shared_admission import take_one

_log = Logger()

_RETRY = 0.005
"""Seconds until a connection is offered again for which no worker had room."""


class Dispatcher:
    """Hands connections to workers.

    :param clock: the reactor.
    :param workers: returns the workers that may get connections.
    :param admission: decides who may connect, and counts the connections of all workers.
    :param trusted: ranges of proxies, and ``unix``: only workers learn the addresses of their
        clients.
    :param hold: called with True if no worker has room, and with False once one has.
    """

    def __init__(
        self,
        clock: Any,
        workers: Callable[[], Sequence[WorkerHandle]],
        admission: Admission,
        trusted: Sequence[Network | str],
        hold: Callable[[bool], object],
    ) -> None:
        self.admission = admission
        self._clock = clock
        self._workers = workers
        self._trusted = Ranges(each for each in trusted if not isinstance(each, str))
        self._trusts_unix = "unix" in trusted
        self._hold = hold
        self._rotation: Rotation[WorkerHandle] = Rotation(lambda worker: worker.may_take)
        self._held: deque[tuple[int, socket.socket, Decision, str | None]] = deque()
        self._call: Any = None

    def accepted(self, listener: int, connection: socket.socket, address: Any) -> None:
        """Hand over a connection.

        :param listener: the number of the listener that has accepted it.
        :param address: its peer's, as ``accept()`` returns it.
        """
        host = bare_host(address[0]) if connection.family != socket.AF_UNIX else None
        decision = self._decide(host)
        if self._held or not self._offer(listener, connection, decision, host):
            self._held.append((listener, connection, decision, host))
            self._wait()

    def left(self, worker: WorkerHandle, addresses: Sequence[str | None]) -> None:
        """Count out connections of a worker.

        During an upgrade, what it tells may overtake what the other process tells. So an address
        that is not counted there is counted here.
        """
        for address in addresses:
            take_one(worker.stayed, address)  # it does not stay any more
            for each in (worker, worker.predecessor, worker.successor):
                if each is not None and take_one(each.places, address):
                    self.admission.leave(address)
                    break

    def succeeded(self, worker: WorkerHandle) -> None:
        """Count the connections of a worker's predecessor as its own."""
        before = worker.predecessor
        assert before is not None
        worker.places, before.places = before.places, Counter()
        self.stayed(before)

    def stayed(self, before: WorkerHandle) -> None:
        """Count connections that have not moved as those of the old worker.

        If its successor has not said yet that it serves, :meth:`succeeded` does so.
        """
        after = before.successor
        if after is None:
            return
        for address in list(before.stayed.elements()):
            if take_one(after.places, address):
                take_one(before.stayed, address)
                before.places[address] += 1

    def worker_gone(self, worker: WorkerHandle) -> None:
        """Count out what a worker had that has ended."""
        for address, count in worker.places.items():
            for _ in range(count):
                self.admission.leave(address)
        worker.places.clear()

    def export_state(self, keep: Callable[[int], int]) -> list[Any]:
        """Return the connections that nobody has taken, for :meth:`restore_state`.

        :param keep: returns the number that a descriptor will have.
        """
        return [
            [listener, keep(connection.fileno()), encode_decision(decision), host]
            for listener, connection, decision, host in self._held
        ]

    def restore_state(self, state: Sequence[Any], workers: Sequence[WorkerHandle]) -> None:
        """Go on after this process has become new code.

        :param workers: all of them. Their connections count again.
        """
        for worker in workers:
            for address in worker.places.elements():
                self.admission.count_moved(address)
        for listener, descriptor, code, host in state:
            connection = socket.socket(fileno=descriptor)
            connection.set_inheritable(False)
            decision = decode_decision(code)
            self._held.append((listener, connection, decision, host))
            if decision == Decision():
                self.admission.count_moved(host)
        if self._held:
            self._wait()

    def close(self) -> None:
        """Close the connections that nobody has taken."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        while self._held:
            _, connection, decision, host = self._held.popleft()
            connection.close()
            if decision == Decision():
                self.admission.leave(host)

    def _decide(self, host: str | None) -> Decision:
        if self._trusts_unix if host is None else host in self._trusted:
            return LEFT_TO_WORKER
        return Decision(refusal=self.admission.admit(host, self._clock.seconds()))

    def _offer(
        self, listener: int, connection: socket.socket, decision: Decision, host: str | None
    ) -> bool:
        for worker in self._rotation.candidates(self._workers()):
            if worker.take(connection, listener, decision, host):
                if decision == Decision():
                    worker.places[host] += 1
                connection.close()
                return True
        return False

    def _wait(self) -> None:
        if self._call is None:
            self._hold(True)
            self._call = self._clock.callLater(_RETRY, self._again)

    def _again(self) -> None:
        self._call = None
        while self._held:
            if not self._offer(*self._held[0]):
                self._wait()
                return
            self._held.popleft()
        self._hold(False)


def bare_host(host: str) -> str:
    """Return an address without the zone of a link-local one, which it is not counted by."""
    return host.partition("%")[0]
