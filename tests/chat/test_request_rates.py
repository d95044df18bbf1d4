"""Tests of :mod:`twisted_net.chat.request_rates`, and of what users are told by it."""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from tests.chat.chat_peers import ChatCase
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.messages import RequestError
from twisted_net.chat.request_rates import RequestRates
from twisted_net.testing import connect_peer


class RequestRatesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rates = RequestRates(ChatLimits(joins=3, rooms=2, nicks=0))

    def refusal(self, who: str, now: float, kind: Any = "joins") -> RequestError | None:
        """Count a request. Return the error, if there is one."""
        try:
            self.rates.count(who, kind, now)
        except RequestError as error:
            return error
        return None

    def test_a_rate(self) -> None:
        """As many as allowed a minute may come at once, and then one after another."""
        self.assertEqual([self.refusal("ann", 0.0) for _ in range(3)], [None] * 3)
        error = self.refusal("ann", 0.5)
        assert error is not None
        self.assertEqual((error.code, error.field, error.retry_after), ("rate-limited", "room", 20))
        self.assertEqual(error.text, "You join rooms too often. Try again in 20 seconds.")
        self.assertIsNone(self.refusal("bob", 0.5))
        error = self.refusal("ann", 19.5)
        assert error is not None
        self.assertEqual(error.text, "You join rooms too often. Try again in 1 second.")
        self.assertIsNone(self.refusal("ann", 20.0))
        self.assertIsNotNone(self.refusal("ann", 20.0))

    def test_joining_all_rooms_again(self) -> None:
        """A program that connects again may join as many rooms at once as it may be in."""
        self.rates = RequestRates(ChatLimits(joins=3, rooms=5))
        self.assertEqual([self.refusal("ann", 0.0) for _ in range(5)], [None] * 5)
        error = self.refusal("ann", 0.0)
        assert error is not None
        self.assertEqual(error.retry_after, 20)

    def test_no_limit(self) -> None:
        """0 is no limit, and nothing is counted."""
        self.assertEqual([self.refusal("ann", 0.0, "nicks") for _ in range(99)], [None] * 99)
        self.assertEqual(len(self.rates), 0)

    def test_nothing_is_kept_of_those_who_are_gone(self) -> None:
        """Counts of those who left are forgotten, and so are those of long ago."""
        self.refusal("ann", 0.0)
        self.rates.forget("ann")
        self.assertEqual(len(self.rates), 0)
        for number in range(11_000):
            self.refusal(f"guest-{number}", 0.0)
        self.assertEqual(len(self.rates), 10_000)
        self.refusal("ann", 100.0)
        self.assertEqual(len(self.rates), 1)


class LimitedTests(ChatCase):
    """Tests of the limits, in both forms."""

    def test_by_default(self) -> None:
        """Joins, names, topics and new rooms have a limit, which says when to try again."""
        ann, prog = self.user(), self.program("prog")
        for count, line, message, code, said in (
            (10, "/nick ann{}", {"type": "nick", "nick": "prog{}"}, "nick", "change your name"),
            (10, "/topic {}", {"type": "topic", "room": "lobby", "topic": "{}"}, "topic", "change"),
        ):
            for number in range(count + 1):
                ann.send(line.format(number).encode() + b"\n")
                prog.send(**{key: value.format(number) for key, value in message.items()})
            last = ann.take().splitlines()
            self.assertEqual(sum(line.startswith(b"! ") for line in last), 1, last)
            (told,) = (line for line in last if line.startswith(b"! "))
            self.assertRegex(told.decode(), f"^! You {said} .*too often. Try again in 6 seconds.$")
            (error,) = (each for each in prog.heard() if each["type"] == "error")
            self.assertEqual(
                (error["code"], error["field"], error["retry_after"]), ("rate-limited", code, 6)
            )
        self.clock.advance(6)
        ann.send(b"/nick zoe\n")
        self.assertIn(b"* You are zoe now.\n", ann.take())

    def test_what_is_refused_anyway_does_not_count(self) -> None:
        """A name that is taken, or a room that one is in already, costs nothing."""
        ann, bob = self.user("ann"), self.user("bob")
        for _ in range(80):
            bob.send(b"/nick bob\n/nick ?\n/join lobby\n/topic\n")
        self.assertNotIn(b"too often", bob.take())
        self.assertIsNotNone(ann)

    def test_joins(self) -> None:
        """Joining and leaving the same room has a limit; a program's joining again has it too."""
        other, ann, prog = self.user("other"), self.user("ann"), self.program("prog")
        other.send(b"/join cellar\n")
        for _ in range(61):
            ann.send(b"/join cellar\n/leave cellar\n")
            prog.send(type="join", room="lobby")
        self.assertEqual(ann.take().count(b"! You join rooms too often. Try again in 1 second."), 1)
        errors = [each for each in prog.heard() if each["type"] == "error"]
        self.assertEqual([each["retry_after"] for each in errors], [1, 1])  # the hello had a join

    def test_new_rooms(self) -> None:
        """New rooms count for an address, however many connections it has."""
        self.factory = self.make(chat_limits=ChatLimits(new_rooms=4))
        where = IPv4Address("TCP", "198.51.100.7", 1)
        ann, bob = connect_peer(self.factory, peer=where), connect_peer(self.factory, peer=where)
        for peer, name in ((ann, b"a"), (bob, b"b")):
            for number in range(3):
                peer.send(b"/join %s%d\n/leave\n" % (name, number))
        self.assertNotIn(b"\n!", ann.take())
        said = bob.take()
        self.assertEqual(said.count(b"! You make new rooms too often. Try again in 15 seconds."), 2)
        eve = self.user("eve")
        eve.send(b"/join there\n")
        bob.send(b"/join there\n")  # it is not new any more
        self.assertIn(b"You are in #there now", bob.take())

    def test_operators(self) -> None:
        """Operators have no such limits."""
        checker = InMemoryUsernamePasswordDatabaseDontUse(boss=b"x")
        self.factory = self.make(checkers=[checker], operators=["boss"], plain_logins=True)
        boss = self.user()
        boss.send(b"/login boss x\n")
        for number in range(70):
            boss.send(b"/topic %d\n/join a%d\n/leave\n" % (number, number))
        self.assertNotIn(b"\n!", boss.take())
