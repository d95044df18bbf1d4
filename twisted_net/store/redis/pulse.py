"""Notices whether Redis works, by what is heard.

A process sends a message to itself through Redis, once a second. The same script writes, so it also
shows whether Redis takes writes. A subscription may stop silently while commands go on, so what
counts is that the message is heard. The pulse also renews the leases of the process.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_net.store.interface import LEASE_SECONDS, Lessee, StoreError
from twisted_net.store.redis.client import RedisClient
from twisted_net.store.redis.names import Names
from twisted_net.store.redis.shared_scripts import FAREWELL, PULSE

PULSE_SECONDS = 1.0
"""Seconds between two pulses."""

_log = Logger()


class Pulse:
    """Sends messages to itself.

    :param heard: called each time when one is heard.
    :param failed: called with the reason when Redis refuses one.
    :param lost: called if the leases of this process have ended without its doing.
    :param patience: the seconds after which a message that is not heard ends the connection.
    """

    def __init__(
        self,
        client: RedisClient,
        clock: IReactorTime,
        names: Names,
        process: Lessee,
        patience: float,
        *,
        heard: Callable[[], None],
        failed: Callable[[Failure], None],
        lost: Callable[[], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._names = names
        self._process = process
        self._patience = patience
        self._heard = heard
        self._failed = failed
        self._lost = lost
        self._call: IDelayedCall | None = None
        self._number = 0
        self._sent: dict[int, float] = {}  # when those were sent that are not heard yet
        self._is_first = True
        self._subscribed = False

    def begin(self) -> None:
        """There is a connection: send the first message at once."""
        self.end()
        if not self._subscribed:
            channel = self._names.pulse_channel(self._process)
            self._client.subscribe(channel, self._received).addErrback(self._failed)
            self._subscribed = True
        self._tick()

    def end(self) -> None:
        """There is no connection any more."""
        self._sent.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def move(self, process: Lessee) -> None:
        """Go on for another process, before the first pulse."""
        self._process = process

    def say_farewell(self) -> Deferred[None]:
        """End all leases of this process, which stops."""
        base, channel = self._names.bases
        arguments = (self._process, base, channel)
        return self._client.call(FAREWELL, (self._names.processes,), arguments, lambda _: None)

    def _tick(self) -> None:
        now = self._clock.seconds()
        self._call = self._clock.callLater(PULSE_SECONDS, self._tick)
        oldest = next(iter(self._sent.values()), now)
        connection = self._client.connection
        if now - oldest >= self._patience and connection is not None:
            text = f"what Redis publishes is not heard within {self._patience:g} s"
            connection.abort(detail=text)
            return
        self._number += 1
        number = self._number
        self._sent[number] = now
        base, channel = self._names.bases
        arguments = (
            *(self._process, int(LEASE_SECONDS * 1000), base, channel),
            *(self._names.pulse_channel(self._process), number, int(self._is_first)),
        )
        pulse = self._client.call(
            PULSE, (self._names.processes,), arguments, lambda reply: int(reply[0])
        )
        pulse.addCallbacks(self._renewed, self._refused, errbackArgs=(number,))

    def _renewed(self, alive: int) -> None:
        self._is_first = False
        if not alive:
            self._lost()

    def _refused(self, failure: Failure, number: int) -> None:
        self._sent.pop(number, None)
        self._failed(failure)

    def _received(self, data: bytes) -> None:
        try:
            number = int(data)
        except ValueError:
            raise StoreError("it is no pulse") from None
        if number in self._sent:
            for each in [each for each in self._sent if each <= number]:
                del self._sent[each]
            self._heard()
