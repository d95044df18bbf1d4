"""Limits, operators and reserved names of a chat that change while users are there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse

from tests.chat.chat_peers import ChatCase
from twisted_net.chat.limits import ChatLimits
from twisted_net.testing import connect_peer


class ChatChangesTests(ChatCase):
    def change(self, **changes: Any) -> None:
        self.factory.change_chat_limits(replace(self.factory.chat_limits, **changes))

    def test_the_welcome(self) -> None:
        """Programs are told the limits that hold when they come, and keep the heartbeat."""
        before = self.program("ann")
        self.change(heartbeat=20, page=7, rooms=3)
        self.factory.change_limits(max_message=5000)
        for idle, heartbeat in ((0, 20), (10, 5)):
            self.factory.change_limits(idle_timeout=idle)
            after = connect_peer(self.factory)
            after.send(b'{"type":"hello","nick":"bob"}\n')
            told = after.received
            self.assertIn(f'"heartbeat":{heartbeat}'.encode(), told.replace(b".0", b""))
            self.assertIn(b'"message":5000,', told)
            self.assertIn(b'"rooms":3,"history":7,', told)
            after.protocol.abort()
        self.assertEqual(before.peer.protocol.idle_timeout, 45)

    def test_sessions_that_are_open(self) -> None:
        """A user may be in no more rooms, and is shown more of a room's history."""
        ann, bob = self.user("ann"), self.user("bob")
        for number in range(9):
            bob.send(b"line %d\n" % number)
        self.change(rooms=2, history=9)
        ann.take()
        ann.send(b"/join one\n/join two\n")
        self.assertIn(b"You may be in 2 rooms", ann.take())
        ann.send(b"/leave lobby\n/leave one\n/join lobby\n")
        self.assertIn(b"line 0", ann.take())

    def test_all_rooms(self) -> None:
        ann = self.user("ann")
        self.change(all_rooms=1)
        ann.take()
        ann.send(b"/join one\n")
        self.assertIn(b"! ", ann.take())
        self.assertEqual(len(self.factory.registry.rooms), 1)

    def test_rates(self) -> None:
        """A new one begins with as many requests as it allows a minute."""
        self.factory = self.make(chat_limits=ChatLimits(topics=1))
        ann = self.user("ann")
        ann.send(b"/topic a\n/topic b\n")
        self.assertIn(b"You change topics too often", ann.take())
        self.change(topics=2)
        ann.send(b"/topic b\n/topic c\n")
        self.assertNotIn(b"too often", ann.take())
        ann.send(b"/topic d\n")
        self.assertIn(b"too often", ann.take())

    def test_the_time_to_log_in(self) -> None:
        """It changes for those who have not logged in."""
        accounts = InMemoryUsernamePasswordDatabaseDontUse(ann=b"secret")
        self.factory = self.make(checkers=[accounts], anonymous=False, plain_logins=True)
        peer = connect_peer(self.factory)
        peer.advance(5)
        self.change(login_timeout=8)
        peer.advance(2)
        self.assertTrue(peer.connected)
        peer.advance(2)
        self.assertIn(b"within 8 seconds", peer.received)
        other = connect_peer(self.factory)
        self.change(login_timeout=0)
        other.advance(1000)
        self.assertTrue(other.connected)

    def test_the_same_limits(self) -> None:
        """They change nothing: rates do not begin anew."""
        self.factory = self.make(chat_limits=ChatLimits(topics=1))
        ann = self.user("ann")
        ann.send(b"/topic a\n")
        self.change(topics=1)
        ann.take()
        ann.send(b"/topic b\n")
        self.assertIn(b"too often", ann.take())

    def test_operators(self) -> None:
        """Who is logged in becomes one, and is none any more."""
        accounts = InMemoryUsernamePasswordDatabaseDontUse(ann=b"secret")
        self.factory = self.make(checkers=[accounts], plain_logins=True)
        ann, bob = self.user(), self.user("bob")
        ann.send(b"/login ann secret\n")
        ann.turn()
        for operators, answer in (((), b"Only operators"), (["Ann"], b"bob"), ((), b"Only oper")):
            self.factory.change_accounts(operators, ["zoe"])
            ann.take()
            ann.send(b"/mute bob\n")
            self.assertIn(answer, ann.take())
        bob.take()
        bob.send(b"/nick zoe\n")
        self.assertIn(b"The name zoe is reserved", bob.take())
        self.assertRaises(ValueError, self.factory.change_accounts, ["eve"], ["a b"])
        self.assertEqual(self.factory.registry.operators, set())
