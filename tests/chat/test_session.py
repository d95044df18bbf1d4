"""Tests of :mod:`twisted_net.chat.session` and of the pure modules that it uses."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_net.chat import names, session
from twisted_net.chat.actions import Action, Announce, Append, End, Enter, Exit, SendEvent
from twisted_net.chat.codecs import text_commands
from twisted_net.chat.codecs.text_codec import TextCodec
from twisted_net.chat.limits import LISTED, LONGEST_NAME, LONGEST_TOPIC, ChatLimits
from twisted_net.chat.messages import (
    Hello,
    Join,
    PrivateMessage,
    RequestError,
    SendMessage,
    Welcome,
)
from twisted_net.chat.registry import Registry, User
from twisted_net.chat.session import (
    SESSION_TRANSITIONS,
    Session,
    SessionSettings,
    SessionState,
    Step,
)
from twisted_net.policy.close_reasons import KICKED, LOGIN, QUIT
from twisted_net.wire.text import printable

NOW = 1_700_000_000.0

# Zero-width space, joiners, soft hyphen, fillers, variation selectors, braille without dots.
INVISIBLE = (
    "\u200b", "\u200d \u2060", "\u00ad", "\u3164", "\uffa0\u115f", "\ufe0f", "\U000e0101",
    "\u2800", "\u034f",
)  # fmt: skip


def welcomed(actions: list[Action]) -> Welcome:
    """Return the welcome that is among these actions."""
    events = [action.event for action in actions if isinstance(action, SendEvent)]
    return next(event for event in events if isinstance(event, Welcome))


class SessionCase(SynchronousTestCase):
    """Two guests in the lobby; the first is called ``ann``."""

    rules = SessionSettings(ChatLimits(rooms=3, all_rooms=5, ignored=2))

    def setUp(self) -> None:
        self.registry = Registry(5, ["boss"])
        self.tokens = (f"{number:032x}" for number in itertools.count(1))
        self.ann, self.bob = self.enter(), self.enter()
        self.said(self.ann, "/nick ann")

    def session(self, **more: Any) -> Session:
        """Return a session that has not begun."""
        user = User(None, more.pop("host", ""))
        rules = more.pop("rules", self.rules)
        self.registry.set_origin(user, f"origin-{len(self.registry.by_origin)}-{id(user)}")
        return Session(user, self.registry, rules, self.tokens.__next__, more.pop("secret", True))

    def enter(self, **more: Any) -> Session:
        """Return the session of a text user who has sent an empty line."""
        entered = self.session(**more)
        entered.begin(NOW)
        entered.first_line(False, NOW)
        return entered

    def program(self, *requests: Any, **more: Any) -> Session:
        """Return the session of a program that has sent these requests."""
        entered = self.session(**more)
        entered.begin(NOW)
        entered.first_line(True, NOW)
        for request in requests:
            entered.receive(request, "", NOW)
        return entered

    def acts(self, who: Session, line: str, now: float = NOW) -> list[Action]:
        """Return the actions for a line."""
        try:
            request = TextCodec().parse(line.encode())[0]
        except RequestError as refused:
            return [SendEvent(who.user, session.ErrorReply(refused.code, refused.text))]
        return who.receive(request, "", now) if request is not None else []

    def said(self, who: Session, line: str, now: float = NOW) -> list[str]:
        """Return the texts that the user is sent in answer to a line."""
        return [
            TextCodec().encode(action.event).decode().rstrip("\n")
            for action in self.acts(who, line, now)
            if isinstance(action, SendEvent) and action.user is who.user
        ]

    def assertAnswer(self, line: str, *expected: str) -> None:
        """Assert that the answers to ``ann``'s line have exactly these texts."""
        self.assertEqual(self.said(self.ann, line), list(expected))


class NameTests(SessionCase):
    def test_guests_are_numbered(self) -> None:
        """Guests are numbered, and no number is used again."""
        eve = self.enter()
        self.assertEqual(eve.user.name, "guest-3")
        eve.end()
        self.assertEqual(self.enter().user.name, "guest-4")
        self.assertEqual(len(self.registry), 3)

    def test_a_guest_never_gets_a_name_that_is_taken(self) -> None:
        """A guest never gets a name that is taken, in any case."""
        self.said(self.ann, "/nick GUEST-3")
        self.assertEqual(self.enter().user.name, "guest-4")

    def test_a_new_name(self) -> None:
        """A user is found under the new name, and the old name is free."""
        self.assertAnswer("/nick bob", "* You are bob now.")
        self.assertIs(self.registry.find("BOB"), self.ann.user)
        self.assertEqual(self.said(self.bob, "/nick ann"), ["* You are ann now."])

    def test_a_name_that_is_taken(self) -> None:
        """Names that differ only in case are the same name."""
        for name in ("guest-2", "GUEST-2", "Guest-2"):
            self.assertAnswer(f"/nick {name}", f"! The name {name} is taken.")

    def test_a_name_that_looks_like_another(self) -> None:
        """A name that looks like another one is taken, also with letters of other scripts."""
        self.said(self.bob, "/nick paco")
        for name in ("pac0", "\u0440\u0430\u0441\u043e"):
            self.assertAnswer(f"/nick {name}", f"! The name {name} looks like paco.")
        self.assertAnswer("/nick \uff50\uff41\uff43\uff4f", "! The name paco is taken.")
        self.assertIsNone(self.registry.find("pac0"))

    def test_a_name_of_two_scripts(self) -> None:
        """A name may not mix scripts, except those that are commonly written together."""
        for name in ("\u0430nna", "ann\u03b1", "\u4e2d\u0430"):
            self.assertAnswer(f"/nick {name}", "! A name has letters of one script only.")
        for name in ("\u6771\u4eacTokyo", "\u3042\u30ab\u4e2d", "\ud55c\u4e2da"):
            self.assertAnswer(f"/nick {name}", f"* You are {name} now.")

    def test_a_name_changes_its_case(self) -> None:
        """A user may change the case of the own name."""
        self.assertAnswer("/nick Ann", "* You are Ann now.")
        self.assertEqual(len(self.registry), 2)
        self.ann.end()
        self.assertEqual(len(self.registry), 1)

    def test_letters_that_fold_to_several(self) -> None:
        """``ß`` and ``ss`` are the same name, which is free again when its user has left."""
        self.said(self.ann, "/nick Strauß")
        self.assertEqual(self.said(self.bob, "/nick STRAUSS"), ["! The name STRAUSS is taken."])
        self.ann.end()
        self.assertEqual(self.said(self.bob, "/nick STRAUSS"), ["* You are STRAUSS now."])

    def test_the_same_name(self) -> None:
        """Taking the same name again is not announced."""
        self.assertAnswer("/nick ann", "* You are ann already.")
        self.assertEqual(len(self.acts(self.ann, "/nick ann")), 1)

    def test_names_that_are_none(self) -> None:
        """Names that could be mistaken for other parts of a line are refused."""
        for name in ("-ann", ".", "_a", "a b", "<ann>", "a:", "#lobby", "*", "!x", "a/b", "a,b"):
            text = "! A name has letters and digits, and then also . _ and -"
            self.assertAnswer(f"/nick {name}", text)

    def test_names_of_every_script(self) -> None:
        """Names may have letters of any script."""
        for name in ("Åsa", "Юля", "李雷", "a.b-c_d", "7", "x" * LONGEST_NAME):
            self.assertEqual(self.said(self.bob, f"/nick {name}"), [f"* You are {name} now."])

    def test_names_that_nobody_sees(self) -> None:
        """Invisible names are refused; a Hangul filler is a letter to Unicode."""
        for name in ("\u3164", "\u115f", "\uffa0", "\u1160a", "a\u3164", "a\u200db", "a\ufe0f"):
            (answer,) = self.said(self.ann, f"/nick {name}")
            self.assertTrue(answer.startswith("! A name has "), ascii(name))

    def test_a_long_name(self) -> None:
        """A long name is refused, and the error does not repeat it."""
        answer = f"! A name has at most {LONGEST_NAME} characters."
        for name in ("x" * (LONGEST_NAME + 1), "x" * 8000, "\ufdfa" * 9):
            self.assertAnswer(f"/nick {name}", answer)

    def test_ending_twice(self) -> None:
        """Ending a session twice has no effect."""
        self.ann.end()
        self.assertEqual(self.ann.end(), [])
        self.assertEqual(len(self.registry), 1)

    @settings(max_examples=300, database=None)
    @given(st.text(max_size=30))
    def test_any_name(self, text: str) -> None:
        """Any text is refused as a name, or it is harmless and its user is found by it."""
        try:
            name = names.nick(text)
        except RequestError:
            return
        self.assertEqual((names.nick(name), printable(name)), (name, name))
        self.assertEqual(
            names.key(name), names.key(name.upper()) if name.isascii() else names.key(name)
        )
        self.assertLessEqual(len(name), LONGEST_NAME)


class LineTests(SessionCase):
    def append(self, line: str) -> SendMessage | None:
        """Return the message that a line sends to the lobby."""
        (action,) = self.acts(self.ann, line)
        assert isinstance(action, Append)
        self.assertEqual((action.room.name, action.message.sender), ("lobby", "ann"))
        return action.message

    def test_a_plain_line(self) -> None:
        """A plain line is sent unchanged, with its spaces."""
        for line in ("hello", "  hello  ", "a /quit", " /quit", "<bob> hi", "* bob left", "! x"):
            self.assertEqual(self.append(line).text, line)

    def test_an_empty_line(self) -> None:
        """An empty line is ignored."""
        for line in ("", " ", "   ", "\u3000", *INVISIBLE):
            self.assertEqual(self.acts(self.ann, line), [], ascii(line))
            if line:
                self.assertAnswer(f"/me {line}", "! Usage: /me TEXT")
                self.assertAnswer(f"/msg guest-2 {line}", "! Usage: /msg NAME TEXT")
                self.assertAnswer(f"/topic {line}", "* The topic of #lobby: none")

    def test_two_slashes_say_one(self) -> None:
        """A line that begins with two slashes is a message that begins with one."""
        for line, text in (("//quit", "/quit"), ("///", "//"), ("//", "/")):
            self.assertEqual(self.append(line).text, text)

    def test_an_unknown_command(self) -> None:
        """An unknown command causes an error, and is not sent."""
        for word in ("/foo", "/", "/nickx", "/_help"):
            self.assertAnswer(
                f"{word} secret", f"! There is no command {word}. /help lists commands."
            )

    def test_commands_in_capitals(self) -> None:
        """Commands ignore case, and spaces around their arguments."""
        self.assertAnswer("/PiNg  ", "* pong")
        message = self.append("/ME   waves ")
        self.assertEqual((message.text, message.action), ("waves", True))

    def test_what_needs_words(self) -> None:
        """A command without its arguments is answered with its usage."""
        for line, usage in (
            ("/me", "/me TEXT"),
            ("/me   ", "/me TEXT"),
            ("/nick", "/nick NAME"),
            ("/msg", "/msg NAME TEXT"),
            ("/msg guest-2", "/msg NAME TEXT"),
            ("/msg guest-2   ", "/msg NAME TEXT"),
            ("/join", "/join ROOM"),
            ("/login ann", "/login NAME PASSWORD"),
            ("/history x", "/history [COUNT]"),
            ("/mute ann x", "/mute NAME [MINUTES]"),
        ):
            self.assertAnswer(line, f"! Usage: {usage}")

    def test_a_private_line(self) -> None:
        """A private message reaches one user, in any case of the name, and is confirmed."""
        told, _ = self.acts(self.ann, "/msg GUEST-2  a  b ")
        self.assertEqual(told, SendEvent(self.bob.user, PrivateMessage("ann", "a  b", NOW)))
        self.assertAnswer("/msg GUEST-2  a  b ", "* You told guest-2: a  b")

    def test_a_private_line_to_nobody(self) -> None:
        """A private message to an unknown name causes an error."""
        self.assertAnswer("/msg eve hi", "! There is nobody called eve here.")
        self.bob.end()
        self.assertAnswer("/msg guest-2 hi", "! There is nobody called guest-2 here.")

    def test_who(self) -> None:
        """``/who`` lists the users sorted by name, with their number."""
        self.said(self.bob, "/nick Bob")
        self.said(self.ann, "/nick zoe")
        self.assertAnswer("/who", "* 2 in #lobby: Bob, zoe")
        self.assertAnswer("/who #cellar", "* 0 in #cellar: ")

    def test_who_in_a_crowd(self) -> None:
        """``/who`` in a large room lists only as many users as a terminal can show."""
        for _ in range(2000):
            self.enter()
        (line,) = self.said(self.ann, "/who")
        self.assertTrue(line.startswith("* 2002 in #lobby: ann, guest-10, "))
        self.assertTrue(line.endswith(f" and {2002 - LISTED} more"))

    def test_quit(self) -> None:
        """``/quit`` closes the connection and ignores its arguments."""
        self.assertEqual(self.acts(self.ann, "/quit now"), [End(self.ann.user, QUIT)])

    def test_help(self) -> None:
        """Every command has a line of help with its usage, in alphabetical order."""
        (lines,) = self.said(self.ann, "/help")
        words = [line.split()[1].rstrip(":") for line in lines.splitlines()]
        self.assertEqual(words, sorted(words))
        self.assertNotIn("/kick", words)
        self.ann.user.operator = True
        (lines,) = self.said(self.ann, "/help")
        self.assertEqual(len(lines.splitlines()), len(text_commands.COMMANDS))

    def test_help_for_each(self) -> None:
        """``/help`` explains a command, named with or without the slash."""
        for word, command in text_commands.COMMANDS.items():
            for asked in (word, word[1:], word.upper()):
                (lines,) = self.said(self.ann, f"/help {asked}")
                self.assertTrue(lines.startswith(f"* {command.usage}: {command.help}"))
        self.assertAnswer("/help foo", "! There is no command foo. /help lists commands.")

    @settings(max_examples=200, database=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([*(f"{word} " for word in text_commands.COMMANDS), "//", ""]),
                st.sampled_from(["x", "ann x", "guest-2 9", "a" * 8192, "ß\u0130", "#b", "-", "0"])
                | st.text(max_size=12),
            ),
            max_size=12,
        )
    )
    def test_any_lines(self, lines: list[tuple[str, str]]) -> None:
        """No line raises an error, and printable lines are answered with printable lines."""
        self.setUp()
        self.ann.user.operator = True
        for start, rest in lines:
            for action in self.acts(self.ann, printable(start + rest)):
                if isinstance(action, SendEvent | Announce):
                    text = TextCodec(True).encode(action.event).decode()
                    for line in text.split("\n"):
                        self.assertEqual(printable(line), line)
        self.assertEqual(len(self.registry), 2)
        self.ann.end()
        self.bob.end()
        self.assertEqual(
            (len(self.registry), self.registry.rooms, self.registry.ignorers_of), (0, {}, {})
        )


class RoomTests(SessionCase):
    def test_joining(self) -> None:
        """Joining creates the room, with its name in lower case, and makes it the current room."""
        (action,) = self.acts(self.ann, "/join #Cellar")
        assert isinstance(action, Enter)
        self.assertEqual((action.room.name, self.ann.user.here), ("cellar", "cellar"))
        (said,) = self.acts(self.ann, "hello")
        self.assertIs(said.room, action.room)

    def test_joining_again(self) -> None:
        """Joining a room again makes it the current room."""
        self.said(self.ann, "/join cellar")
        self.assertAnswer("/join lobby", "* You talk in #lobby now.")
        self.assertEqual(self.ann.user.here, "lobby")

    def test_leaving(self) -> None:
        """After leaving a room, the current room is the one joined before, if any."""
        self.said(self.ann, "/join cellar")
        self.assertAnswer("/leave", "* You left #cellar. You talk in #lobby now.")
        self.assertNotIn("cellar", self.registry.rooms)
        self.assertAnswer("/leave #lobby", "* You left #lobby. You are in no room now.")
        self.assertAnswer("hello", "! You are in no room. /join ROOM goes to one.")
        self.assertAnswer("/leave #lobby", "! You are not in #lobby.")

    def test_too_many_rooms(self) -> None:
        """The number of rooms is limited, per user and in total."""
        for room in "abc":
            answer = self.said(self.ann, f"/join {room}")
        self.assertEqual(answer, ["! You may be in 3 rooms."])
        for room in "cd":
            self.said(self.bob, f"/join {room}")
        eve = self.enter()
        self.assertEqual(self.said(eve, "/join e"), ["! There are too many rooms already."])
        self.said(eve, "/join a")

    def test_the_list(self) -> None:
        """Rooms are listed by their number of users, the largest first."""
        self.said(self.ann, "/join cellar")
        self.said(self.ann, "/topic wine & cheese")
        self.assertAnswer("/rooms", "* #lobby: 2 people\n* #cellar: 1 person, wine & cheese")

    def test_topics(self) -> None:
        """A topic can be shown, set and removed, and has a maximum length."""
        self.assertAnswer("/topic", "* The topic of #lobby: none")
        (told,) = self.acts(self.ann, "/topic wine")
        assert isinstance(told, Announce)
        self.assertEqual(
            TextCodec().encode(told.event), b"* ann changed the topic of #lobby: wine\n"
        )
        self.assertEqual(self.said(self.bob, "/topic"), ["* The topic of #lobby: wine"])
        self.said(self.bob, "/topic -")
        self.assertAnswer("/topic", "* The topic of #lobby: none")
        answer = f"! A topic has at most {LONGEST_TOPIC} characters."
        self.assertAnswer("/topic " + "x" * (LONGEST_TOPIC + 1), answer)

    def test_ignoring(self) -> None:
        """Ignoring follows a user to a new name, is not revealed, and can be ended."""
        self.assertAnswer("/ignore", "* You ignore nobody.")
        self.assertAnswer("/ignore guest-2", "* You hear nothing of guest-2 now.")
        self.assertEqual(len(self.acts(self.bob, "/msg ann hi")), 1)
        self.said(self.bob, "/nick bob")
        self.assertEqual(list(self.registry.ignorers(self.bob.user)), [self.ann.user])
        self.assertEqual(self.said(self.bob, "/msg ann hi"), ["* You told ann: hi"])
        self.assertAnswer("/unignore guest-2", "* You hear guest-2 again.")
        self.assertAnswer("/unignore guest-2", "* You did not ignore them.")
        for name in "xyz":
            self.said(self.enter(), f"/nick {name}")
        for name in "xyx":
            self.assertAnswer(f"/ignore {name}", f"* You hear nothing of {name} now.")
        self.assertAnswer("/ignore z", "! You ignore 2 people already.")
        self.assertAnswer("/ignore eve", "! There is nobody called eve here.")

    def hears(self, who: Session) -> bool:
        """Return whether ``ann`` receives a private message."""
        return any(each.user is self.ann.user for each in self.acts(who, "/msg ann hi"))

    def test_ignoring_does_not_stay_with_a_name(self) -> None:
        """Who has a name next is heard, and the ignored person is not, under any name."""
        self.said(self.bob, "/nick troll")
        self.said(self.ann, "/ignore troll")
        self.said(self.bob, "/nick carol")
        self.said(self.bob, "/nick troll-2")
        carol, other = self.enter(), self.enter()
        self.said(carol, "/nick carol")
        self.said(other, "/nick troll")
        self.assertEqual([self.hears(each) for each in (carol, other)], [True, True])
        self.assertFalse(self.hears(self.bob))
        self.assertAnswer("/unignore carol", "* You did not ignore them.")
        self.assertAnswer("/unignore troll-2", "* You hear troll-2 again.")
        self.assertTrue(self.hears(self.bob))
        self.assertEqual(self.registry.ignorers_of, {})

    def test_an_ignored_guest_comes_back(self) -> None:
        """A guest is known by the name and the address; an IPv6 address counts by its /64."""
        for name, host, again, other in (
            ("troll", "192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("grump", "2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ):
            troll = self.enter(host=host)
            self.said(troll, f"/nick {name}")
            self.said(self.ann, f"/ignore {name}")
            self.said(troll, "/nick carol")
            self.assertFalse(self.hears(troll))
            troll.end()
            for nick, where, heard in (
                (name, again, False),
                (name, other, True),
                ("carol", again, True),  # a neighbour
            ):
                comes = self.enter(host=where)
                self.said(comes, f"/nick {nick}")
                self.assertEqual(self.hears(comes), heard)
                comes.end()

    def test_an_ignored_guest_logs_in(self) -> None:
        """An account is no way out for somebody who is ignored."""
        self.said(self.ann, f"/ignore {self.bob.user.name}")
        self.bob.login_succeeded("troll", NOW)
        self.assertFalse(self.hears(self.bob))

    def test_two_of_one_name_and_address(self) -> None:
        """What was hidden twice is heard when both are."""
        first, second = self.enter(host="192.0.2.7"), self.enter(host="192.0.2.7")
        self.said(first, "/nick troll")
        self.said(self.ann, "/ignore troll")
        self.said(first, "/nick troll-2")
        self.said(second, "/nick troll")
        self.said(self.ann, "/ignore troll")
        self.assertAnswer("/ignore", "* You ignore troll, troll.")
        self.assertAnswer("/unignore troll-2", "* You hear troll-2 again.")
        self.assertEqual([self.hears(each) for each in (first, second)], [True, False])
        self.assertAnswer("/unignore troll", "* You hear troll again.")
        self.assertEqual([self.hears(each) for each in (first, second)], [True, True])

    def test_an_ignored_account_comes_back(self) -> None:
        """A user with an account is known by it, wherever the user comes from."""
        troll = self.enter(host="192.0.2.7")
        troll.login_succeeded("troll", NOW)
        self.said(self.ann, "/ignore troll")
        troll.end()
        again, neighbour = self.enter(host="192.0.2.8"), self.enter(host="192.0.2.7")
        again.login_succeeded("TROLL", NOW)
        self.assertEqual((self.hears(again), self.hears(neighbour)), (False, True))

    def test_an_ignored_session_comes_back(self) -> None:
        """A program without an address of its own is known by its session."""
        token = "a" * 32
        self.program(Hello("troll", "lobby", session=token))
        self.said(self.ann, "/ignore troll")
        again = self.program(Hello("", "lobby", session=token))
        self.assertFalse(self.hears(again))

    def test_nothing_stays_of_ignoring(self) -> None:
        """Ignoring ends with the user who ignores, so nothing piles up."""
        for _ in range(3):
            troll, eve = self.enter(host="192.0.2.7"), self.enter()
            self.said(eve, f"/ignore {troll.user.name}")
            self.said(eve, f"/ignore {self.bob.user.name}")
            troll.end()
            self.registry.forget_origin(troll.user)
            self.assertIn(eve.user, self.registry.ignorers_of_origin(troll.user.origin))
            eve.end()
        self.assertEqual((self.registry.ignorers_of, self.registry._departed), ({}, {}))


class StateTests(SessionCase):
    def test_every_step_is_in_the_table(self) -> None:
        """Every step leads to a state, and an ended session stays ended."""
        for (state, step), after in SESSION_TRANSITIONS.items():
            self.assertIn(state, SessionState)
            self.assertIsInstance(after, SessionState)
            if step is Step.END:
                self.assertIs(after, SessionState.ENDED)
        self.assertEqual(set(SESSION_TRANSITIONS.values()), set(SessionState) - {SessionState.NEW})

    def test_a_program_leaves_the_guest_behind(self) -> None:
        """A program leaves the lobby, which it joined as a guest, for the room of its hello."""
        program = self.session()
        program.begin(NOW)
        (left,) = program.first_line(True, NOW)
        assert isinstance(left, Exit)
        self.assertIs(program.state, SessionState.JSON_OUT)
        *_, joined = program.receive(Hello("prog", "cellar"), "", NOW)
        self.assertEqual((program.user.name, joined.room.name), ("prog", "cellar"))
        self.assertIs(program.state, SessionState.JSON)

    def test_hello_comes_first_and_once(self) -> None:
        """A program says hello once, before any other request."""
        program = self.program()
        for request, code in (
            (Join("a"), "hello-first"),
            (SendMessage("x", "lobby"), "hello-first"),
        ):
            (problem,) = program.receive(request, "i", NOW)
            self.assertEqual((problem.event.code, problem.event.id), (code, "i"))
        program.receive(Hello(), "", NOW)
        (problem,) = program.receive(Hello(), "", NOW)
        self.assertEqual(problem.event.code, "again")

    def test_a_hello_that_is_refused_changes_nothing(self) -> None:
        """A hello that is refused has no effect, so the program can send another one."""
        program = self.program()
        for hello in (Hello("ann"), Hello("x y"), Hello("x", "no room"), Hello(session="x")):
            program.receive(hello, "", NOW)
            self.assertEqual(program.state, SessionState.JSON_OUT)
        program.receive(Hello("eve"), "", NOW)
        self.assertIs(self.registry.find("eve"), program.user)

    def test_a_session_goes_on_elsewhere(self) -> None:
        """A session can continue on a new connection with its name; the old one is closed."""
        old = self.program()
        token = welcomed(old.receive(Hello("eve", "lobby"), "", NOW)).session
        origin = old.user.origin
        new = self.program()
        exit, end, *_ = new.receive(Hello("eve", "", session=token), "", NOW)
        self.assertEqual((exit.user, end.user), (old.user, old.user))
        self.assertEqual((new.user.name, new.user.origin), ("eve", origin))
        self.assertIs(self.registry.by_origin[origin], new.user)
        old.end()
        self.assertIs(self.registry.find("eve"), new.user)
        self.assertNotIn(token, origin)

    def test_a_session_of_which_nobody_knows(self) -> None:
        """An unknown session is accepted, as after a restart."""
        token = "a" * 32
        welcome = welcomed(self.program().receive(Hello("eve", session=token), "", NOW))
        self.assertEqual((welcome.nick, welcome.session), ("eve", token))

    def test_a_session_of_a_user_who_has_left(self) -> None:
        """Nobody is replaced by who continues a session that has ended, whose origin is known."""
        token = "a" * 32
        old = self.program(Hello("eve", "lobby", session=token))
        old.end()
        self.assertIs(self.registry.by_origin[old.user.origin], old.user)
        new = self.program()
        actions = new.receive(Hello("eve", session=token), "", NOW)
        self.assertNotIn(End, map(type, actions))
        self.assertEqual(new.user.origin, old.user.origin)

    def test_the_secret_is_not_kept(self) -> None:
        """Neither the user nor what an upgrade moves tells how to take the session over."""
        program = self.program(Hello("eve", session="a" * 32))
        state = self.registry.export_user(program.user, NOW)
        self.assertNotIn("a" * 32, repr([getattr(program.user, at) for at in User.__slots__]))
        self.assertNotIn("a" * 32, repr(state))

    def test_the_state_of_a_process_that_kept_the_secret(self) -> None:
        """A session goes on after an upgrade from a version whose users had their secrets."""
        program = self.program(Hello("eve", session="a" * 32))
        state = self.registry.export_user(program.user, NOW) | {"session": "a" * 32}
        moved, user = Registry(5, []), User(None, "")
        moved.restore_user(user, state, NOW)
        self.assertIs(moved.user_of_session(program.user.origin), user)
        self.assertIs(moved.user_of_session("another"), None)


class AccountTests(SessionCase):
    """Tests of a chat with accounts."""

    rules = SessionSettings(ChatLimits(), accounts=True)

    def login(self, who: Session, name: str) -> list[Action]:
        return who.login_succeeded(name, NOW)

    def test_a_password_is_looked_at(self) -> None:
        """A login only returns an action to check the password, which no repr contains."""
        (verify,) = self.acts(self.ann, "/login boss secret")
        self.assertEqual((verify.account, verify.password), ("boss", "secret"))
        self.assertNotIn("secret", f"{verify!r} {Hello(password='secret')!r}")

    def test_the_name_is_that_of_the_account(self) -> None:
        """A user who logs in takes the account's name. A guest with that name gets another one."""
        self.said(self.bob, "/nick carol")
        told = self.login(self.ann, "carol")
        self.assertEqual((self.ann.user.name, self.bob.user.name), ("carol", "guest-3"))
        self.assertIn(self.bob.user, [each.user for each in told if isinstance(each, SendEvent)])
        self.assertAnswer("/nick eve", "! Your name is that of your account.")

    def test_an_account_twice(self) -> None:
        """A second user of an account gets a similar name."""
        self.login(self.ann, "boss")
        self.login(self.bob, "boss")
        self.assertEqual(self.bob.user.name, "boss-2")

    def test_failures(self) -> None:
        """Too many failed logins close the connection."""
        for _ in range(session.MOST_FAILURES - 1):
            (problem,) = self.ann.login_failed()
            self.assertEqual(problem.event.code, "login-failed")
        self.assertEqual(self.ann.login_failed()[1], End(self.ann.user, LOGIN))

    def test_not_where_others_can_listen(self) -> None:
        """A login is refused on unencrypted connections, without accounts, and after a login."""
        eve = self.enter(secret=False)
        self.assertEqual(self.said(eve, "/login a b"), ["! Passwords are taken over TLS only."])
        eve = self.enter(rules=SessionSettings(ChatLimits()))
        self.assertEqual(self.said(eve, "/login a b"), ["! There are no accounts here."])
        self.login(self.ann, "boss")
        self.assertAnswer("/login a b", "! You are logged in already.")

    def test_nobody_without_an_account(self) -> None:
        """If accounts are required, text users log in first, and programs in their hello."""
        rules = SessionSettings(ChatLimits(), anonymous=False, accounts=True)
        eve = self.enter(rules=rules)
        self.assertEqual(eve.state, SessionState.TEXT_OUT)
        for line in ("hello", "/who", "/join a"):
            answer = ["! Log in first: /login NAME PASSWORD"]
            self.assertEqual(self.said(eve, line), answer)
        self.assertEqual(self.said(eve, "/ping"), ["* pong"])
        self.login(eve, "eve")
        self.assertEqual((eve.state, eve.user.name), (SessionState.TEXT, "eve"))
        program = self.program(rules=rules)
        (problem,) = program.receive(Hello("x"), "", NOW)
        self.assertEqual(problem.event.code, "login-first")
        program.receive(Hello("x", "lobby", "prog", "pw"), "", NOW)
        self.login(program, "prog")
        self.assertEqual((program.state, program.user.name), (SessionState.JSON, "prog"))
        self.assertEqual([room.name for room in program.user.rooms], ["lobby"])

    def test_a_certificate_is_an_account(self) -> None:
        """The subject of a certificate is the account, from the start."""
        boss = self.session()
        boss.begin(NOW, "boss")
        self.assertEqual((boss.user.name, boss.user.operator), ("boss", True))


class OrderTests(SessionCase):
    """Tests of the operators' commands."""

    def setUp(self) -> None:
        super().setUp()
        self.boss = self.session()
        self.boss.begin(NOW, "boss")
        self.boss.first_line(False, NOW)

    def test_others_may_not(self) -> None:
        """Other users may not use the operators' commands."""
        for line in ("/kick ann", "/ban ann", "/mute ann"):
            self.assertAnswer(line, "! Only operators may do that.")

    def test_kick(self) -> None:
        """A kick is announced with its text, and closes the connection."""
        told, _, end, done = self.acts(self.boss, "/kick ANN too loud")
        self.assertEqual(TextCodec().encode(told.event), b"* ann was kicked by boss: too loud\n")
        self.assertEqual((end.user, end.reason), (self.ann.user, KICKED))
        self.assertEqual(TextCodec().encode(done.event), b"")
        self.assertEqual(self.said(self.boss, "/kick eve"), ["! There is nobody called eve here."])

    def test_ban(self) -> None:
        """A ban covers the name and the address, until it expires or is lifted."""
        eve = self.enter(host="192.0.2.7")
        self.said(eve, "/nick eve")
        self.assertIsInstance(self.acts(self.boss, "/ban eve 10")[-2], End)
        eve.end()
        self.assertAnswer("/nick EVE", "! You are banned for 10 minutes more.")
        again = self.session(host="192.0.2.7")
        self.assertIsInstance(again.begin(NOW + 599)[-1], End)
        self.assertIsInstance(self.session(host="192.0.2.7").begin(NOW + 601)[-1], Enter)
        self.said(self.boss, "/ban eve 10")
        self.assertEqual(self.said(self.boss, "/ban eve 0"), ["* eve may come in again."])
        self.assertIsInstance(self.session(host="192.0.2.7").begin(NOW)[-1], Enter)

    def test_mute(self) -> None:
        """A muted user cannot send messages or set topics, until the mute expires or is lifted."""
        self.said(self.boss, "/mute ann 1")
        for line in ("hello", "/me waves", "/msg boss hi", "/topic x"):
            self.assertAnswer(line, "! You may speak again in 60 seconds.")
        self.assertIsInstance(self.acts(self.ann, "hello", NOW + 61)[0], Append)
        self.assertEqual(self.said(self.boss, "/mute ann 0"), ["* ann may speak again."])
        self.assertIsInstance(self.acts(self.ann, "hello")[0], Append)

    def ends(self, line: str) -> list[User]:
        """Return whose connections an operator's line ends."""
        return [each.user for each in self.acts(self.boss, line) if isinstance(each, End)]

    def test_a_ban_ends_all_connections_of_an_account(self) -> None:
        """A banned account loses each connection, wherever it comes from; others stay."""
        accounts = {"192.0.2.7": "eve", "192.0.2.8": "EVE", "192.0.2.9": "carol"}
        first, second, _ = (self.enter(host=host) for host in accounts)
        for entered, account in zip((first, second, _), accounts.values(), strict=True):
            entered.login_succeeded(account, NOW)
        self.assertEqual(self.ends("/ban eve"), [first.user, second.user])

    def test_a_ban_ends_all_connections_of_an_address(self) -> None:
        """A banned guest's address loses each guest, but no account and no operator."""
        for hosts in (["192.0.2.7"] * 4, [f"2001:db8::{number}" for number in range(4)]):
            eve, other, carol, boss = (self.enter(host=host) for host in hosts)
            carol.login_succeeded("carol", NOW)
            boss.login_succeeded("boss", NOW)
            line = f"/ban {eve.user.name}"
            self.assertEqual(self.ends(line), [eve.user, other.user])
            carol.end()

    def test_a_ban_of_an_ipv6_address(self) -> None:
        """A ban covers the /64, as the limits per address do, and no more."""
        eve = self.enter(host="2001:db8::1")
        self.said(self.boss, f"/ban {eve.user.name} 10")
        eve.end()
        self.assertIsInstance(self.session(host="2001:db8::2:1").begin(NOW)[-1], End)
        self.assertIsInstance(self.session(host="2001:db8:0:1::1").begin(NOW)[-1], Enter)

    def test_a_ban_of_an_address_before_a_login(self) -> None:
        """Who was connected, but not logged in, when the address was banned cannot log in."""
        rules = SessionSettings(ChatLimits(), anonymous=False, accounts=True)
        waiting, eve = self.enter(host="192.0.2.7", rules=rules), self.enter(host="192.0.2.7")
        self.said(self.boss, f"/ban {eve.user.name} 10")
        (problem,) = waiting.login_succeeded("eve", NOW)
        self.assertEqual(problem.event.code, "banned")
        self.assertEqual(waiting.state, SessionState.TEXT_OUT)

    def test_a_new_name_does_not_end_a_mute(self) -> None:
        """A mute stays with the user, and not with the name; it is lifted by either name."""
        answer = "! You may speak again in 60 seconds."
        for name in ("ann", "zoe"):
            self.said(self.ann, "/nick ann")
            self.said(self.boss, "/mute ann 1")
            self.said(self.ann, "/nick zoe")
            self.assertAnswer("hello", answer)
            self.assertIsInstance(self.acts(self.bob, "hello")[0], Append)
            if name == "ann":
                self.said(self.bob, "/nick ann")
                self.assertIsInstance(self.acts(self.bob, "hello")[0], Append)
                self.said(self.bob, "/nick bob")
            self.assertEqual(
                self.said(self.boss, f"/mute {name} 0"), [f"* {name} may speak again."]
            )
            self.assertIsInstance(self.acts(self.ann, "hello")[0], Append)

    def test_a_mute_of_an_ipv6_address(self) -> None:
        """A muted guest who comes back from the same /64 is muted."""
        eve = self.enter(host="2001:db8::1")
        self.said(self.boss, f"/mute {eve.user.name} 1")
        eve.end()
        answer = ["! You may speak again in 60 seconds."]
        self.assertEqual(self.said(self.enter(host="2001:db8::2"), "hello"), answer)
        self.assertIsInstance(self.acts(self.enter(host="2001:db8:0:1::1"), "hello")[0], Append)
