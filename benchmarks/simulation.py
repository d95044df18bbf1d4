"""Models of a chat on several processes: a large room, clients that come back, Redis away.

They are queues fed with the costs of :class:`Costs`, and know no sockets and no clock. The same
seed gives the same result. What they leave out is in ``docs/scaling.rst``.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from twisted_net.endpoints.strings import BACKLOG
from twisted_net.policy.backoff import Backoff
from twisted_net.policy.coalescing import (
    ENOUGH,
    LONGEST_DELAY,
    SHORTEST_DELAY,
    AdaptiveCoalescer,
)

_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Costs:
    """What work costs. CPU in microseconds of one core.

    :ivar delivery: one write to one member, with the messages of a round in it.
    :ivar further: each further message in the same write.
    :ivar message: a message of a room in each process, whatever the number of its members.
    :ivar join: a connection, from the accept to the welcome, without TLS.
    :ivar handshake: a TLS handshake.
    :ivar refused: a connection that is accepted and gone, or a message that is refused.
    :ivar append: a message in Redis itself.
    :ivar subscriber: the same for each process that subscribes to its room.
    :ivar subscribe: in Redis, a room that a process subscribes to and reads the gap of.
    :ivar heartbeat: a ping and its answer.
    :ivar heartbeats: the seconds between them.
    :ivar memory: bytes of an idle JSON connection in the process.
    :ivar tls_memory: the same for TLS, in addition.
    :ivar kernel: bytes of a connection in the kernel.
    """

    delivery: float = 9.0
    further: float = 0.3
    message: float = 20.0
    join: float = 240.0
    handshake: float = 420.0
    refused: float = 40.0
    append: float = 8.0
    subscriber: float = 0.4
    subscribe: float = 30.0
    heartbeat: float = 26.0
    heartbeats: float = 45.0
    memory: float = 1800.0
    tls_memory: float = 22400.0
    kernel: float = 5200.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all is at most; 0.0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def arrivals(rate: float, begin: float, end: float, random: Random) -> Iterator[float]:
    """Give random times, on average ``rate`` a second."""
    at = begin
    while True:
        at += random.expovariate(rate)
        if at >= end:
            return
        yield at


# A room.


class RoomLoad(NamedTuple):
    """One process of a room's.

    :ivar members: its members.
    :ivar busy: the share of a core; from 1.0 on, it falls behind.
    :ivar longest_round: seconds until all its members are written to.
    :ivar queue: messages that wait for the next round, at most.
    :ivar p50: seconds from the message to its delivery.
    """

    members: int
    busy: float
    longest_round: float
    queue: int
    p50: float
    p99: float


_PLACES = tuple((each + 0.5) / 20 for each in range(20))  # of members in a round


def room(
    costs: Costs, members: int, processes: int, rate: float, seconds: float, seed: int
) -> RoomLoad:
    """Simulate one of the processes that share a room: all do the same.

    A round writes all waiting messages to every member. Those that come meanwhile wait for the
    next one, which a coalescer delays.

    :param rate: messages a second.
    """
    own = math.ceil(members / processes)
    times = list(arrivals(rate, 0.0, seconds, Random(seed)))
    coalescer = AdaptiveCoalescer(SHORTEST_DELAY, LONGEST_DELAY)
    free = worked = longest = 0.0
    queue = done = 0
    delays: list[float] = []
    while done < len(times):
        start = max(free, times[done])
        delayed = start + coalescer.left(start)
        enough = times[done + ENOUGH - 1] if done + ENOUGH <= len(times) else math.inf
        start = min(delayed, max(start, enough))
        end = done + 1
        while end < len(times) and times[end] <= start:
            end += 1
        count = end - done
        first = costs.message * count * _MICRO
        writes = own * (costs.delivery + costs.further * (count - 1)) * _MICRO
        coalescer.begin(start)
        free = start + first + writes
        coalescer.end(free)
        for at in times[done:end]:
            delays.extend(start + first + place * writes - at for place in _PLACES)
        worked += first + writes
        longest, queue, done = max(longest, first + writes), max(queue, count), end
    busy = worked / max(seconds, free)
    return RoomLoad(own, busy, longest, queue, percentile(delays, 0.5), percentile(delays, 0.99))


# Clients that come back.


@dataclass(frozen=True, slots=True)
class Storm:
    """Clients that have lost their server, and the processes that they come back to.

    :ivar clients: how many.
    :ivar processes: that are left, each with a core.
    :ivar load: the share of each core that the clients who are there take already.
    :ivar tls: whether each client makes a full handshake.
    :ivar jitter: whether the delays of clients are random, as ``Backoff`` has it.
    :ivar sample: simulate one of so many parts of all this, as processes do not know each other.
    :ivar notice: the first and last second in which clients notice: a process that dies closes its
        connections at once, a machine that dies closes none.
    :ivar backlog: connections that wait in the kernel for one process to accept them.
    :ivar patience: seconds after which a client gives an attempt up.
    """

    clients: int = 100_000
    processes: int = 72
    load: float = 0.3
    tls: bool = True
    jitter: bool = True
    notice: tuple[float, float] = (0.0, 0.0)
    backlog: int = BACKLOG
    patience: float = 30.0
    sample: int = 8


class Interval(NamedTuple):
    """What happened until a second.

    :ivar until: the second.
    :ivar tries: attempts to connect.
    :ivar dropped: of those, ones that the kernel had no room for, or that gave up.
    :ivar back: the share of all clients who are back.
    :ivar queue: clients who wait for a process.
    :ivar busy: the share of a core that each process uses.
    :ivar p99: seconds from an attempt to its welcome.
    """

    until: float
    tries: int
    dropped: int
    back: float
    queue: int
    busy: float
    p99: float


class _Pool:
    """Processes that serve one client after another, each with a queue."""

    def __init__(self, count: int, load: float, began: float = 0.0) -> None:
        self._free = [began] * count
        self._slower = 1 / (1 - load)
        self._load = load
        self.added = 0.0  # seconds of work, at the speed that the rest of the core allows
        self._worked = 0.0
        self._seen = began

    def wait(self, process: int, now: float) -> float:
        return max(0.0, self._free[process] - now)

    def work(self, process: int, now: float, micros: float) -> float:
        """Add work to a process's queue; return when it is done."""
        seconds = micros * _MICRO * self._slower
        self.added += seconds
        done = self._free[process] = max(now, self._free[process]) + seconds
        return done

    def queued(self, now: float) -> float:
        return sum(max(0.0, each - now) for each in self._free)

    def busy(self, now: float) -> float:
        """Return the share of a core since the last call."""
        worked = self.added - self.queued(now)
        spent, self._worked = worked - self._worked, worked
        seconds, self._seen = now - self._seen, now
        share = spent / (len(self._free) * seconds) if seconds else 0.0
        return self._load + (1 - self._load) * share


STORM_SECONDS = (1, 2, 3, 5, 10, 20, 30, 60, 90, 120, 180, 300, 600)


def comeback(costs: Costs, storm: Storm, seed: int) -> list[Interval]:
    """Simulate clients until all are back, or for ten minutes."""
    random = Random(seed)
    draw: Callable[[], float] = random.random if storm.jitter else lambda: 1.0
    backoff = Backoff()
    processes, clients = storm.processes // storm.sample, storm.clients // storm.sample
    pool = _Pool(processes, storm.load)
    each = costs.join + (costs.handshake if storm.tls else 0.0)
    events: list[tuple[float, int, int, float]] = []  # when, the client, the attempt, SYNs' wait
    for client in range(clients):
        noticed = random.uniform(*storm.notice)
        heapq.heappush(events, (noticed + backoff.delay(1, draw()), client, 1, 0.0))
    rows: list[Interval] = []
    back = tries = dropped = 0
    waits: list[float] = []
    arriving: list[float] = []  # when each who will be back is
    for until in STORM_SECONDS:
        while events and events[0][0] <= until:
            now, client, attempt, waited = heapq.heappop(events)
            tries += 1
            process = random.randrange(processes)
            wait = pool.wait(process, now)
            own = each * _MICRO / (1 - storm.load)
            if wait > storm.backlog * own:  # the kernel drops the SYN; TCP sends it again
                dropped += 1
                again = waited * 2 or 1.0
                if again <= storm.patience / 2:
                    heapq.heappush(events, (now + again, client, attempt, again))
                    continue
                late = now + storm.patience - max(0.0, 2 * waited - 1)
            elif wait + own > storm.patience:
                dropped += 1
                pool.work(process, now, costs.refused)
                late = now + storm.patience
            else:
                done = pool.work(process, now, each)
                waits.append(done - now)
                heapq.heappush(arriving, done)
                continue
            heapq.heappush(
                events, (late + backoff.delay(attempt + 1, draw()), client, attempt + 1, 0.0)
            )
        while arriving and arriving[0] <= until:
            heapq.heappop(arriving)
            back += 1
        rows.append(
            Interval(
                *(until, tries * storm.sample, dropped * storm.sample),
                *(back / clients, len(arriving) * storm.sample),
                *(pool.busy(until), percentile(waits, 0.99)),
            )
        )
        tries, dropped, waits = 0, 0, []
        if back == clients:
            break
    return rows


# Redis is away.


@dataclass(frozen=True, slots=True)
class Outage:
    """Redis is away for a time.

    :ivar away: seconds.
    :ivar notice: seconds until a process notices, and refuses messages.
    :ivar rate: messages a second, of all users.
    :ivar processes: that use Redis.
    :ivar rooms: that each of them has to subscribe to again.
    :ivar delays: of a process that connects to Redis again.
    """

    away: float = 30.0
    notice: float = 5.0
    rate: float = 500.0
    processes: int = 80
    rooms: int = 1000
    delays: Backoff = Backoff(first=0.1, longest=5.0)  # noqa: RUF009  # it is frozen


class OutageInterval(NamedTuple):
    """What happened from the last row until a second after Redis went away.

    :ivar sent: messages that users have written.
    :ivar refused: messages, or repeated ones, that were refused.
    :ivar stored: messages that were acknowledged.
    :ivar waiting: messages that are not acknowledged at the end.
    :ivar redis: the share of a core that Redis uses.
    :ivar p99: seconds from writing to the ack, of those that were acknowledged.
    """

    until: float
    sent: int
    refused: int
    stored: int
    waiting: int
    redis: float
    p99: float


_BEFORE = -10.0  # when the simulation of an outage begins

OUTAGE_SECONDS = (0, 5, 10, 20, 30, 31, 32, 33, 35, 40, 50, 60, 75, 90)


def outage(costs: Costs, case: Outage, seed: int) -> list[OutageInterval]:
    """Simulate an outage that begins at 0, and some seconds before it.

    Senders repeat what was refused, with the delays of ``Backoff``. Processes connect again with
    the same delays, and subscribe before they store.
    """
    random, backoff = Random(seed), Backoff()
    append = costs.append + costs.subscriber * case.processes
    redis = _Pool(1, 0.0, _BEFORE)
    ready: list[float] = []  # when each process may store again
    for _ in range(case.processes):
        now, attempt = case.notice, 1
        while True:
            now += case.delays.delay(attempt, random.random())
            attempt += 1
            if now >= case.away:
                break
        ready.append(now)
    events: list[tuple[float, int, float, int]] = []  # when, the kind (0: process), first, attempt
    for at in ready:
        heapq.heappush(events, (at, 0, at, 0))
    for number, at in enumerate(arrivals(case.rate, _BEFORE, OUTAGE_SECONDS[-1], random)):
        heapq.heappush(events, (at, 1 + number % case.processes, at, 1))
    rows: list[OutageInterval] = []
    sent = refused = 0
    stored: list[tuple[float, float]] = []  # when, and when it was written
    written = finished = 0
    for until in OUTAGE_SECONDS:
        while events and events[0][0] <= until:
            now, kind, first, attempt = heapq.heappop(events)
            if kind == 0:
                redis.work(0, now, costs.subscribe * case.rooms)
                continue
            if attempt == 1:
                sent += 1
            known = now < 0 or now >= max(case.away, ready[kind - 1])
            if known:
                done = redis.work(0, now, append)
                heapq.heappush(stored, (done, first))
                continue
            refused += 1
            told = max(now, case.notice)
            delay = backoff.delay(attempt, random.random())
            heapq.heappush(events, (told + delay, kind, first, attempt + 1))
        delays = []
        while stored and stored[0][0] <= until:
            done, first = heapq.heappop(stored)
            delays.append(done - first)
        written += sent
        finished += len(delays)
        rows.append(
            OutageInterval(
                *(until, sent, refused, len(delays), written - finished),
                *(redis.busy(until), percentile(delays, 0.99)),
            )
        )
        sent = refused = 0
    return rows


# Sums.


class Share(NamedTuple):
    """What each machine has, of something that is counted for all."""

    name: str
    each: float
    unit: str


def sums(
    costs: Costs, connections: int, machines: int, cores: int, rate: float, room_size: int
) -> list[Share]:
    """Return what one of several machines does for all connections.

    :param rate: messages a second, in rooms of ``room_size`` members each.
    """
    own = connections / machines
    memory = own * (costs.memory + costs.kernel)
    deliveries = rate * room_size / machines
    writing = deliveries * costs.delivery * _MICRO
    beating = own / costs.heartbeats * costs.heartbeat * _MICRO
    redis = rate * (costs.append + costs.subscriber * machines * cores) * _MICRO
    return [
        Share("connections", own, ""),
        Share("connections a process", own / cores, ""),
        Share("memory without TLS", memory / 1e9, "GB"),
        Share("memory with TLS", (memory + own * costs.tls_memory) / 1e9, "GB"),
        Share("heartbeats a second", own / costs.heartbeats, ""),
        Share("cores for heartbeats", beating, ""),
        Share("deliveries a second", deliveries, ""),
        Share("cores for deliveries", writing, ""),
        Share("cores of Redis, in all", redis, ""),
    ]
