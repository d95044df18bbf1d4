"""Tests of :mod:`twisted_net.chat.client.client`, against a chat server in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.chat.chat_peers import ChatCase
from tests.chat.client_peers import WELCOME, ChatClientCase
from twisted_net.chat.client.client_state import ClientState
from twisted_net.chat.client.outputs import Deliver, GapDetected, SendRequest
from twisted_net.chat.messages import ChatError


def is_join(output: Any) -> bool:
    return isinstance(output, SendRequest) and output.message["type"] == "join"


class ChatClientTests(ChatClientCase):
    def test_it_says_hello_and_joins(self) -> None:
        """The client joins. Its callback and the iteration receive the messages of others."""
        given: list[dict[str, Any]] = []
        client = self.client(on_message=given.append)
        self.successResultOf(client.welcome())
        found: list[str] = []

        def note(message: dict[str, Any]) -> None:
            if message["type"] == "message":
                found.append(message["text"])

        async def iterate() -> None:
            async for message in client:
                note(message)

        done = Deferred.fromCoroutine(iterate())
        self.user("ann").send(b"one\ntwo\n")
        self.turn()
        self.assertEqual(found, ["one", "two"])
        self.assertEqual([each["type"] for each in given[:2]], ["welcome", "joined"])
        client.stopService()
        self.successResultOf(done)

    def test_sending_fires_with_the_offset(self) -> None:
        """The Deferred of a message fires with its offset once the server has stored it."""
        client, ann = self.client(), self.user("ann")
        for offset in (1, 2):
            acked = client.send("lobby", "hello", action=offset == 2)
            self.turn()
            self.assertEqual(self.successResultOf(acked), offset)
        self.assertIn(b"<bot> hello\n* bot hello\n", ann.received)
        told = client.send_private("ann", "psst")
        self.turn()
        self.assertEqual(self.successResultOf(told), 0)

    def test_whole_numbers(self) -> None:
        """An offset of 1.0 from a server is the int 1, as JSON Schema has it."""
        client = self.client()
        said = (
            b'{"type":"message","room":"lobby","offset":1.0,"from":"ann","text":"hi","time":""}\n'
        )
        self.where.pairs[-1].client.dataReceived(said)
        self.assertEqual(self.heard(client), ["hi"])
        client.state.connected()
        (join,) = (each.message for each in client.state.received(WELCOME) if is_join(each))
        self.assertEqual(repr(join["since"]["offset"]), "1")

    def test_what_was_missed_is_given(self) -> None:
        """After a reconnection, the client has its name and receives missed messages once."""
        client, ann = self.client(), self.user("ann")
        ann.send(b"one\n")
        self.up = False
        self.cut()
        ann.send(b"two\nthree\n")
        self.turn(5)
        self.up = True
        self.turn(5)
        ann.send(b"four\n")
        self.assertEqual(self.heard(client), ["one", "two", "three", "four"])
        self.assertEqual((client.state.nick, len(self.where.pairs)), ("bot", 2))

    def test_what_was_not_acked_is_sent_again(self) -> None:
        """Messages without an ack are sent again, and stored once."""
        client, ann = self.client(), self.user("ann")
        self.pass_presence(ann)
        self.up = False
        first = client.send("lobby", "first")
        self.cut()
        second = client.send("lobby", "second")
        self.turn(1)
        self.up = True
        self.turn(5)
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (1, 2))
        said = [line for line in ann.received.splitlines() if line.startswith(b"<")]
        self.assertEqual(said, [b"<bot> first", b"<bot> second"])

    def test_what_cannot_be_recovered_is_said(self) -> None:
        """The client reports lost messages, as after the restart of a server without a file."""
        lost: list[str] = []
        client = self.client(on_lost=lost.append)
        self.user("ann").send(b"one\n")
        self.factory = self.make()
        self.cut()
        self.turn(5)
        self.assertEqual(lost, ["lobby"])
        self.user("ann").send(b"two\n")
        self.turn()
        self.assertEqual(self.heard(client), ["one", "two"])

    def test_a_silent_server_is_left(self) -> None:
        """The client reconnects if the server does not answer pings."""
        self.client()
        pair = self.where.pairs[-1]
        pair.server.transport.full()
        pair.server.dataReceived = lambda data: None
        self.turn(2 * self.factory.heartbeat + 10)
        self.assertEqual(len(self.where.pairs), 2)

    def test_a_name_that_is_taken(self) -> None:
        """If its name is taken, the client takes a similar one for now."""
        self.user("bot")
        client = self.client()
        self.assertEqual(client.state.nick, "bot-2")

    def test_errors(self) -> None:
        """An error fails the message that caused it, and no other."""
        client = self.client()
        for acked, code in ((client.send_private("nobody", "x"), "no-such-nick"),
                            (client.send("lobby", ""), "bad-field")):  # fmt: skip
            self.turn()
            self.assertEqual(self.failureResultOf(acked, ChatError).value.code, code)
        elsewhere = client.send("elsewhere", "x")
        self.assertEqual(self.failureResultOf(elsewhere, ChatError).value.code, "not-in-room")
        waiting = client.send("lobby", "x")
        client.stopService()
        self.assertEqual(self.failureResultOf(waiting, ChatError).value.code, "stopped")
        late = client.send("lobby", "x")
        self.assertEqual(self.failureResultOf(late, ChatError).value.code, "stopped")

    def test_joining_and_leaving(self) -> None:
        """The client can join and leave rooms at any time."""
        client, ann = self.client(), self.user("ann")
        client.join("cellar")
        self.turn()
        self.assertIn("cellar", self.factory.registry.rooms)
        client.leave("cellar")
        self.turn()
        self.assertNotIn("cellar", self.factory.registry.rooms)
        client.request(type="who", room="lobby")
        self.turn()
        self.assertEqual(client._delivery.waiting[-1]["members"], ["ann", "bot"])
        self.assertTrue(ann.connected)


class FollowerTests(ChatCase):
    def test_a_gap_is_noticed(self) -> None:
        """On a gap, the client asks for the missed messages and counts none twice."""
        state = ClientState(nick="bot")
        state.join("r")
        state.connected()
        state.received(WELCOME)
        joined = {"type": "joined", "room": "r", "epoch": "e", "offset": 3, "recovered": None}
        state.received(joined)
        message = {"type": "message", "room": "r", "text": "x", "from": "b"}
        (again,) = state.received(message | {"offset": 5})
        self.assertEqual(again.message["since"], {"epoch": "e", "offset": 3})
        self.assertEqual(state.received(message | {"offset": 6}), [])
        state.received(joined | {"recovered": True, "offset": 6})
        for offset in (4, 5, 6):
            self.assertEqual(len(state.received(message | {"offset": offset})), 1)
        self.assertEqual(state.received(message | {"offset": 6}), [])

    def test_a_loss_that_the_server_tells(self) -> None:
        """A room may go on at an earlier offset, because the server has lost messages."""
        state = ClientState(nick="bot")
        state.join("r")
        state.connected()
        state.received(WELCOME)
        joined = {"type": "joined", "room": "r", "epoch": "e", "offset": 3, "recovered": None}
        self.assertNotIn(GapDetected("r"), state.received(joined))
        told = state.received(joined | {"epoch": "f", "offset": 1, "recovered": False})
        self.assertIn(GapDetected("r"), told)
        message = {"type": "message", "room": "r", "text": "x", "from": "b", "offset": 2}
        self.assertEqual(state.received(message), [Deliver(message)])
        state.connected()
        (join, *_) = state.received(WELCOME)
        self.assertEqual(join.message["since"], {"epoch": "f", "offset": 2})
