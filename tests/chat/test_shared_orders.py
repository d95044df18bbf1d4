"""What processes tell each other is checked: nothing that is wrong does harm."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, formatEvent

from tests.chat.chat_peers import NOW
from tests.chat.shared_chat import SharedCase
from twisted_net.chat.bans import Sanction
from twisted_net.chat.shared.calls import TOPIC
from twisted_net.chat.shared.order_fields import ORDER_FIELDS

SANCTION = Sanction("eve", ("name:eve",), NOW + 600, "boss", "spam").to_json()

ORDERS: list[dict[str, Any]] = [
    {"do": "private", "to": "ann", "from": ["bob", "o", "", "h"], "text": "psst", "id": "1"},
    {"do": "kick", "to": "nobody", "by": "boss", "text": ""},
    {"do": "say-muted", "to": "ann", "minutes": 5, "but": ""},
    {"do": "yield", "origin": "o"},
    {"do": "evict", "name": "zoe"},
    {"do": "topic", "room": "lobby", "topic": "tea", "by": "bob", "but": ""},
    {"do": "notice", "room": "lobby", "text": "hear", "but": ""},
    {
        "do": "own",
        "room": "lobby",
        "kind": "dice",
        "text": "rolls",
        "fields": {"x": 1},
        "origin": "o",
        "but": "",
    },
    {"do": "ban", "ban": SANCTION},
    {"do": "unban", "key": "name:eve"},
    {"do": "mute", "mute": SANCTION},
    {"do": "unmute", "key": "name:eve"},
    {"do": "answer", "call": 7, "name": "ann", "delivered": ["1"]},
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


class WrongOrderTests(SharedCase):
    """Process ``two`` sends something to process ``one``."""

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.one.text("ann")

    def sent(self, data: bytes) -> list[str]:
        """Send something, and return what was logged. It must be no mistake of the code."""
        with capturedLogs() as logged:
            self.two.store.notify(TOPIC, data)
            self.settle()
            self.pass_presence()
        critical = [each for each in logged if each["log_level"] is LogLevel.critical]
        self.assertEqual(critical, [], data)
        self.assertEqual(self.flushLoggedErrors(), [])
        return [text for each in logged if (text := formatEvent(each))]

    def test_right_orders(self) -> None:
        """None of them is refused, and all have rules."""
        for order in ORDERS:
            found = self.sent(json.dumps(order).encode())
            self.assertEqual([line for line in found if "nother process" in line], [], order)
            self.assertEqual([line for line in found if "no order" in line], [], order)
        self.assertEqual({order["do"] for order in ORDERS} - {"answer"}, set(ORDER_FIELDS))

    def test_a_field_that_is_missing_or_wrong(self) -> None:
        """The order is not carried out, and one line names the field."""
        for order in ORDERS[:-1]:
            for field in order.keys() - {"do"}:
                wrong: Any
                for wrong in (None, 7.5, [], {"a": 1}, ["x"] * 5):
                    if wrong == order[field] or (field == "fields" and type(wrong) is dict):
                        continue
                    changed = {**order, field: wrong}
                    if wrong is None:
                        del changed[field]
                    self.ann.take()
                    lines = self.sent(json.dumps(changed).encode())
                    self.assertEqual(len(lines), 1, lines)
                    self.assertIn(f"{order['do']!r} with a wrong {field!r}", lines[0])
                    self.assertEqual(self.ann.take(), b"")

    def test_what_is_no_order(self) -> None:
        """One line says so."""
        for data in (
            *(b"", b"{", b"7", b"[]", b"{}", b'{"do":7}', b'{"do":["topic"]}', b"\xff"),
            *(b'{"do":"answer","call":[]}', b'{"do":"answer","call":1,"name":7}'),
            *(b'{"do":"answer","call":1,"delivered":"x"}', b"[" * 100_000),
        ):
            self.assertEqual(len(self.sent(data)), 1, data[:50])

    @settings(max_examples=100, database=None)
    @given(st.sampled_from(ORDERS), st.data())
    def test_any_value(self, order: dict[str, Any], data: st.DataObject) -> None:
        """Whatever a field is, nothing fails."""
        field = data.draw(st.sampled_from(sorted(order)))
        self.sent(json.dumps({**order, field: data.draw(json_values)}).encode())
