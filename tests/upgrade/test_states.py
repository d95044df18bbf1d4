"""The state of each part goes on in another process, at any moment."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv6Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.upgrade.moving import copied
from twisted_net.connection.ages import Ages
from twisted_net.connection.countdown import Countdown
from twisted_net.connection.send_queue import SendQueue
from twisted_net.connection.timers import Timers
from twisted_net.endpoints.proxied import export_proxy, restore_proxy
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.policy.rate import TokenBucket
from twisted_net.store.log import Bounds, Message
from twisted_net.store.memory import MemoryStore
from twisted_net.wire.framing import (
    JsonLines,
    JsonStream,
    LengthPrefixed,
    Lines,
    Netstrings,
    RemoteProtocolError,
    SkippingLines,
)
from twisted_net.wire.proxy_protocol import Endpoint, Family, ProxyHeader
from twisted_net.wire.telnet import Telnet
from twisted_net.wire.websocket import WebSocket, encode_frame

MASK = b"\x01\x02\x03\x04"

STREAMS: list[tuple[Callable[..., Any], bytes]] = [
    (Lines, b"one\r\ntwo\nthree and more\r"),
    (SkippingLines, b"one\r\0two\r\nmuch too long a line\r\nfour\nfi"),
    (Netstrings, b"3:one,0:,12:twelve bytes,2:t"),
    (partial(LengthPrefixed, 2), b"\0\x03one\0\0\0\x05three\0\x07sev"),
    (partial(LengthPrefixed, "varint"), b"\x03one\x00\x05three\x8c\x00twelve bytes\x03a"),
    (JsonLines, b'{"a": ["x"]}\n\n"text"\n[1,'),
    (JsonStream, b' {"a": "}\\"{"} [[], "]"]{"b": "\\\\"'),
    (
        WebSocket,
        encode_frame(0x01, "häl".encode()[:2], MASK)
        + encode_frame(0x89, b"ping", MASK)
        + encode_frame(0x80, "häl".encode()[2:], MASK)
        + encode_frame(0x82, b"binary", MASK)
        + encode_frame(0x81, b"cut off", MASK)[:9],
    ),
]

many = settings(max_examples=100, database=None)


class FramingTests(SynchronousTestCase):
    """A framing that goes on in the middle of a message."""

    def test_every_place(self) -> None:
        """Whatever has come before, the rest gives the same messages."""
        for make, data in STREAMS:
            for place in range(len(data) + 1):
                whole = make(max_size=14)
                expected = whole.feed(data)
                old, new = make(max_size=14), make(max_size=14)
                messages = old.feed(data[:place])
                new.restore_state(copied(old.export_state()))
                self.assertEqual(new.pending, old.pending)
                self.assertEqual(messages + new.feed(data[place:]), expected)
                self.assertEqual(new.pending, whole.pending)
                again = make(max_size=14)
                again.restore_state(copied(new.export_state()))
                self.assertEqual(again.pending, whole.pending)

    @many
    @given(st.lists(st.binary(max_size=12), max_size=8), st.integers(0, 8))
    def test_any_bytes(self, pieces: list[bytes], at: int) -> None:
        """The same for any bytes, as long as they are no error."""
        for make, _ in STREAMS:
            plain, moved = make(max_size=12), make(max_size=12)
            for number, piece in enumerate(pieces):
                if number == at:
                    old, moved = moved, make(max_size=12)
                    moved.restore_state(copied(old.export_state()))
                try:
                    expected = plain.feed(piece)
                except RemoteProtocolError as error:
                    found = self.assertRaises(RemoteProtocolError, moved.feed, piece)
                    self.assertEqual((found.code, found.messages), (error.code, error.messages))
                    break
                self.assertEqual(moved.feed(piece), expected)

    def test_a_compressed_message(self) -> None:
        """A compressed message of which a part is here cannot go on: zlib does not tell its state.

        Before and after it, the framing can be moved.
        """
        frame = encode_frame(0xC1, b"\xca\x48\xcd\xc9\xc9\x07\x00", MASK)
        framing = WebSocket(window_bits=12)
        self.assertEqual(copied(framing.export_state()), {"window_bits": 12})
        self.assertEqual(framing.feed(frame[:9]), [])
        self.assertIs(framing.export_state(), None)
        self.assertEqual(framing.feed(frame[9:]), ["hello"])
        self.assertEqual(copied(framing.export_state()), {"window_bits": 12})

    def test_telnet(self) -> None:
        """A command goes on, and what was answered is not answered again."""
        data = b"a\xff\xfb\x01b\xff\xfa\x18\x00\xff\xf0c\xff\xfb\x01\xff\xff"
        for place in range(len(data) + 1):
            expected = Telnet().feed(data)
            old, new = Telnet(), Telnet()
            text, answers = old.feed(data[:place])
            new.restore_state(copied(old.export_state()))
            more = new.feed(data[place:])
            self.assertEqual((text + more[0], answers + more[1]), expected)


class PartsTests(SynchronousTestCase):
    """The other parts of a connection and of a factory."""

    @many
    @given(st.lists(st.floats(0, 5), max_size=12), st.integers(0, 12), st.floats(-1e6, 1e6))
    def test_token_bucket(self, pauses: list[float], at: int, shift: float) -> None:
        """A bucket has the same level on another clock."""
        plain, moved = TokenBucket(2, 3), TokenBucket(2, 3)
        now, there = 0.0, 0.0
        for number, pause in enumerate(pauses):
            now += pause
            if number == at:
                old, moved = moved, TokenBucket(2, 3)
                moved.restore_state(copied(old.export_state(now + there)), now + shift)
                there = shift
            self.assertAlmostEqual(moved.take(1, now + there), plain.take(1, now), places=5)

    def test_send_queue(self) -> None:
        """Messages are whole, in order, and counted."""
        old, new = SendQueue(100), SendQueue(10)
        for number in range(5):
            old.put(b"%d" % number * 10, number)
        old.missed = 3
        new.restore_state(copied(old.export_state()))
        self.assertEqual((new.size, new.missed), (50, 3))
        self.assertEqual(new.take(1), (b"0" * 10, 0))
        rest = b"".join(b"%d" % number * 10 for number in range(1, 5))
        self.assertEqual(new.take(1000), (rest, 10))

    def test_timers(self) -> None:
        """A timeout passes when it would have passed, to a tick."""
        expired: list[str] = []
        clock = Clock()
        old = Timers(clock)
        running = old.start(lambda: expired.append("old"), 10)
        clock.pump([0.25] * 24)
        new = Timers(clock)
        new.restore_state(lambda: expired.append("new"), copied(old.export_state(running)))
        old.cancel(running)
        clock.pump([0.25] * 14)
        self.assertEqual(expired, [])
        clock.pump([0.25] * 8)
        self.assertEqual(expired, ["new"])

    def test_countdown(self) -> None:
        """Each item has what was left of its time."""
        clock, expired = Clock(), list[str]()
        old, new = Countdown[str](5, expired.append), Countdown[str](5, expired.append)
        old.start("first", clock)
        clock.advance(2)
        old.start("second", clock)
        clock.advance(1)
        self.assertIs(old.left("third", clock), None)
        left = {name: old.left(name, clock) for name in ("second", "first")}
        self.assertEqual(left, {"first": 2, "second": 4})
        new.restore({name: each for name, each in left.items() if each is not None}, clock)
        for name in left:
            old.stop(name)
        clock.advance(2)
        self.assertEqual(expired, ["first"])
        clock.advance(2)
        self.assertEqual(expired, ["first", "second"])

    def test_ages(self) -> None:
        """Connections are as old as before, on another clock."""
        old, new = Ages(), Ages()
        for number in range(10):
            old.note(number, 100.0 + number)
        new.restore_state(copied(old.export_state(120.0)), 7.0)
        for number in range(1, 11):
            self.assertEqual(new.age(number, 7.0), old.age(number, 120.0))

    def test_admission(self) -> None:
        """Who has moved counts, and is never refused; bans and rates go on."""
        rules = AdmissionRules(max_connections=3, max_per_address=2, accept_rate=1, accept_burst=2)
        old, new = Admission(rules), Admission(rules)
        for _ in range(2):
            self.assertIs(old.admit("192.0.2.1", 5.0), None)
        self.assertEqual(str(old.admit("192.0.2.1", 5.0)), "too-fast")
        self.assertIs(old.admit("192.0.2.2", 5.0), None)
        new.restore_state(copied(old.export_state(6.0)), 1006.0)
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"):
            new.count_moved(address)
        self.assertEqual((new.open, new.refused), (4, old.refused))
        self.assertEqual(str(new.admit("192.0.2.1", 1007.0)), "too-fast")
        self.assertEqual(str(new.admit("192.0.2.4", 1007.0)), "full")
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"):
            new.leave(address)
        self.assertEqual(new.open, 0)
        self.assertIs(new.admit("192.0.2.1", 1030.0), None)

    def test_proxy_header(self) -> None:
        """The addresses that a proxy has told, and the rest of its header."""
        header = ProxyHeader(
            Family.IPV6,
            Endpoint("2001:db8::1", 1),
            Endpoint("2001:db8::2", 2),
            tlvs=((2, b"chat.example"),),
        )
        old: Any = SimpleNamespace(proxy_header=header)
        new: Any = SimpleNamespace()
        self.assertIs(export_proxy(new), None)
        restore_proxy(new, copied(export_proxy(old)))
        self.assertEqual(new.proxy_header, header)
        self.assertEqual(new.getPeer(), IPv6Address("TCP", "2001:db8::1", 1))
        self.assertEqual(new.getHost(), IPv6Address("TCP", "2001:db8::2", 2))
        check: Any = SimpleNamespace()
        restore_proxy(check, copied(export_proxy(SimpleNamespace(proxy_header=ProxyHeader()))))
        self.assertEqual(check.proxy_header, ProxyHeader())
        self.assertFalse(hasattr(check, "getPeer"))

    def test_memory_store(self) -> None:
        """Each log goes on in its epoch, with its ids and its bounds."""
        tokens = iter("abcdef")
        bounds = Bounds(count=3)
        old = MemoryStore(lambda: 9.0, lambda: next(tokens), bounds)
        new = MemoryStore(lambda: 9.0, lambda: next(tokens), bounds)
        for number in range(5):
            old.append("tea", [Message("ann", f"m{number}", 8.0, False, "o", f"i{number}")])
        old.put("ban", "key", "value")
        new.restore_state(copied(old.export_state()))
        for store in (old, new):
            page = self.successResultOf(store.before("tea", None, 10))
            self.assertEqual([each.offset for each in page.stored], [3, 4, 5])
            again = self.successResultOf(store.append("tea", [page.stored[-1].message]))
            self.assertEqual((again.epoch, again.offsets, again.fresh), ("a", [5], []))
            fresh = self.successResultOf(store.append("tea", [Message("bob", "m", 9.0)]))
            self.assertEqual(fresh.offsets, [6])
            self.assertEqual(self.successResultOf(store.values("ban")), {"key": "value"})
            self.assertIs(self.successResultOf(store.since("tea", "a", 1, 10)), None)
