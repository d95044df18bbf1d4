"""What operators, accounts and the server itself do in the random programs."""

from __future__ import annotations

import re
from collections import defaultdict

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.chat.actions import ANYBODY, ROOM, Actions
from tests.chat.chat_world import ALL, NAMES, TEXT_USERS, World, agree
from tests.chat.model import Person
from twisted_net.chat.codecs.codec import format_time
from twisted_net.testing import advance

_GUEST = ANYBODY.filter(lambda name: name != "@boss")
_MINUTES = st.sampled_from([0, 1, 2])
_RANGE = st.sampled_from([
    *("198.51.100.1", "198.51.100.0/31", "192.0.2.2", "192.0.2.0/24", "::ffff:192.0.2.2"),
    *("2001:db8::7", "2001:db8::/64", "2001:db8::/48", "2001:db8:1::/48", "203.0.113.0/24"),
    *("198.51.100.0/24", "198.51.100.1/24", "127.0.0.1"),
])  # fmt: skip
"""The last three may not be banned: the operator's own, no range, and this machine."""

_BANNED = re.compile(r"\* (\S+), until (\S+ \S+) UTC, by boss")


def _is_there(machine: Actions) -> bool:
    boss = machine.world.person("boss")
    return boss.online and boss.is_operator


class OperatorActions(Actions):
    @initialize(names=st.sampled_from(NAMES), rated=st.sampled_from([False] * 4 + [True]))
    def begin(self, names: tuple[str, ...], rated: bool) -> None:
        """In some programs the server counts how often people do something."""
        if rated or names != self.world.names:
            self.world = World(names, rated)

    @precondition(_is_there)
    @rule(name=ANYBODY, minutes=_MINUTES)
    def mute(self, name: str, minutes: int) -> None:
        name = self.world.name_of(name)
        error = self.world.model.mute(name, minutes)
        self.ask("boss", f"/mute {name} {minutes}", error, defaultdict(list))

    @precondition(_is_there)
    @rule(name=_GUEST, minutes=_MINUTES)
    def ban(self, name: str, minutes: int) -> None:
        name = self.world.name_of(name)
        self.thrown_out(self.world.model.ban(name, minutes))
        line = f"/ban {name} {minutes}" if minutes else f"/unban {name}"
        self.ask("boss", line, "", defaultdict(list))

    @precondition(_is_there)
    @rule(text=_RANGE, minutes=_MINUTES)
    def ban_range(self, text: str, minutes: int) -> None:
        error, out = self.world.model.ban_range(text, minutes)
        self.thrown_out(out)
        line = f"/ban {text} {minutes}" if minutes else f"/unban {text}"
        self.ask("boss", line, error, defaultdict(list))

    @precondition(_is_there)
    @rule(who=st.sampled_from(ALL).filter(lambda who: who != "boss"))
    def unban_address(self, who: str) -> None:
        """The address of somebody is not banned any more, by no name, unless its range is."""
        self.ban_range(self.world.person(who).address, 0)

    @precondition(_is_there)
    @rule(
        who=st.sampled_from(["tom", "tim", "prog"]),
        first=st.integers(0, 4),
        second=st.integers(0, 4),
    )
    def come_back_under_a_ban(self, who: str, first: int, second: int) -> None:
        """Somebody has a name that is banned, comes from another address, and wants a name."""
        self.nick(who, f"%{first}")
        self.ban(f"%{first}", 2)
        self.ban_range(self.world.person(who).address, 0)
        if who == "prog":
            self.program_comes(f"%{second}")
        elif not self.world.person(who).online:
            self.text_comes_or_goes(who)
            self.nick(who, f"%{second}")

    @precondition(_is_there)
    @rule()
    def list_bans(self) -> None:
        world = self.world
        world.text["boss"].send("/bans")
        world.text["boss"].heard()
        found = [line.groups() for each in world.text["boss"].lines
                 if (line := _BANNED.fullmatch(each))]  # fmt: skip
        expected = [
            (each.target, format_time(each.until)[:16].replace("T", " "))
            for each in reversed(world.model.bans.all)
            if each.until > world.model.now
        ]
        agree(found, expected, "the list of bans")

    @precondition(_is_there)
    @rule(name=_GUEST)
    def kick(self, name: str) -> None:
        name = self.world.name_of(name)
        found = self.world.model.called(name)
        if found is not None:
            self.thrown_out(self.world.model.throw_out([found]))
        error = "" if found is not None else "no-such-nick"
        self.ask("boss", f"/kick {name}", error, defaultdict(list))

    def thrown_out(self, people: list[Person]) -> None:
        if any(person.who == "bot" for person in people):
            self.world.client.dismissed = True

    @rule(who=st.sampled_from(["tom", "tim"]))
    def log_in(self, who: str) -> None:
        """Somebody logs in to the account of zoe. Others who are called so get other names."""
        world = self.world
        person = world.person(who)
        if person.online:
            error, renamed = world.model.log_in(person, "zoe")
            world.text[who].send("/login zoe secret")
            advance(world.clock, 0)
            for other in renamed:
                world.learn_new_name(other)
            world.text[who].heard()
            agree(bool(world.text[who].errors), bool(error), f"{who} logs in: {error}")
            self.done()

    @rule()
    def server_restarts(self) -> None:
        """The server ends and starts again, and everybody but the client comes back at once."""
        world, model = self.world, self.world.model
        nick = world.person("prog").name
        for who in (*TEXT_USERS, "prog"):
            if world.person(who).online:
                world.user(who).peer.reset()
        if world.person("bot").online:
            world.client.cut()
        model.restart()
        world.chat.stop_store()
        world.chat = world.start_chat()
        for sent in world.client.pending:
            if sent.where.startswith("@"):  # the server has forgotten that it has delivered this
                sent.done = None
        for who in TEXT_USERS:
            world.text_comes(who)
        world.program_comes(nick)
        self.done()

    @precondition(lambda self: self.world.rated)
    @rule(
        who=st.sampled_from([*TEXT_USERS, "prog"]),
        what=st.sampled_from(["nick", "topic", "room"]),
        count=st.integers(1, 35),
        room=ROOM,
    )
    def hurry(self, who: str, what: str, count: int, room: str) -> None:
        """Somebody does something again and again. New rooms count for the address."""
        self.pause = 0.0
        for number in range(count):
            if what == "room" and number == count // 2 and who in TEXT_USERS:
                self.text_comes_or_goes(who)
            if what == "nick" and who != "boss":
                self.nick(who, f"{who}-{number}")
            elif what == "topic":
                self.topic(who, room)
            elif what == "room":
                self.join(who, room)
                self.leave(who, room)
        self.pause = 1.0
        self.done()
