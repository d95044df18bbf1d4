"""Tests of :mod:`twisted_net.chat.channel` with stores that are slow or fail."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail

from tests.chat.chat_peers import NOW, ChatCase
from tests.store.test_sqlite import LaterTurns
from twisted_net.chat.greeting import GREETING_DELAY
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.protocol import PRESENCE_DELAY
from twisted_net.store.interface import StoreError
from twisted_net.store.log import Bounds
from twisted_net.store.memory import MemoryStore
from twisted_net.store.sqlite import SqliteStore
from twisted_net.testing import connect_peer


class SlowStoreTests(ChatCase):
    """Messages are not sent before they are stored."""

    def make(self, **settings: Any) -> Any:
        self.worker = LaterTurns()
        self.store = SqliteStore(
            *(self.mktemp(), self.clock, lambda: self.worker, lambda: NOW, lambda: "epoch")
        )
        factory = super().make(store=self.store, **settings)
        factory.start_store()
        self.addCleanup(self.store._log.close)
        return factory

    def work(self) -> None:
        """Run all jobs of the store, and what follows from them in the chat."""
        for _ in range(4):
            self.clock.advance(0)
            self.worker.work()

    def settled(self, *peers: Any) -> None:
        self.work()
        self.clock.advance(PRESENCE_DELAY)
        for peer in peers:
            peer.take()

    def test_people_talk(self) -> None:
        """Messages are sent once they are stored, in order with other events."""
        ann, bob = self.user("ann"), self.user("bob")
        self.settled(ann, bob)
        ann.send(b"one\n/nick zoe\ntwo\n")
        self.assertEqual(bob.take(), b"")
        self.work()
        self.assertEqual(bob.take(), b"<ann> one\n* ann is now zoe.\n<zoe> two\n")

    def test_an_ignored_user_is_gone_before_the_message_is_stored(self) -> None:
        """A message of an ignored user is hidden even if the user leaves at once."""
        ann, bob, eve = self.user("ann"), self.user("bob"), self.user("eve")
        ann.send(b"/ignore bob\n")
        self.settled(ann, bob, eve)
        bob.send(b"hello\n/nick other\nhello\n")
        bob.reset()
        self.work()
        self.assertEqual((ann.take().count(b"hello"), eve.take().count(b"hello")), (0, 2))

    def test_ignored_while_joining(self) -> None:
        """A message of an ignored user is hidden from a member who is still joining the room."""
        ann, bob = self.user("ann"), self.user("bob")
        bob.send(b"/join cellar\n")
        ann.send(b"/ignore bob\n")
        self.settled(ann, bob)
        bob.send(b"first\n")
        self.settled(ann, bob)
        bob.send(b"hidden\n")
        self.clock.advance(0)  # it goes to the store before the history is asked for
        ann.send(b"/join cellar\n")
        self.work()
        heard = ann.take()
        self.assertIn(b"You are in #cellar now", heard)
        self.assertNotIn(b"<bob> hidden", heard)

    def test_an_ack_waits_for_the_store(self) -> None:
        """An ack is sent, and others receive the message, only after it is stored."""
        ann, prog = self.user("ann"), self.program("prog")
        self.settled(ann)
        prog.heard()
        prog.send(type="message", room="lobby", text="hi", id="1")
        self.assertEqual((prog.heard(), ann.take()), ([], b""))
        self.work()
        self.assertEqual([each["type"] for each in prog.heard()], ["ack"])
        self.assertEqual(ann.take(), b"<prog> hi\n")

    def test_the_last_words_of_one_who_leaves(self) -> None:
        """The last message of a user who leaves is stored and sent, even if the room is empty."""
        ann, bob = self.user("ann"), self.user("bob")
        self.settled(ann, bob)
        ann.send(b"bye\n/quit\n")
        ann.write_eof()
        self.work()
        self.assertEqual(bob.take(), b"<ann> bye\n")
        bob.send(b"me too\n")
        bob.reset()
        self.assertNotIn("lobby", self.factory.registry.rooms)
        eve = connect_peer(self.factory)
        self.clock.advance(GREETING_DELAY)
        self.work()
        self.assertIn(b"<bob> me too\n", eve.received)
        self.work()
        self.assertEqual(len(self.store.subscribers["lobby"]), 1)

    def test_leaving_before_the_past_is_read(self) -> None:
        """A member that leaves before the store has answered receives nothing, and is removed."""
        ann = self.user("ann")
        ann.send(b"one\n")
        self.settled(ann)
        prog, bob = self.program("prog"), connect_peer(self.factory)
        prog.send(type="leave", room="lobby")
        since = {"epoch": "epoch", "offset": 0}
        prog.send(type="join", room="lobby", since=since)
        prog.send(type="leave", room="lobby")
        bob.reset()
        self.work()
        kinds = [each["type"] for each in prog.heard()]
        self.assertNotIn("joined", kinds)
        self.assertNotIn("message", kinds)
        ann.send(b"two\n")
        self.work()
        self.assertEqual(prog.heard(), [])
        self.assertEqual(
            len(self.factory._channels[self.factory.registry.rooms["lobby"]]._joining), 0
        )

    def test_what_is_said_while_the_past_is_read(self) -> None:
        """Messages that arrive while the store reads follow after those it returns, once."""
        ann = self.user("ann")
        ann.send(b"one\n")
        self.settled(ann)
        prog = self.program("prog", "")
        prog.heard()
        prog.send(type="join", room="lobby", since={"epoch": "epoch", "offset": 0})
        ann.send(b"two\n")
        prog.send(type="message", room="lobby", text="three", id="3")
        ann.send(b"four\n")
        self.work()
        joined, *rest = [each for each in prog.heard() if each["type"] != "presence"]
        self.assertTrue(joined["recovered"])
        said = [each["offset"] for each in rest if each["type"] == "message"]
        self.assertEqual(said, sorted(set(said)))
        self.assertLessEqual({1, 2, 4}, set(said))
        self.assertEqual([each["id"] for each in rest if each["type"] == "ack"], ["3"])

    def test_a_full_disk(self) -> None:
        """If the disk is full, senders receive an error, and the chat continues."""
        ann, prog = self.user("ann"), self.program("prog")
        self.settled(ann)
        prog.heard()
        database: Any = self.store._log._db
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(5):
            ann.send(b"x" * 8000 + b"\n")
        prog.send(type="message", room="lobby", text="y" * 4000, id="7")
        self.work()
        why = b"! Your message was not sent: the server cannot store it now.\n"
        self.assertEqual(ann.take(), why * 5)
        (error,) = prog.heard()
        self.assertEqual((error["code"], error["id"]), ("store", "7"))
        ann.send(b"/who\n")
        self.assertEqual(ann.take(), b"* 2 in #lobby: ann, prog\n")
        database.execute("PRAGMA max_page_count = 10000")
        ann.send(b"again\n")
        self.work()
        self.assertEqual([each["text"] for each in prog.heard()], ["again"])

    def test_too_much_waits(self) -> None:
        """If too many messages wait for the store, further ones are refused."""
        self.factory = self.make(chat_limits=ChatLimits(waiting=3))
        prog = self.program("prog")
        self.work()
        prog.heard()
        for number in range(5):
            prog.send(type="message", room="lobby", text="x", id=str(number))
            self.clock.advance(0)
        errors = [each["code"] for each in prog.heard() if each["type"] == "error"]
        self.work()
        acks = [each["id"] for each in prog.heard() if each["type"] == "ack"]
        self.assertEqual((errors, len(acks)), (["busy"], 4))


class EmptyRoomsTests(ChatCase):
    """Rooms in which nothing was said."""

    def test_a_tour_of_empty_rooms(self) -> None:
        """Who joins and leaves many empty rooms erases no other room's history."""
        store = MemoryStore(lambda: NOW, lambda: "epoch", Bounds(rooms=3))
        self.factory = self.make(store=store)
        ann, bob = self.user("ann"), self.user("bob")
        ann.send(b"/join cellar\nkept\n/leave cellar\n")
        for number in range(9):
            bob.send(b"/join room-%d\n/leave room-%d\n" % (number, number))
        ann.take()
        ann.send(b"/join cellar\n")
        self.assertIn(b"<ann> kept\n", ann.take())


class BrokenStoreTests(ChatCase):
    def test_a_room_that_cannot_be_opened(self) -> None:
        """A user who joins a room that cannot be opened receives an error, and is not in it."""
        ann = self.user("ann")
        self.pass_presence(ann)
        broken: Deferred[Any] = fail(StoreError("the disk is gone"))
        self.patch(self.factory._store, "subscribe", lambda room, deliver: broken)
        ann.send(b"/join cellar\nhello\n")
        answer = ann.take()
        self.assertIn(b"! #cellar cannot be opened: the disk is gone.\n", answer)
        self.assertEqual([room.name for room in ann.protocol.user.rooms], ["lobby"])
