"""What people do in the random programs, each with what the model says about it."""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from tests.chat.chat_world import (
    ALL,
    LONGEST_PAUSE,
    ROOMS,
    TEXT_USERS,
    Sent,
    World,
    agree,
)
from tests.chat.model import Heard
from twisted_net.testing import advance

_TEXT_USER = st.sampled_from(TEXT_USERS)
_WHO = st.sampled_from(ALL)
_NAMES = [f"%{number}" for number in range(5)]
_NAME = st.sampled_from(_NAMES)
"""One of the names of the program: see :data:`NAMES`."""

ANYBODY = st.sampled_from([*(f"@{who}" for who in ALL)] * 3 + [*_NAMES * 2, "BOT", "bot-2"])
"""One of the names, or the person whose present name it is: ``@tom``."""
ROOM = st.sampled_from(list(ROOMS))


class Actions(RuleBasedStateMachine):
    """A program: each step is an action of somebody. Operators' are in :mod:`operator_actions`."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Any] = []
        self.pause = 1.0  # the seconds after an action
        globalLogPublisher.addObserver(self._observe)
        self.world = World()

    def _observe(self, event: Any) -> None:
        if "log_failure" in event:
            self.failures.append(event["log_failure"])

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.finish()
        finally:
            self.close()

    def close(self) -> None:
        """Stop watching the log."""
        globalLogPublisher.removeObserver(self._observe)

    def finish(self) -> None:
        """Let everybody see what the program has led to."""
        client = self.world.client
        self.everybody_speaks("lobby", 1)
        if not client.up:
            self.client_up_or_down()
        if client.dismissed:
            self.client_starts_again()
        self.time_passes()
        self.everybody_speaks("tea", 2)
        client.client.stopService()
        for sent in client.pending:
            agree(sent.results, ["stopped"], "what waits at the end")

    def done(self, heard: Heard | None = None, seconds: float | None = None) -> None:
        pause = self.pause if seconds is None else seconds
        self.world.settle(defaultdict(list) if heard is None else heard, pause)
        agree([str(each) for each in self.failures], [], "what was logged")

    def ask(self, who: str, line: str, error: str, heard: Heard, **message: Any) -> None:
        """Let a text user or the program do something, and compare its answer."""
        world = self.world
        if who == "prog":
            assert world.program is not None
            world.program.send(id=world.new_text(), **message)
        else:
            world.text[who].send(line)
        self.done(heard)
        if who == "prog":
            assert world.program is not None
            codes = [each["code"] for each in world.program.of("error")]
            agree(codes, [error] * bool(error), f"the answer to {message}")
        elif world.person(who).online:
            agree(bool(world.text[who].errors), bool(error), f"the answer to {line}")

    # Talking.

    @rule(who=_WHO, room=ROOM)
    def say(self, who: str, room: str) -> None:
        world, model = self.world, self.world.model
        person, text, name = world.person(who), world.new_text(), ROOMS[room]
        heard: Heard = defaultdict(list)
        if who == "bot":
            self.client_send(name, text, world.client.client.send(room, text), heard)
        elif person.online:
            where = person.here if person.kind == "text" else name
            error = model.say(person, where, text, heard)
            offset = len(model.logs[name])  # the client may say something after the answer
            self.ask(who, text, error, heard, type="message", room=room, text=text)
            if who == "prog" and not error:
                assert world.program is not None
                (ack,) = world.program.of("ack")
                agree(ack["offset"], offset, "the offset of an ack")

    @rule(who=_WHO, name=ANYBODY)
    def tell(self, who: str, name: str) -> None:
        world = self.world
        name = world.name_of(name)
        person, text = world.person(who), world.new_text()
        heard: Heard = defaultdict(list)
        if who == "bot":
            self.client_send(f"@{name}", text, world.client.client.send_private(name, text), heard)
        elif person.online:
            error = world.model.tell(person, name, text, heard)
            self.ask(who, f"/msg {name} {text}", error, heard, type="private", to=name, text=text)

    @rule(room=ROOM, shift=st.integers(1, len(ALL) - 1))
    def everybody_speaks(self, room: str, shift: int) -> None:
        """Everybody says something in a room, and tells somebody something."""
        self.pause = 0.0
        for place, who in enumerate(ALL):
            self.say(who, room)
            self.tell(who, f"@{ALL[(place + shift) % len(ALL)]}")
        self.pause = 1.0
        self.done()

    def client_send(self, where: str, text: str, call: Deferred[int], heard: Heard) -> None:
        world, client = self.world, self.world.client
        sent = Sent(world.clock.seconds(), where, text, call)
        if client.dismissed:
            self.done()
            world.client_result(sent, "kicked")
        elif where[0] != "@" and where not in world.wanted:
            self.done()
            world.client_result(sent, "not-in-room")
        elif world.person("bot").online:
            expected = world.client_says(sent, heard)
            self.done(heard)
            world.client_result(sent, expected)
        else:
            client.pending.append(sent)
            self.done()

    # Names.

    @rule(who=st.sampled_from(["tom", "tim", "prog"]), name=_NAME)
    def nick(self, who: str, name: str) -> None:
        name = self.world.name_of(name)
        person = self.world.person(who)
        if person.online:
            error = self.world.model.nick(person, name)
            self.ask(who, f"/nick {name}", error, defaultdict(list), type="nick", nick=name)

    @rule(name=_NAME)
    def client_nick(self, name: str) -> None:
        world = self.world
        name = world.name_of(name)
        person = world.person("bot")
        call = world.client.client.request(type="nick", nick=name)
        sent = Sent(world.clock.seconds(), "", name, call)
        if not person.online:
            expected: str = "kicked" if world.client.dismissed else "not-connected"
            agree(sent.results, [expected], "a client that is away")
            return
        advance(world.clock, 0)  # it asks by itself, too, so the model cannot count
        if world.rated and sent.results == ["rate-limited"]:
            self.done()
            return
        error = world.model.nick(person, name)
        if not error:
            world.wish = name
        self.done()
        found = sent.results[0]
        agree(found if error else found["nick"], error or name, "the client's new name")

    # Rooms.

    @rule(who=_WHO, room=ROOM)
    def join(self, who: str, room: str) -> None:
        world = self.world
        person, name = world.person(who), ROOMS[room]
        if who == "bot":
            world.client.client.join(room)
            if name not in world.wanted:
                world.wanted.append(name)
                person.seen.pop(name, None)
            if person.online:
                world.model.see(person, name)
                world.model.enter(person, name)
            self.done()
        elif who == "prog" and person.online:
            world.program_joins(name, recovers=name in person.rooms)
            self.done()
        elif person.online:
            error = world.model.join(person, name)
            self.ask(who, f"/join {room}", error, defaultdict(list))

    @rule(who=st.sampled_from([*TEXT_USERS, "prog"]), room=ROOM)
    def topic(self, who: str, room: str) -> None:
        world = self.world
        person, text = world.person(who), world.new_text()
        if person.online:
            where = person.here if person.kind == "text" else ROOMS[room]
            error = world.model.topic(person, where, text)
            self.ask(who, f"/topic {text}", error, defaultdict(list),
                     type="topic", room=room, topic=text)  # fmt: skip

    @rule(who=_WHO, room=ROOM)
    def leave(self, who: str, room: str) -> None:
        world = self.world
        person, name = world.person(who), ROOMS[room]
        if who == "bot":
            if name in world.wanted:
                world.client.client.leave(room)
                world.wanted.remove(name)
                person.seen.pop(name, None)
                if person.online:
                    world.model.leave(person, name)
                for sent in world.client.pending:
                    agree(sent.results, ["left"] * (sent.where == name), "what waits for a room")
                world.client.pending = [sent for sent in world.client.pending if sent.where != name]
                self.done()
        elif person.online:
            error = world.model.leave(person, name)
            self.ask(who, f"/leave {room}", error, defaultdict(list), type="leave", room=room)

    @rule(room=st.sampled_from(sorted(set(ROOMS.values()))))
    def look(self, room: str) -> None:
        world = self.world
        if world.person("prog").online:
            assert world.program is not None
            members = world.model.members(room)  # the client may come back after the answer
            self.ask("prog", "", "", defaultdict(list), type="who", room=room)
            (answer,) = world.program.of("who")
            agree(set(answer["members"]), members, f"the members of {room}")

    # Ignoring.

    @rule(who=_TEXT_USER, name=ANYBODY)
    def ignore(self, who: str, name: str) -> None:
        name = self.world.name_of(name)
        person, model = self.world.person(who), self.world.model
        if person.online and model.called(name) is not person:
            error = model.ignore(person, name)
            self.ask(who, f"/ignore {name}", error, defaultdict(list))

    @rule(who=_TEXT_USER, name=ANYBODY)
    def unignore(self, who: str, name: str) -> None:
        name = self.world.name_of(name)
        person = self.world.person(who)
        if person.online:
            self.world.model.unignore(person, name)
            self.ask(who, f"/unignore {name}", "", defaultdict(list))

    # Coming and going.

    @rule(who=_TEXT_USER)
    def text_comes_or_goes(self, who: str) -> None:
        world = self.world
        person = world.person(who)
        if person.online:
            world.text[who].peer.reset()
            world.model.go(person)
        else:
            world.text_comes(who)
        self.done()

    @rule(nick=_NAME)
    def program_comes(self, nick: str) -> None:
        """The program connects; its earlier connection may still be there."""
        self.world.program_comes(self.world.name_of(nick))
        self.done()

    @rule()
    def program_goes(self) -> None:
        world = self.world
        if world.person("prog").online:
            assert world.program is not None
            world.program.peer.reset()
            world.model.go(world.person("prog"))
            self.done()

    @rule()
    def client_is_cut(self) -> None:
        """The client loses its connection, and can connect at once."""
        if self.world.person("bot").online:
            self.world.client.cut()
            self.world.model.go(self.world.person("bot"))
            self.done()

    @rule(room=ROOM, name=ANYBODY)
    def acks_are_lost(self, room: str, name: str) -> None:
        """The client sends something and is cut before the answer: it does not know what came."""
        world, model = self.world, self.world.model
        person, client, name = world.person("bot"), world.client, world.name_of(name)
        if not person.online or ROOMS[room] not in world.wanted:
            return
        client.pairs[-1].client.transport.pauseProducing()
        heard: Heard = defaultdict(list)
        for where in (f"@{name}", ROOMS[room]):
            text = world.new_text()
            call = (
                client.client.send_private(name, text)
                if where[0] == "@"
                else client.client.send(room, text)
            )
            sent = Sent(world.clock.seconds(), where, text, call)
            result = world.client_says(sent, heard)
            sent.done = result if isinstance(result, int) else None
            client.pending.append(sent)
        client.pairs[-1].pump()
        client.cut()
        model.go(person)
        heard["bot"].clear()
        self.done(heard)

    @rule()
    def client_up_or_down(self) -> None:
        world, client = self.world, self.world.client
        client.up = not client.up
        if not client.up and world.person("bot").online:
            client.cut()
            world.model.go(world.person("bot"))
        self.done()

    @precondition(lambda self: self.world.client.dismissed)
    @rule()
    def client_starts_again(self) -> None:
        self.world.client.dismissed = False
        self.world.client.client.startService()
        self.done()

    @rule()
    def time_passes(self) -> None:
        """Bans and mutes end, calls expire, and the client gets its name."""
        world = self.world
        self.wait(61.0)
        person = world.person("bot")
        if person.online and person.name != world.wish:
            self.wait(122.0)
            kept = world.model.is_taken(world.wish, person) or world.model.is_banned(
                name=world.wish
            )
            agree(kept or person.name == world.wish, True, f"{world.wish} is free")

    def wait(self, seconds: float) -> None:
        """Let time pass, in pieces: the model must know in which order things have happened."""
        back = LONGEST_PAUSE + 1
        now = self.world.now()
        ends = self.world.model.ends()
        times = {now + back, now + seconds, *ends, *(end + back for end in ends)}
        for end in sorted(end for end in times if now < end <= now + seconds):
            self.done(seconds=max(0.0, end - self.world.now()))
