"""What the terminal client knows and shows of the chat."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_net.terminal.chat_view import AskHistory, ChatView, PendingMessage, RingBell, Show
from twisted_net.terminal.conversations import MOST_KEPT
from twisted_net.terminal.lines import plain_text
from twisted_net.terminal.server_events import LISTED_NAMES, received
from twisted_net.terminal.status import pending_lines, prompt, toolbar

TIME = "2026-11-26T12:00:00.000Z"
DAY = "--- Thursday, 26 November 2026 ---"


class ViewCase(SynchronousTestCase):
    """A user who is ``me``. Tests play the server."""

    def setUp(self) -> None:
        self.view = ChatView(history=0, zone=UTC)
        self.rings = 0
        self.asked: list[tuple[str, int]] = []
        self.now = 100.0
        self.offsets: dict[str, int] = {}

    def shown(self, outputs: list[Any]) -> list[str]:
        """Return the lines that are shown, and note the other outputs."""
        lines = []
        for output in outputs:
            match output:
                case Show(line):
                    lines.append(plain_text(line))
                case RingBell():
                    self.rings += 1
                case AskHistory(room, before):
                    self.asked.append((room, before))
        return lines

    def receive(self, type: str, **message: Any) -> list[str]:
        return self.shown(received(self.view, {"type": type, **message}, self.now))

    def welcome(self, nick: str = "me") -> list[str]:
        return self.receive("welcome", nick=nick)

    def joined(self, room: str = "lobby", **more: Any) -> list[str]:
        message = {
            "room": room,
            "epoch": "e",
            "offset": 0,
            "members": ["me", "ann"],
            "count": 2,
            "topic": "",
            "recovered": None,
        }
        return self.receive("joined", **(message | more))

    def said(self, text: str, room: str = "lobby", by: str = "ann", **more: Any) -> list[str]:
        self.offsets[room] = self.offsets.get(room, 0) + 1
        message = {"room": room, "offset": self.offsets[room], "from": by, "text": text}
        return self.receive("message", **(message | {"time": TIME} | more))

    def enter(self, *rooms: str) -> None:
        """Connect, and join rooms."""
        self.welcome()
        for room in rooms or ("lobby",):
            self.joined(room)

    def cut(self, seconds: float = 4) -> list[str]:
        """Lose the connection for some seconds."""
        lines = self.shown(self.view.disconnected("lost", self.now))
        self.now += seconds
        return lines

    def bar(self) -> str:
        return plain_text(toolbar(self.view))


class RoomsTests(ViewCase):
    """Rooms, and what is unread in them."""

    def test_entering(self) -> None:
        """The first room comes to the front, with its topic."""
        self.assertEqual(self.welcome(), ["* Connected. You are me. /help lists commands."])
        self.assertEqual(
            self.joined(topic="all sorts"),
            ["--- #lobby ---", "* You are in #lobby now, with 1 other. Topic: all sorts"],
        )
        self.assertEqual(prompt(self.view), "#lobby> ")

    def test_messages_in_front(self) -> None:
        """Are shown at once, after the date of the day."""
        self.enter()
        self.assertEqual(self.said("hi"), [DAY, "12:00 <ann> hi"])
        self.assertEqual(self.said("waves", action=True), ["12:00 * ann waves"])
        self.assertEqual(
            self.said("late", time="2026-11-27T00:00:00.000Z"),
            ["--- Friday, 27 November 2026 ---", "00:00 <ann> late"],
        )

    def test_messages_elsewhere(self) -> None:
        """Are counted in the toolbar, and shown when the user turns there."""
        self.enter("lobby", "dev")
        self.assertEqual(self.said("one", "dev") + self.said("two", "dev"), [])
        self.assertIn("#dev 2", self.bar())
        self.assertEqual(
            self.shown(self.view.turn_to("#dev")),
            [
                "--- #dev, 2 unread ---",
                "* You are in #dev now, with 1 other.",
                DAY,
                "12:00 <ann> one",
                "12:00 <ann> two",
            ],
        )
        self.assertNotIn("#dev 2", self.bar())
        self.assertEqual(self.shown(self.view.turn_to("#dev")), ["--- #dev ---"])

    def test_mentions(self) -> None:
        """Are marked in the toolbar, and ring; so they do in front."""
        self.enter("lobby", "dev")
        self.said("hi", "dev")
        self.assertEqual(self.rings, 0)
        self.said("hi ME!", "dev")
        self.assertIn("#dev 2!", self.bar())
        self.said("me?")
        self.assertEqual(self.rings, 2)
        self.shown(self.view.turn_to("#dev"))
        self.assertNotIn("!", self.bar())

    def test_a_flood_elsewhere(self) -> None:
        """The oldest lines are left out, and that is said; all are counted."""
        self.enter("lobby", "dev")
        for number in range(MOST_KEPT + 10):
            self.said(str(number), "dev")
        self.assertIn(f"#dev {MOST_KEPT + 10}", self.bar())
        lines = self.shown(self.view.turn_to("#dev"))
        self.assertEqual(
            lines[1], "--- 12 earlier lines are left out; try /history ---"
        )  # with the notice of the join, and the date
        self.assertEqual((len(lines), lines[2][-3:]), (MOST_KEPT + 2, " 10"))

    def test_stepping(self) -> None:
        """Goes around all conversations, in both directions."""
        self.enter("a", "b", "c")
        for by, title in ((1, "#b"), (1, "#c"), (1, "#a"), (-1, "#c")):
            self.view.step(by)
            self.assertEqual(self.view.current, title)
        alone = ChatView()
        self.assertEqual(alone.step(1), [])

    def test_joining_another(self) -> None:
        """The user turns to it as soon as it is joined, and to an open one at once."""
        self.enter()
        self.assertEqual(self.shown(self.view.want("dev")), [])
        self.assertEqual(self.view.current, "#lobby")
        self.assertEqual(self.joined("dev")[0], "--- #dev ---")
        self.assertEqual(self.view.current, "#dev")
        self.assertEqual(self.shown(self.view.want("lobby")), ["--- #lobby ---"])

    def test_leaving(self) -> None:
        """The user turns to another conversation, if there is one."""
        self.enter("lobby", "dev")
        self.assertEqual(
            self.shown(self.view.close("#lobby"))[:2], ["* You left #lobby.", "--- #dev ---"]
        )
        self.assertEqual(self.receive("left", room="lobby"), [])  # known already
        self.receive("left", room="dev")
        self.assertEqual((self.view.current, prompt(self.view)), ("", "> "))

    def test_people_who_are_announced_after_they_were_listed(self) -> None:
        """They are counted once."""
        self.enter("lobby")
        here = {"room": "lobby"}
        self.receive("who", members=["me", "ann", "bob"], count=3, **here)
        self.receive("presence", event="join", nick="bob", **here)
        self.receive("presence", event="leave", nick="eve", **here)
        self.assertIn("#lobby (3)", self.bar())
        self.receive("presence", event="leave", nick="bob", **here)
        self.assertIn("#lobby (2)", self.bar())

    def test_people_who_are_not_listed(self) -> None:
        """Not all members of a large room are listed, but all are counted."""
        self.enter("lobby")
        here = {"room": "lobby"}
        self.receive("who", members=["me", "ann"], count=1200, **here)
        self.receive("presence", event="leave", nick="eve", **here)
        self.assertIn("#lobby (1199)", self.bar())
        self.receive("presence", event="join", nick="ann", **here)
        self.assertIn("#lobby (1199)", self.bar())

    def test_people_come_and_go(self) -> None:
        """In front this is shown; everywhere the members are kept."""
        self.enter("lobby", "dev")
        here = {"room": "lobby"}
        self.assertEqual(
            self.receive("presence", event="join", nick="bob", **here), ["* bob joined #lobby."]
        )
        self.assertEqual(
            self.receive("presence", event="nick", nick="bob", to="rob", **here),
            ["* bob is now rob."],
        )
        self.assertEqual(self.view.conversations["#lobby"].members, {"me", "ann", "rob"})
        self.assertIn("#lobby (3)", self.bar())
        self.assertEqual(
            self.receive("presence", event="leave", nick="rob", **here), ["* rob left #lobby."]
        )
        self.assertEqual(
            self.receive("presence", event="join", count=7, **here), ["* 7 people joined #lobby."]
        )
        self.assertIn("#lobby (9)", self.bar())
        self.assertEqual(self.receive("presence", room="dev", event="join", nick="bob"), [])
        self.assertIn("bob", self.view.conversations["#dev"].members)
        self.assertNotIn("#dev 1", self.bar())

    def test_ignoring(self) -> None:
        """The messages of a user are hidden, in rooms and private, under any case."""
        self.enter()
        self.shown(self.view.ignore("ANN"))
        self.assertEqual(self.said("hi me"), [])
        self.assertEqual(self.receive("private", text="hi", time=TIME, **{"from": "ann"}), [])
        self.assertEqual((self.rings, list(self.view.conversations)), (0, ["#lobby"]))
        self.assertEqual(self.shown(self.view.ignore("")), ["* You ignore: ANN"])
        self.shown(self.view.unignore("ann"))
        self.assertEqual(self.said("hi")[-1], "12:00 <ann> hi")
        self.assertEqual(self.shown(self.view.unignore("ann")), ["! You do not ignore ann."])


class PrivateTests(ViewCase):
    """Private messages."""

    def test_they_are_shown_at_once(self) -> None:
        """Wherever the user is, and they ring."""
        self.enter()
        said = self.receive("private", text="psst", time=TIME, **{"from": "ann"})
        self.assertEqual((said, self.rings), (["12:00 [from ann] psst"], 1))
        self.assertIn("@ann", self.bar())

    def test_a_person_is_one_conversation(self) -> None:
        """Whatever the case of the name."""
        self.enter()
        self.receive("private", text="psst", time=TIME, **{"from": "Ann"})
        self.view.turn_to("@ann")
        self.assertEqual(self.view.current, "@Ann")

    def test_a_new_name(self) -> None:
        """The conversation follows the person, so the next with the old name gets nothing."""
        self.enter()
        self.view.turn_to("@ann")
        self.receive("presence", room="lobby", event="nick", nick="ann", to="anna")
        self.assertEqual((self.view.current, prompt(self.view)), ("@anna", "@anna> "))
        self.assertEqual(list(self.view.conversations), ["#lobby", "@anna"])

    def test_own_messages(self) -> None:
        """Are shown when they have been passed on."""
        self.enter()
        number = self.view.sending(PendingMessage("@ann", "psst"))
        self.assertEqual(self.shown(self.view.acked(number, 0, TIME)), ["12:00 [to ann] psst"])


class OwnMessagesTests(ViewCase):
    """Messages of the user's own."""

    def test_on_their_way_and_stored(self) -> None:
        """A message is above the prompt until it is acked, and then in its place in the room."""
        self.enter()
        number = self.view.sending(PendingMessage("#lobby", "hi"))
        self.assertEqual([plain_text(each) for each in pending_lines(self.view)], ["... #lobby hi"])
        self.assertEqual(self.said("first")[-1], "12:00 <ann> first")
        self.assertEqual(self.shown(self.view.acked(number, 2, TIME)), ["12:00 <me> hi"])
        self.assertEqual(pending_lines(self.view), [])
        action = self.view.sending(PendingMessage("#lobby", "waves", action=True))
        self.assertEqual(self.shown(self.view.acked(action, 3, TIME)), ["12:00 * me waves"])

    def test_a_refused_one(self) -> None:
        """Comes back with its text and the reason."""
        self.enter()
        number = self.view.sending(PendingMessage("#lobby", "hi"))
        self.assertEqual(
            self.shown(self.view.failed(number, "You are muted.")),
            ["! Not sent to #lobby: hi (You are muted.)"],
        )
        self.assertEqual(pending_lines(self.view), [])

    def test_many_on_their_way(self) -> None:
        """The last three are shown, and the number of the others."""
        for number in range(5):
            self.view.sending(PendingMessage("#lobby", str(number)))
        self.assertEqual(
            [plain_text(each) for each in pending_lines(self.view)],
            ["... 2 more", "... #lobby 2", "... #lobby 3", "... #lobby 4"],
        )

    def test_they_do_not_count_as_missed(self) -> None:
        """A message that was acked before the connection was lost was not fetched."""
        self.enter()
        number = self.view.sending(PendingMessage("#lobby", "hi"))
        self.view.acked(number, 1, TIME)
        self.cut()
        self.welcome()
        self.assertEqual(
            self.joined(recovered=True, offset=1),
            ["* Back in #lobby after 4 s. You missed nothing."],
        )


class ReconnectTests(ViewCase):
    """What a reconnect brings."""

    def test_nothing_is_missed(self) -> None:
        """The banner says so, and how many messages follow."""
        self.enter()
        self.said("one")
        self.assertEqual(self.cut(), ["! The connection was lost: lost. Connecting again..."])
        self.assertIn("connecting: lost", self.bar())
        self.assertEqual(self.welcome(), [])
        self.assertIn("connected", self.bar())
        self.assertEqual(
            self.joined(recovered=True, offset=4),
            ["* Back in #lobby after 4 s. You missed nothing: 3 messages were fetched."],
        )
        self.assertEqual([self.said(each)[-1][-1] for each in "abc"], ["a", "b", "c"])
        self.cut()
        self.welcome()
        self.assertEqual(
            self.joined(recovered=True, offset=5),
            ["* Back in #lobby after 4 s. You missed nothing: 1 message was fetched."],
        )

    def test_messages_are_lost(self) -> None:
        """The banner says so, once; never that nothing was missed."""
        for is_told in (True, False):
            self.setUp()
            self.enter()
            self.said("one")
            self.cut(75)
            self.welcome()
            if is_told:
                self.assertEqual(self.shown(self.view.lost("lobby")), [])
            self.assertEqual(
                self.joined(recovered=is_told, epoch="e2", offset=9),
                ["! Back in #lobby after 75 s. Messages were lost here."],
            )

    def test_what_can_be_had_of_lost_messages(self) -> None:
        """The last ones come from the history, without those that were shown."""
        self.view.history = 5
        self.enter()
        self.said("one")
        self.cut()
        self.welcome()
        self.view.lost("lobby")
        self.joined(recovered=False, offset=9)
        self.assertEqual(self.asked, [("lobby", 10)])
        page = [
            {"from": "ann", "text": str(offset), "time": TIME, "offset": offset}
            for offset in (1, 8, 9)
        ]
        self.assertEqual(
            self.receive("history", room="lobby", epoch="e", messages=page),
            ["--- earlier in #lobby ---", "12:00 <ann> 8", "12:00 <ann> 9", "--- now ---"],
        )

    def test_lost_while_connected(self) -> None:
        """A gap that cannot be filled is told where it is."""
        self.enter()
        self.assertEqual(
            self.shown(self.view.lost("lobby")), ["! Messages of #lobby were lost here."]
        )
        self.assertEqual(self.shown(self.view.lost("elsewhere")), [])
        self.assertEqual(self.joined(recovered=True, offset=0), [])

    def test_each_room_has_its_banner(self) -> None:
        """That of a room elsewhere waits there, and does not count as unread."""
        self.enter("lobby", "dev")
        self.cut(7 * 60)
        self.welcome()
        self.assertEqual(
            self.joined("lobby", recovered=True),
            ["* Back in #lobby after 7 min. You missed nothing."],
        )
        self.assertEqual(self.joined("dev", recovered=True), [])
        self.assertNotIn("#dev 1", self.bar())
        lines = self.shown(self.view.turn_to("#dev"))
        self.assertEqual(lines[-1], "* Back in #dev after 7 min. You missed nothing.")

    def test_in_no_room(self) -> None:
        """The banner comes with the welcome."""
        self.welcome()
        self.cut(2 * 3600 + 60)
        self.assertEqual(self.welcome(), ["* Back after 2 h 1 min."])

    def test_under_another_name(self) -> None:
        """If somebody has taken the name meanwhile, that is said."""
        self.enter()
        self.cut()
        self.assertEqual(self.welcome("me-2"), ["* You are me-2 now."])

    def test_attempts(self) -> None:
        """Why an attempt has failed is in the toolbar; a line for each would bury the room."""
        self.enter()
        self.cut()
        self.assertEqual(self.shown(self.view.disconnected("refused", self.now)), [])
        self.assertIn("connecting: refused", self.bar())

    def test_time_away_counts_from_the_loss(self) -> None:
        """Not from the last attempt."""
        self.enter()
        self.cut(30)
        self.view.disconnected("refused", self.now)
        self.now += 30
        self.welcome()
        self.assertIn("after 60 s", self.joined(recovered=True)[0])


class HistoryTests(ViewCase):
    """Earlier messages."""

    def setUp(self) -> None:
        super().setUp()
        self.view.history = 20
        self.welcome()

    def page(self, *offsets: int, **more: Any) -> list[str]:
        messages = [
            {"from": "ann", "text": str(each), "time": TIME, "offset": each} for each in offsets
        ]
        return self.receive(
            "history", **({"room": "lobby", "epoch": "e", "messages": messages} | more)
        )

    def test_on_joining(self) -> None:
        """It is asked for, and what is said meanwhile waits for it."""
        self.joined(offset=7)
        self.assertEqual(self.asked, [("lobby", 8)])
        self.assertEqual(self.said("new", offset=8), [])
        self.assertEqual(
            self.page(6, 7),
            ["--- earlier in #lobby ---", DAY, "12:00 <ann> 6", "12:00 <ann> 7", "--- now ---",
             "12:00 <ann> new"],
        )  # fmt: skip
        self.assertEqual(self.said("more", offset=9), ["12:00 <ann> more"])

    def test_in_a_new_room(self) -> None:
        """Nothing is asked for."""
        self.joined(offset=0)
        self.assertEqual(self.asked, [])
        self.assertEqual(self.said("new")[-1], "12:00 <ann> new")

    def test_it_does_not_come(self) -> None:
        """What has waited is shown all the same."""
        self.joined(offset=7)
        self.said("new", offset=8)
        self.assertEqual(self.shown(self.view.history_failed("lobby"))[-1], "12:00 <ann> new")
        self.assertEqual(self.view.history_failed("elsewhere"), [])

    def test_elsewhere(self) -> None:
        """Earlier messages do not count as unread, those that have waited do."""
        self.joined(offset=0)
        self.joined("dev", offset=7)
        self.said("new", "dev", offset=8)
        self.assertEqual(self.page(6, 7, room="dev"), [])
        self.assertIn("#dev 1", self.bar())

    def test_on_request(self) -> None:
        """``/history`` shows all that comes, or says that there is nothing."""
        self.joined(offset=0)
        self.assertEqual(self.page(1)[-1], "--- end of the history ---")
        self.assertEqual(self.page(), ["* There is nothing earlier in #lobby."])


class AnswersTests(ViewCase):
    """Answers to commands, and the other messages of the server."""

    def test_who(self) -> None:
        """The members, and how many there are."""
        self.enter()
        members = [f"n{number}" for number in range(LISTED_NAMES + 1)]
        (line,) = self.receive("who", room="lobby", members=members[:2], count=2)
        self.assertEqual(line, "* 2 in #lobby: n0, n1")
        (line,) = self.receive("who", room="lobby", members=members, count=60)
        self.assertTrue(line.endswith(", n49 and 10 more"), line)
        self.assertIn("#lobby (60)", self.bar())

    def test_rooms(self) -> None:
        """Each with its people and its topic. They can be completed then."""
        rooms = [
            {"room": "dev", "count": 1, "topic": "code"},
            {"room": "a", "count": 2, "topic": ""},
        ]
        self.assertEqual(
            self.receive("rooms", rooms=rooms, count=5),
            ["* #dev: 1 person, code", "* #a: 2 people", "* and 3 more"],
        )
        self.assertEqual(self.view.rooms, {"dev", "a"})
        self.assertEqual(self.receive("rooms", rooms=[], count=0), ["* There are no rooms."])

    def test_bans(self) -> None:
        """Who is banned, until when, by whom and why."""
        ban = {"nick": "eve", "until": TIME, "from": "ann", "text": "spam"}
        self.assertEqual(
            self.receive("bans", bans=[ban, ban | {"text": ""}], count=3),
            [
                "* eve is banned until 26 November 2026 12:00, by ann: spam",
                "* eve is banned until 26 November 2026 12:00, by ann",
                "* and 1 more",
            ],
        )
        self.assertEqual(self.receive("bans", bans=[], count=0), ["* Nobody is banned."])

    def test_topics(self) -> None:
        """What it is, and who has changed it."""
        self.enter()
        self.assertEqual(
            self.receive("topic", room="lobby", topic=""), ["* The topic of #lobby: none"]
        )
        self.assertEqual(
            self.receive("topic", room="lobby", topic="x", **{"from": "ann"}),
            ["* ann changed the topic of #lobby: x"],
        )

    def test_names(self) -> None:
        """The user's new name is known at once."""
        self.enter()
        self.assertEqual(self.receive("nick", nick="you"), ["* You are you now."])
        self.said("hi you")
        self.assertEqual(self.rings, 1)
        self.assertIn("you", self.view.conversations["#lobby"].members)

    def test_notices_and_errors(self) -> None:
        """Are shown as in the text form."""
        self.assertEqual(self.receive("notice", text="a"), ["* a"])
        self.assertEqual(self.receive("error", code="b", text="c"), ["! c"])

    def test_what_a_newer_server_sends(self) -> None:
        """Is passed over."""
        self.assertEqual(self.receive("reaction", emoji="x"), [])


class ToolbarTests(ViewCase):
    """The toolbar."""

    def test_what_it_says(self) -> None:
        """The user, the room with its people, the state, the other conversations."""
        self.assertEqual(self.bar(), " - | connecting ")
        self.enter("lobby", "dev", "ops")
        self.view.open("@ann")
        self.said("hi", "ops")
        self.assertEqual(self.bar(), " me | #lobby (2) | connected | #dev #ops 1 @ann ")
        self.view.turn_to("@ann")
        self.assertEqual(self.bar(), " me | @ann | connected | #lobby #dev #ops 1 ")

    def test_it_is_one_line(self) -> None:
        """Whatever the server sends."""
        self.welcome("m\ne\x1b[2J")
        self.joined("a\nb")
        self.view.disconnected("no\nroute", 0)
        self.assertTrue(self.bar().isprintable())
        self.assertTrue(prompt(self.view).isprintable())
