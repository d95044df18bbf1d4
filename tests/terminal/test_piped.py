"""The terminal client as a filter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat import ChatError
from twisted_net.terminal.piped import LONGEST_LINE, LineSender, plain_line, split_lines


class Sending:
    """A client in whose place a test acks and refuses.

    :ivar sent: the room, the text and the Deferred of each message.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, Deferred[int]]] = []

    def send(self, room: str, text: str) -> Deferred[int]:
        self.sent.append((room, text, Deferred()))
        return self.sent[-1][2]


class LineSenderTests(SynchronousTestCase):
    """Lines that become messages."""

    def setUp(self) -> None:
        self.client = Sending()
        self.complaints: list[str] = []
        self.settled = 0
        self.sender = LineSender(self.client, "lobby", self.complaints.append, self.settle)

    def settle(self) -> None:
        self.settled += 1

    def test_all_are_stored(self) -> None:
        """The status is 0 once the last has been stored, and not before."""
        self.sender.line(b"one")
        self.sender.line("zwei, drei: äöü".encode())
        self.sender.end()
        self.assertEqual(
            [each[:2] for each in self.client.sent],
            [("lobby", "one"), ("lobby", "zwei, drei: äöü")],
        )
        self.client.sent[1][2].callback(1)
        self.assertNoResult(self.sender.finished)
        self.client.sent[0][2].callback(2)
        self.assertEqual(self.successResultOf(self.sender.finished), 0)
        self.assertEqual((self.complaints, self.settled), ([], 2))

    def test_it_waits_for_the_end_of_the_input(self) -> None:
        """More lines may follow."""
        self.sender.line(b"one")
        self.client.sent[0][2].callback(1)
        self.assertNoResult(self.sender.finished)
        self.sender.end()
        self.assertEqual(self.successResultOf(self.sender.finished), 0)

    def test_no_line(self) -> None:
        """All of none are stored."""
        self.sender.end()
        self.assertEqual(self.successResultOf(self.sender.finished), 0)

    def test_a_line_is_refused(self) -> None:
        """The status is 1, and the error says which line and why; the others are sent."""
        for line in (b"one", b"two", b"three"):
            self.sender.line(line)
        self.sender.end()
        self.client.sent[1][2].errback(ChatError("muted", "You are muted."))
        for place in (0, 2):
            self.client.sent[place][2].callback(place)
        self.assertEqual(self.successResultOf(self.sender.finished), 1)
        self.assertEqual(self.complaints, ["line 2 was not sent: You are muted."])

    def test_the_same_reason_is_told_once(self) -> None:
        """A thousand lines that a server refuses are two lines of errors."""
        for number in range(1000):
            self.sender.line(b"%d" % number)
            self.client.sent[-1][2].errback(ChatError("muted", "You are muted."))
        self.sender.end()
        self.assertEqual(self.successResultOf(self.sender.finished), 1)
        self.assertEqual(
            self.complaints,
            ["line 1 was not sent: You are muted.", "1000 of 1000 lines were not sent"],
        )

    def test_lines_that_cannot_be_sent(self) -> None:
        """What is not UTF-8 or too long is an error; blank lines are passed over."""
        for line in (b"", b" \t ", b"a\xff", b"x" * (LONGEST_LINE + 1), b"good"):
            self.sender.line(line)
        self.assertEqual([each[1] for each in self.client.sent], ["good"])
        self.client.sent[0][2].callback(1)
        self.sender.end()
        self.assertEqual(self.successResultOf(self.sender.finished), 1)
        self.assertEqual(
            self.complaints,
            [
                "line 3 was not sent: not UTF-8 at byte 1 of the line",
                f"line 4 was not sent: longer than {LONGEST_LINE} bytes",
                "2 of 5 lines were not sent",
            ],
        )
        self.assertEqual(self.settled, 5)

    def test_a_line_is_a_text_and_no_command(self) -> None:
        """A log that has /quit in it does not end the chat."""
        self.sender.line(b"/quit")
        self.assertEqual(self.client.sent[0][1], "/quit")


class SplitLinesTests(SynchronousTestCase):
    """Lines of a stream."""

    def test_ends(self) -> None:
        """With LF or CR LF; the last line needs none."""
        self.assertEqual(list(split_lines(iter([b"a\nb\r\n\nc"]))), [b"a", b"b", b"", b"c"])
        self.assertEqual(list(split_lines(iter([b"a\n"]))), [b"a"])
        self.assertEqual(list(split_lines(iter([]))), [])

    @given(st.lists(st.binary(max_size=4)), st.integers(1, 5))
    def test_in_any_pieces(self, lines: list[bytes], size: int) -> None:
        """Pieces of any size give the same lines."""
        lines = [line.replace(b"\n", b"").rstrip(b"\r") for line in lines]
        data = b"".join(line + b"\n" for line in lines)
        pieces = (data[place : place + size] for place in range(0, len(data), size))
        self.assertEqual(list(split_lines(pieces)), lines)

    def test_a_stream_without_lines(self) -> None:
        """Is not kept: of its one line only the beginning comes, once."""
        chunk = b"x" * 65536

        def stream() -> Iterator[bytes]:
            for _ in range(64):
                yield chunk
            yield b"\nnext\n"

        first, second = split_lines(stream())
        self.assertEqual((len(first), second), (LONGEST_LINE + 1, b"next"))


class PlainLineTests(SynchronousTestCase):
    """What ``--listen`` prints."""

    def line(self, is_tagged: bool = False, **message: Any) -> str:
        return plain_line({"from": "ann", "text": "hi", **message}, is_tagged)

    def test_messages(self) -> None:
        """As ``nc`` shows them. The room is named if there are several."""
        said = {"type": "message", "room": "dev"}
        self.assertEqual(self.line(**said), "<ann> hi")
        self.assertEqual(self.line(True, **said), "#dev <ann> hi")
        self.assertEqual(self.line(True, action=True, **said), "#dev * ann hi")
        self.assertEqual(self.line(type="private"), "* ann tells you: hi")
        self.assertEqual(self.line(type="private", action=True), "* ann tells you: ann hi")

    def test_others_are_not_printed(self) -> None:
        """Only what somebody says."""
        for kind in ("welcome", "joined", "presence", "notice", "topic", "history"):
            self.assertEqual(self.line(type=kind, room="dev"), "")

    def test_lines_stay_lines(self) -> None:
        """Nobody can print two lines, or control the terminal."""
        text = self.line(
            True, type="message", room="d\nv", **{"from": "a\nb", "text": "c\n\x1b[2Jd"}
        )
        self.assertEqual(text, "#dv <ab> cd")
