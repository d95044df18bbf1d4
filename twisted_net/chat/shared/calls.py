"""Notifications between the processes of a chat: orders to all, and to one that answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.chat.shared.order_fields import is_answer
from twisted_net.store.interface import SharedStore, StoreError

TOPIC = "chat"

ANSWER_TIMEOUT = 5.0
"""Seconds to wait for the answer of another process. A process that runs answers within
milliseconds, and a lost notification is never sent again by the store."""

Order: TypeAlias = Mapping[str, Any]
"""What another process is to do: ``do`` says what, and the rest depends on that."""

Answer: TypeAlias = Mapping[str, Any]

_log = Logger()


class Calls:
    """Sends orders to other processes, and carries out theirs.

    :param carry_out: carries out an order of another process, and returns the answer.
    """

    def __init__(
        self,
        store: SharedStore,
        clock: IReactorTime,
        carry_out: Callable[[Order], Awaitable[Answer]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._carry_out = carry_out
        self._last = 0
        self._waiting: dict[int, Deferred[Answer | None]] = {}

    # Moving to another process, as by an upgrade in place.

    @property
    def are_waiting(self) -> bool:
        """Whether some wait for answers."""
        return bool(self._waiting)

    def give_up(self) -> None:
        """Wait for no answer any more: those who wait are told that there is none."""
        for number in list(self._waiting):
            self._end(number, None)

    def export_state(self) -> int:
        """Return the number of the last call, for :meth:`restore_state`."""
        return self._last

    def restore_state(self, last: int) -> None:
        """Go on with other numbers than another process, whose answers may come late."""
        self._last = last

    # Orders.

    def tell(self, order: Order) -> None:
        """Send an order to all other processes. One that cannot be reached misses it."""
        self._store.notify(TOPIC, _encode(order)).addErrback(_note)

    async def ask(self, process: str, order: Order) -> Answer | None:
        """Send an order to one process, and return its answer.

        :return: None if there is none within :data:`ANSWER_TIMEOUT`. Then it is not known whether
            the process has carried it out.
        """
        self._last += 1
        number = self._last
        answer: Deferred[Answer | None] = Deferred()
        self._waiting[number] = answer
        answer.addTimeout(ANSWER_TIMEOUT, self._clock)
        sent = self._store.notify(TOPIC, _encode({**order, "call": number}), process)
        sent.addCallbacks(self._sent, self._not_sent, callbackArgs=(number,), errbackArgs=(number,))
        try:
            return await answer
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(number, None)

    def received(self, data: bytes, process: str) -> None:
        """Handle a notification of another process."""
        try:
            order = json.loads(data)
            do = order["do"]
            if type(do) is not str or (do == "answer" and not is_answer(order)):
                raise ValueError(do)
        except (TypeError, ValueError, KeyError, RecursionError):
            _log.error("Process {process} sent what is no order", process=process)
            return
        if do == "answer":
            self._end(order.get("call"), order)
            return
        done = Deferred.fromCoroutine(self._do(order, process))
        done.addErrback(lambda failure: _log.failure("An order ({do}) failed", failure, do=do))

    async def _do(self, order: Order, process: str) -> None:
        answer = await self._carry_out(order)
        if "call" in order:
            data = _encode({**answer, "do": "answer", "call": order["call"]})
            self._store.notify(TOPIC, data, process).addErrback(_note)

    def _sent(self, reached: int, number: int) -> None:
        if not reached:
            self._end(number, None)

    def _not_sent(self, failure: Failure, number: int) -> None:
        _note(failure)
        self._end(number, None)

    def _end(self, number: Any, answer: Answer | None) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.callback(answer)


def _encode(order: Order) -> bytes:
    return json.dumps(order, ensure_ascii=False, separators=(",", ":")).encode(
        errors="surrogatepass"
    )


def _note(failure: Failure) -> None:
    if isinstance(failure.value, StoreError):
        _log.warn("Other processes were not told: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("Telling other processes failed", failure)
