"""What somebody asks about the chat: who is there, which rooms, what was said, what can be done."""

from __future__ import annotations

from twisted_net.chat import names
from twisted_net.chat.actions import Action, ReadPast, Send
from twisted_net.chat.codecs import text_commands
from twisted_net.chat.limits import LISTED_JSON
from twisted_net.chat.messages import Help, History, Lines, Listing, Present, Who
from twisted_net.chat.registry import Person, Registry


def who(registry: Registry, person: Person, request: Who) -> list[Action]:
    """List who is in a room.

    :raises Refused: ``bad-name`` or, without a name, ``not-in-room``.
    """
    name = names.room(request.room) if request.room else registry.room_of(person, "").name
    room = registry.rooms.get(name)
    nicks = sorted((each.name for each in room.people), key=str.casefold) if room else []
    return [Send(person, Present(name, nicks[:LISTED_JSON], len(nicks)))]


def rooms(registry: Registry, person: Person) -> list[Action]:
    """List the rooms, the fullest first."""
    found = sorted(registry.rooms.values(), key=lambda room: (-len(room.people), room.name))
    listed = [(room.name, len(room.people), room.topic) for room in found[:LISTED_JSON]]
    return [Send(person, Listing(listed, len(found)))]


def history(registry: Registry, person: Person, request: History, most: int) -> list[Action]:
    """Read what was said in a room that somebody is in.

    :param most: messages in one answer.
    :raises Refused: ``bad-name`` or ``not-in-room``.
    """
    room = registry.room_of(person, names.room(request.room) if request.room else "")
    limit = 20 if request.limit is None else request.limit
    return [ReadPast(person, room, request.before, max(1, min(limit, most)))]


def help(person: Person, request: Help) -> list[Action]:
    """Explain the commands.

    :raises Refused: ``no-command``.
    """
    return [Send(person, Lines(text_commands.help_lines(request.command, person.operator)))]
