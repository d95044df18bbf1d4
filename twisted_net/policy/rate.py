"""A token bucket, with the time as an argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

BucketKey = TypeVar("BucketKey", bound=Hashable)


class TokenBucket:
    """Limit a rate: ``rate`` tokens per second on average, and ``burst`` at once after a pause.

    The bucket never rejects anything: a caller that takes more than there is has to wait. So a
    reader that has already read a message does not lose it. The reader pauses for as long as
    :meth:`take` says and then continues, without asking again.

    The level is always computed from the time at which the bucket was last full and the tokens
    taken since, never by adding small steps. So it does not drift, however long it runs.

    Times are in seconds, from any clock. If a clock is set back, the level stays the same.

    :param rate: the tokens added per second.
    :param burst: the tokens that the bucket holds; it starts full.
    :raises ValueError: if a value is invalid; the message names it.
    """

    __slots__ = ("_burst", "_full_at", "_now", "_rate", "_taken")

    def __init__(self, rate: float, burst: int) -> None:
        if not rate > 0 or math.isinf(rate):
            raise ValueError(f"rate: must be more than 0 a second, not {rate!r}")
        if burst < 1:
            raise ValueError(f"burst: must be at least 1, not {burst!r}")
        self._rate = rate
        self._burst = burst
        self._full_at = -math.inf  # when it was last full
        self._now = -math.inf  # the latest time passed in
        self._taken = 0  # tokens taken since it was full

    def take(self, count: int, now: float) -> float:
        """Take ``count`` tokens, even if fewer are left.

        :return: the seconds to wait before continuing; 0.0 means continue now.
        """
        wait = self.wait(count, now)
        self._taken += count
        return wait

    def wait(self, count: int, now: float) -> float:
        """Return the seconds that :meth:`take` would return, without taking tokens."""
        if now < self._now:
            self._full_at -= self._now - now
        self._now = now
        # The tokens added since then cover those taken: the bucket is full again.
        if self._taken <= (now - self._full_at) * self._rate:
            self._full_at = now
            self._taken = 0
        short = self._taken + count - self._burst
        if short <= 0:
            return 0.0
        return max(0.0, short / self._rate - (now - self._full_at))

    def export_state(self, now: float) -> list[float]:
        """Return the level for :meth:`restore_state`: JSON, without a time of this clock."""
        self.wait(1, now)
        return [self._taken, now - self._full_at]

    def restore_state(self, state: Sequence[float], now: float) -> None:
        """Take the level of another bucket, which may be one of another process."""
        taken, age = state
        self._taken, self._full_at, self._now = int(taken), now - age, now


class TokenBuckets(Generic[BucketKey]):
    """Limit a rate for each of many keys. A key that has taken nothing for long costs nothing.

    Buckets that are full again are forgotten, because they are like new ones. Of the others, at
    most ``most`` are kept; the one from which something was taken longest ago goes first.

    :param size: returns the rate and the burst of a key; see :class:`TokenBucket`.
    """

    __slots__ = ("_buckets", "_most", "_size")

    def __init__(self, size: Callable[[BucketKey], tuple[float, int]], most: int) -> None:
        self._size = size
        self._most = most
        self._buckets: dict[BucketKey, TokenBucket] = {}

    def __len__(self) -> int:
        """Return the number of buckets that are kept."""
        return len(self._buckets)

    def wait(self, key: BucketKey, now: float) -> float:
        """Return the seconds until one token can be taken; 0.0 means now."""
        bucket = self._buckets.get(key)
        return 0.0 if bucket is None else bucket.wait(1, now)

    def take(self, key: BucketKey, now: float) -> None:
        """Take one token, even if there is none."""
        own = self._buckets.pop(key) if key in self._buckets else TokenBucket(*self._size(key))
        own.take(1, now)
        while self._buckets:
            oldest, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) < self._most and bucket.wait(self._size(oldest)[1], now):
                break
            del self._buckets[oldest]
        self._buckets[key] = own

    def put_back(self, key: BucketKey, now: float) -> None:
        """Put one token back that was taken for nothing."""
        if key in self._buckets:
            self._buckets[key].take(-1, now)

    def export_state(self, now: float) -> list[tuple[BucketKey, list[float]]]:
        """Return the keys whose buckets are not full, with their states; oldest first."""
        return [(key, bucket.export_state(now)) for key, bucket in self._buckets.items()]

    def export_of(self, key: BucketKey, now: float) -> list[float] | None:
        """Return the state of one key's bucket; None if it is full."""
        bucket = self._buckets.get(key)
        return None if bucket is None else bucket.export_state(now)

    def restore_state(self, key: BucketKey, state: Sequence[float], now: float) -> None:
        """Give a key the bucket that it had in another process."""
        bucket = self._buckets[key] = TokenBucket(*self._size(key))
        bucket.restore_state(state, now)

    def forget(self, key: BucketKey) -> None:
        """Fill the bucket of a key, or forget a key that is gone."""
        self._buckets.pop(key, None)
