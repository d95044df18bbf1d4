"""Bytes that change on their way from Redis: nothing wrong is taken for right."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.store.fake_redis import FakeRedis, published, push, sealed
from tests.store.store_contract import make_message
from twisted_net.store.interface import StoreError
from twisted_net.store.redis.location import parse_location
from twisted_net.store.redis.records import append_arguments
from twisted_net.store.redis.scripts import APPEND, OPEN, READ
from twisted_net.store.redis.shared_scripts import (
    LEASE,
    LEASES,
    MISSED,
    NOTIFY,
    PULSE,
    PUT,
    RELEASE,
    VALUES,
)
from twisted_net.store.redis.store import RedisStore

RECORDS = [append_arguments(make_message(text, text))[3] for text in ("one", "two", "three")]

REPLIES: dict[str, tuple[str | bytes, ...]] = {
    OPEN.digest: ("e", "0", "1", "", "0"),
    READ.digest: ("e", "2", "1", "0", "1", *RECORDS[:2]),
    VALUES.digest: ("key", "1 value", "other", "2 another"),
    LEASES.digest: ("name", "p9 ann"),
    LEASE.digest: ("theirs",),
    RELEASE.digest: ("1",),
    PUT.digest: ("1",),
    NOTIFY.digest: ("3",),
    PULSE.digest: ("1",),
    MISSED.digest: ("5-0",),
}

LEASE_CHANNEL = "{netchat}:0:leases:name"
TOPIC_CHANNEL = "{netchat}:0:topic::t"


class Talk:
    """A store that asks for everything once, and the Redis that answers.

    :param flip: the byte of what Redis sends after the login that is changed, and how.
    :ivar heard: everything that the store has told, in order.
    :ivar results: what it was asked for, and what came of it.
    :ivar critical: what was logged about mistakes in the code.
    """

    def __init__(self, flip: tuple[int, int] | None = None) -> None:
        self._flip = flip
        self.sent = 0
        self.clock = Clock()
        self.redis = FakeRedis(self.clock)
        tokens = (f"p{number}" for number in range(1000))
        self.store = RedisStore(
            *(self.clock, parse_location("redis://h", {"timeout": "2"}), lambda failed: self.redis),
            *(lambda: None, lambda: 0.0, lambda: next(tokens)),
        )
        self.heard: list[Any] = []
        self.results: dict[str, Any] = {}
        with capturedLogs() as logged:
            self._run()
        self.logged = logged
        self.critical = [each for each in logged if each["log_level"] is LogLevel.critical]

    def _run(self) -> None:
        store, heard = self.store, self.heard
        store.start()
        self.clock.advance(0)
        self._answer()
        self._note("leases", store.leases("name"))
        self._note("lease", store.lease("name", ["a"], "mine"))
        self._note("release", store.release("name", ["a"]))
        self._note("put", store.put("ban", "key", "value"))
        self._note("values", store.values("ban"))
        self._note("notify", store.notify("t", b"data"))
        self._note("before", store.before("b", None, 9))
        self._note("since", store.since("b", "e", 0, 9))
        self._answer()
        self._note("subscribe", store.subscribe("a", lambda *what: heard.append(what)))
        self._note("watch", store.watch_leases("name", lambda *what: heard.append(what)))
        self._note("listen", store.listen("t", lambda *what: heard.append(what)))
        self._answer()
        self._note("append", store.append("a", [make_message("mine", "mine")]))
        self._answer()
        records = b"[" + b",".join(RECORDS) + b"]"
        for message in (
            published("{netchat:a}:0", b"e 1 1 p9 " + records),
            published(LEASE_CHANNEL, b'p9 ["bob",["b"]]'),
            published(TOPIC_CHANNEL, b"6-0 p9 hello"),
        ):
            self._send(message)
        self.connections = self.redis.connections
        self.trouble = store.trouble
        for _ in range(70):  # so that what has got no answer fails
            self.clock.advance(0.1)
        self.trouble = self.trouble or store.trouble
        store.stop().addErrback(lambda _: None)

    def _note(self, name: str, result: Deferred[Any]) -> None:
        def done(found: Any) -> None:
            self.results[name] = found

        result.addBoth(done)

    def _answer(self) -> None:
        for _ in range(10):
            for command in self.redis.take():
                match command:
                    case [b"SUBSCRIBE", *channels]:
                        for each in channels:
                            self._send(push("subscribe", each, b"1"))
                    case [b"EVALSHA", digest, *_]:
                        name = digest.decode()
                        if name == PULSE.digest:
                            self._send(published(command[-4], command[-3]))
                        if name == APPEND.digest:
                            items: tuple[str | bytes, ...] = ("e", "0", "1")
                        else:
                            items = REPLIES.get(name, ("1",))
                        self._send(sealed(command, *items))

    def _send(self, data: bytes) -> None:
        peer = self.redis.peer
        assert peer is not None
        at = -1 if self._flip is None else self._flip[0] - self.sent
        self.sent += len(data)
        if self._flip is not None and 0 <= at < len(data):
            changed = bytearray(data)
            changed[at] ^= self._flip[1]
            data = bytes(changed)
        if peer.protocol.reason is None:
            self.redis.send(data)


WHOLE = Talk()


class FlippedTests(SynchronousTestCase):
    """One byte of all that Redis sends is changed."""

    def test_nothing_is_changed(self) -> None:
        """Otherwise, everything arrives."""
        for name, result in WHOLE.results.items():
            self.assertFalse(isinstance(result, Failure), (name, result))
        self.assertEqual(WHOLE.results["lease"], "theirs")
        self.assertEqual(WHOLE.results["values"], {"key": "value", "other": "another"})
        self.assertEqual(WHOLE.results["append"].offsets, [1])
        self.assertEqual(len(WHOLE.results["since"].stored), 2)
        self.assertEqual(len(WHOLE.heard), 5, WHOLE.heard)
        self.assertEqual(WHOLE.critical, [])
        self.assertEqual(WHOLE.connections, 1)

    @settings(max_examples=300, database=None)
    @given(st.integers(0, WHOLE.sent - 1), st.integers(1, 255))
    def test_any_byte(self, at: int, how: int) -> None:
        """What arrives is right, or it is an error. No mistake of the code is logged."""
        talk = Talk((at, how))
        self.assertEqual(talk.critical, [])
        for name, result in talk.results.items():
            if isinstance(result, Failure):
                result.trap(StoreError)
                self.assertNotIn("\n", result.getErrorMessage())
            else:
                self.assertEqual(result, WHOLE.results[name], name)
        self.assertEqual(talk.heard, WHOLE.heard[: len(talk.heard)])
        if len(talk.heard) < len(WHOLE.heard):
            self.assertTrue(talk.trouble)

    def test_one_line(self) -> None:
        """The log says in one line what was changed."""
        for text in (b"hello", b'"three"', b'["b"]', b"theirs"):
            talk = Talk((self.find(text), 1))
            lines = [each["text"] for each in talk.logged if "text" in each]
            damaged = [line for line in lines if "was changed on its way" in line]
            self.assertEqual(len(damaged), 1, lines)
            self.assertIn("{netchat", damaged[0])

    def find(self, text: bytes) -> int:
        """Return where a text is in what Redis sends."""
        found: list[bytes] = []

        class Recorded(Talk):
            def _send(self, data: bytes) -> None:
                found.append(data)
                super()._send(data)

        Recorded()
        return b"".join(found).index(text)
