"""The terminal client with a chat server in memory, and a screen that a test reads."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.chat.client_peers import ChatClientCase, ToTheChat
from twisted_net.chat import ChatClient
from twisted_net.policy.backoff import Backoff
from twisted_net.terminal.flags import ClientSettings
from twisted_net.terminal.interactive import InteractiveClient, ScreenUser
from twisted_net.terminal.lines import Fragments, plain_text


class ReadScreen:
    """A screen that a test reads.

    :ivar lines: what was shown.
    :ivar rings: how often the bell was rung.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.rings = 0
        self.refreshed = 0
        self._left: Deferred[None] = Deferred()

    def show(self, lines: list[Fragments]) -> None:
        self.lines += map(plain_text, lines)

    def ring(self) -> None:
        self.rings += 1

    def refresh(self) -> None:
        self.refreshed += 1

    def run(self, user: ScreenUser) -> Deferred[None]:
        return self._left

    def leave(self) -> None:
        if not self._left.called:
            self._left.callback(None)


class InteractiveCase(ChatClientCase):
    """Somebody at a terminal, in the room lobby."""

    def open(self, *rooms: str, is_joined: bool = True, **more: Any) -> None:
        """Start the client, and wait until it is in its rooms."""
        self.where: Any = ToTheChat(self)
        settings = ClientSettings(
            where=self.where,
            shown="localhost",
            nick=more.pop("nick", "me"),
            rooms=rooms or ("lobby",),
            user="",
            password_file="",
            history=more.pop("history", 20),
            listen=False,
            timeout=30,
        )

        def make(*arguments: Any, **keywords: Any) -> ChatClient:
            quick = Backoff(first=1, longest=1)
            return ChatClient(*arguments, **keywords, backoff=quick, jitter=lambda: 0.0)

        self.screen = ReadScreen()
        self.user_client = InteractiveClient(self.clock, settings, "", self.screen, make)
        self.ended = Deferred.fromCoroutine(self.user_client.run())
        self.addCleanup(self.screen.leave)
        if is_joined:
            self.turn()

    def shown(self) -> list[str]:
        """Return the lines since the last call, without times and dates."""
        lines, self.screen.lines = self.screen.lines, []
        return [
            line[6:] if line[2:3] == ":" else line
            for line in lines
            if not (line.startswith("--- ") and line[-8:-4].isdigit())
        ]

    def type(self, *lines: str) -> list[str]:
        """Type lines, and return what is shown."""
        self.shown()
        for line in lines:
            self.user_client.typed(line)
            self.turn()
        return self.shown()


class InteractiveTests(InteractiveCase):
    """What somebody does, and sees."""

    def test_entering(self) -> None:
        """The room is joined, and its history shown."""
        ann = self.user("ann")
        ann.send(b"early\n")
        self.turn()
        self.open()
        self.assertEqual(
            self.shown(),
            [
                "* Connecting to localhost...",
                "* Connected. You are me. /help lists commands.",
                "--- #lobby ---",
                "* You are in #lobby now, with 1 other.",
                "--- earlier in #lobby ---",
                "<ann> early",
                "--- now ---",
            ],
        )
        ann.send(b"hi me\n")
        self.turn()
        self.assertEqual((self.shown(), self.screen.rings), (["<ann> hi me"], 1))

    def test_talking(self) -> None:
        """What is typed is sent to the room in front, and shown once it is stored."""
        ann = self.user("ann")
        self.open("lobby", "dev")
        self.shown()
        self.user_client.typed("hello")
        self.assertEqual(self.shown(), [])
        self.assertEqual(len(self.user_client.view.pending), 1)
        self.turn()
        self.assertEqual(self.shown(), ["<me> hello"])
        self.assertEqual(self.type("/me waves", "//who"), ["* me waves", "<me> /who"])
        self.assertIn(b"<me> hello\n* me waves\n<me> /who\n", ann.received)
        self.user_client.step(1)
        before = ann.received
        self.assertEqual(self.type("to dev"), ["<me> to dev"])
        self.assertEqual(ann.received, before)

    def test_typing_before_the_room_is_joined(self) -> None:
        """What is typed at once goes to the first room, and is not lost."""
        self.open("lobby", "dev", is_joined=False)
        self.user_client.typed("early")
        self.turn()
        self.assertEqual(self.shown()[-1], "<me> early")
        self.assertEqual(self.user_client.view.current, "#lobby")

    def test_private_messages(self) -> None:
        """With a text they are sent; without one, what is typed next goes there."""
        ann = self.user("ann")
        self.open()
        self.assertEqual(self.type("/msg ann psst"), ["[to ann] psst"])
        self.assertEqual(self.type("/msg ann", "secret"), ["--- @ann ---", "[to ann] secret"])
        self.assertIn(b"* me tells you: psst\n* me tells you: secret\n", ann.received)
        self.assertEqual(
            self.type("/msg nobody hi"),
            ["! Not sent to @nobody: hi (There is nobody called nobody here.)"],
        )
        self.assertEqual(self.type("/me waves"), ["! That works in rooms only."])
        ann.send(b"/msg me yes\n")
        self.turn()
        self.assertEqual(self.shown(), ["[from ann] yes"])

    def test_rooms(self) -> None:
        """Joining turns to the room, leaving turns back."""
        self.open()
        self.assertEqual(
            self.type("/join #Dev"), ["--- #dev ---", "* You are in #dev now, with 0 others."]
        )
        self.assertEqual(self.type("/join lobby"), ["--- #lobby ---"])
        self.assertEqual(self.type("/leave"), ["* You left #lobby.", "--- #dev ---"])
        self.assertEqual(self.type("/leave dev"), ["* You left #dev."])
        for line in ("/who", "/topic x", "/history"):
            self.assertEqual(self.type(line), ["! You are in no room. /join ROOM joins one."])
        for line in ("hi", "/me hi"):
            self.assertEqual(
                self.type(line), ["! You are in no room. /join ROOM joins one. Not sent: hi"]
            )
        self.assertEqual(self.type("/leave"), ["! You are not in any room."])

    def test_rooms_that_cannot_be_joined(self) -> None:
        """The reason is shown."""
        self.open()
        (line,) = self.type("/join a!")
        self.assertTrue(line.startswith("! A room's name has letters"), line)

    def test_requests(self) -> None:
        """Commands are requests of the JSON form, and their answers are shown."""
        self.user("ann")
        self.open()
        self.assertEqual(self.type("/who"), ["* 2 in #lobby: ann, me"])
        self.assertEqual(self.type("/rooms"), ["* #lobby: 2 people"])
        self.assertEqual(
            self.type("/topic all sorts", "/topic"),
            ["* me changed the topic of #lobby: all sorts", "* The topic of #lobby: all sorts"],
        )
        self.assertEqual(self.type("/topic -"), ["* me changed the topic of #lobby: none"])
        self.assertEqual(self.type("/nick moi"), ["* You are moi now."])
        self.assertEqual(self.type("/ping"), ["* pong"])
        self.assertEqual(self.type("/history"), ["* There is nothing earlier in #lobby."])
        (line,) = self.type("/kick ann")
        self.assertIn("perators", line)

    def test_wrong_input(self) -> None:
        """Is told in one line, and goes nowhere."""
        self.open()
        self.assertEqual(self.type("/nope"), ["! There is no command /nope. /help lists commands."])
        self.assertEqual(self.type("/msg"), ["! Usage: /msg NAME TEXT"])
        (line,) = self.type("/login me secret")
        self.assertNotIn("secret", line)
        self.assertEqual(self.type(""), [])

    def test_ignoring(self) -> None:
        """The messages of a user are hidden until they are wanted again."""
        ann = self.user("ann")
        self.open()
        self.turn(5)
        self.type("/ignore ann")
        ann.send(b"hi\n")
        self.turn()
        self.assertEqual(self.shown(), [])
        self.type("/unignore ann")
        ann.send(b"hi\n")
        self.turn()
        self.assertEqual(self.shown(), ["<ann> hi"])

    def test_help(self) -> None:
        """Lists the commands and the keys, or explains one."""
        self.open()
        self.assertGreater(len(self.type("/help")), 20)
        self.assertEqual(self.type("/help ping"), ["* /ping: check that the server answers"])

    def test_pasting(self) -> None:
        """Each line is a message, and none a command."""
        ann = self.user("ann")
        self.open()
        self.shown()
        self.user_client.pasted("one\r\n\n/quit\nthree")
        self.turn()
        self.assertEqual(self.shown(), ["<me> one", "<me> /quit", "<me> three"])
        self.assertIn(b"<me> one\n<me> /quit\n<me> three\n", ann.received)
        self.type("/leave")
        self.user_client.pasted("one\ntwo")
        self.assertEqual(
            self.shown(), ["! You are in no room. /join ROOM joins one. Not sent: one"]
        )

    def test_leaving(self) -> None:
        """With /quit the program ends well, and the server knows."""
        ann = self.user("ann")
        self.open()
        self.turn(5)
        self.type("/quit")
        self.turn(5)
        self.assertEqual(self.successResultOf(self.ended), 0)
        self.assertEqual(self.user_client.problem, "")
        self.assertIn(b"me left #lobby", ann.received)


class ConnectionTests(InteractiveCase):
    """Connections that end."""

    def test_a_reconnect(self) -> None:
        """What was missed comes, what was typed meanwhile is sent, and a banner says so."""
        ann = self.user("ann")
        self.open()
        ann.send(b"one\n")
        self.turn()
        self.shown()
        self.up = False
        self.cut()
        (line,) = self.shown()
        self.assertRegex(line, r"^! The connection was lost: .*\. Connecting again\.\.\.$")
        ann.send(b"two\nthree\n")
        self.assertEqual(self.type("mine"), [])
        self.turn(3)
        self.assertEqual(self.shown(), [])
        self.up = True
        self.turn(1)
        self.assertEqual(
            self.shown(),
            [
                "* Back in #lobby after 4 s. You missed nothing: 2 messages were fetched.",
                "<ann> two",
                "<ann> three",
                "<me> mine",
            ],
        )

    def test_messages_are_lost(self) -> None:
        """As after the restart of a server without a file. The banner says so."""
        self.user("ann").send(b"one\n")
        self.open()
        self.shown()
        self.factory = self.make()
        self.user("bob").send(b"two\n")
        self.cut()
        self.turn(1)
        self.assertEqual(
            self.shown()[1:],
            [
                "! Back in #lobby after 1 s. Messages were lost here.",
                "--- earlier in #lobby ---",
                "<bob> two",
                "--- now ---",
            ],
        )

    def test_the_first_connection_fails(self) -> None:
        """The program ends, and says why: the address is wrong, or the certificate."""
        self.up = False
        self.open()
        self.turn()
        self.assertEqual(self.successResultOf(self.ended), 1)
        self.assertIn("localhost: ", self.user_client.problem)
        self.assertIn("refused", self.user_client.problem)

    def test_the_server_refuses(self) -> None:
        """For good: the program ends with the server's reason."""
        self.open()
        registry_says_goodbye = self.where.pairs[-1].client
        registry_says_goodbye.dataReceived(
            b'{"type":"goodbye","code":"banned","text":"You are banned.","retry":false}\n'
        )
        self.turn()
        self.assertEqual(self.successResultOf(self.ended), 1)
        self.assertEqual(self.user_client.problem, "localhost: You are banned.")
