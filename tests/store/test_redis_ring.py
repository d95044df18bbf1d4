"""The end of a room in memory: :mod:`twisted_net.store.redis.ring`."""

from __future__ import annotations

from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.store.store_contract import NOW, make_message
from twisted_net.store.log import Bounds, Page, StoredMessage
from twisted_net.store.redis.records import (
    append_arguments,
    decode_messages,
    decode_records,
    mark_of,
    parse_header,
)
from twisted_net.store.redis.ring import RoomRing


class RoomRingTests(SynchronousTestCase):
    @settings(max_examples=200, database=None)
    @given(
        st.integers(0, 12),
        st.lists(st.integers(0, 4), max_size=10),
        st.integers(1, 9),
        st.integers(0, 30),
        st.integers(0, 12),
    )
    def test_as_the_log_would(
        self, before: int, turns: list[int], count: int, asked: int, limit: int
    ) -> None:
        """What a ring answers is what the whole log would; what it cannot tell, it does not."""
        log = [StoredMessage(number, make_message(str(number))) for number in range(1, before + 1)]
        first = max(1, before - count + 1)
        ring = RoomRing(Bounds(count=count))
        ring.begin("e", before, first)
        for many in turns:
            top = len(log)
            fresh = [
                StoredMessage(top + number, make_message("x")) for number in range(1, many + 1)
            ]
            log += fresh
            first = max(1, len(log) - count + 1)
            ring.append(fresh, first)
        kept = log[first - 1 :]
        for _ in range(2):
            page = ring.before(asked, limit, NOW)
            if page is not None:
                expected = [each for each in kept if each.offset < asked][-limit or len(log) + 1 :]
                self.assertEqual(page.stored, expected if limit else [])
                self.assertEqual((page.top, page.first), (len(log), first))
            since = ring.since(asked, limit, NOW)
            if since is not None:
                self.assertEqual(since.stored, log[asked:])
                self.assertLessEqual(len(since.stored), limit)
            rest = [each for each in kept if each.offset < ring.start]
            ring.prepend(Page("e", len(log), rest, first))
        self.assertIsNotNone(ring.before(None, 99, NOW))

    def test_bytes(self) -> None:
        """The size in memory is limited, too."""
        size = make_message("x" * 100).size
        ring = RoomRing(Bounds(bytes=3 * size))
        ring.begin("e", 0, 1)
        ring.append([StoredMessage(n, make_message("x" * 100)) for n in range(1, 9)], 1)
        self.assertEqual(ring.start, 6)


class RecordTests(SynchronousTestCase):
    @settings(max_examples=150, database=None)
    @given(st.text(), st.text(), st.text(max_size=5), st.text(max_size=5), st.booleans())
    def test_any_message(self, sender: str, text: str, origin: str, id: str, action: bool) -> None:
        """A message is the same after its way through Redis, whatever is in it."""
        message = make_message(text, id, origin)._replace(sender=sender, action=action)
        _, size, milliseconds, record = append_arguments(message)
        self.assertEqual((size, milliseconds), (message.size, int(NOW * 1000)))
        stored = [StoredMessage(5, message), StoredMessage(6, message)]
        published = b"e 4 1 p [%b,%b]" % (record, record)
        header = parse_header(published)
        self.assertEqual(header[:4], ("e", 4, 1, "p"))
        self.assertEqual(decode_messages(4, header.records), stored)

    def test_a_list_of_records(self) -> None:
        """Records that are whole are messages; others, and those before them, are left out."""
        records = [append_arguments(make_message(str(number)))[3] for number in range(4)]
        stored, damaged = decode_records(4, records)
        self.assertEqual(([each.offset for each in stored], damaged), ([5, 6, 7, 8], 0))
        for wrong in (
            *(b"", b"{", b"7", b"[]", b"null", b"[1,2]", b"[" * 100_000, records[1][:-1]),
            *(self.with_checksum(each) for each in (
                b'["ann","x",1.0,false,"o"', b'["ann","x",1.0,false,"o","i","more"',
                b'["ann",7,1.0,false,"o","i"', b'["ann","x","1",false,"o","i"',
                b'["ann","x",NaN,false,"o","i"', b'["ann","x",Infinity,false,"o","i"',
                b'["ann","x",1.0,0,"o","i"', b'["ann","x",1.0,false,null,"i"', b'{"a":"b"',
            )),
        ):  # fmt: skip
            stored, damaged = decode_records(4, [records[0], wrong, *records[2:]])
            self.assertEqual(([each.offset for each in stored], damaged), ([7, 8], 6), wrong)
        self.assertEqual(decode_records(4, [records[0], b""]), ([], 6))

    def with_checksum(self, fields: bytes) -> bytes:
        """Return a record with a right checksum."""
        return b"%b,%d]" % (fields, crc32(fields))

    @settings(max_examples=150, database=None)
    @given(st.text(), st.data())
    def test_any_byte_that_changes(self, text: str, data: st.DataObject) -> None:
        """It is noticed."""
        record = bytearray(append_arguments(make_message(text, "id"))[3])
        record[data.draw(st.integers(0, len(record) - 1))] ^= data.draw(st.integers(1, 255))
        stored, damaged = decode_records(4, [bytes(record)])
        self.assertTrue(damaged == 5 or stored == [StoredMessage(5, make_message(text, "id"))])

    def test_marks(self) -> None:
        """Marks of different origins and ids are different; without an id there is none."""
        marks = {mark_of(make_message("x", id, origin)) for origin, id in
                 (("a", "bc"), ("ab", "c"), ("", "1:abc"), ("1:a", "bc"))}  # fmt: skip
        self.assertEqual(len(marks), 4)
        self.assertEqual(mark_of(make_message("x", "", "a")), b"")
