"""Requests that only ask for information: users, rooms, history and help."""

from __future__ import annotations

from collections.abc import Mapping

from twisted_net.chat import names
from twisted_net.chat.actions import Action, ReadHistory, SendEvent
from twisted_net.chat.codecs.text_commands import Command, help_lines
from twisted_net.chat.limits import LISTED_JSON
from twisted_net.chat.messages import Help, History, MemberList, NoticeLines, RoomList, Who
from twisted_net.chat.registry import Registry, User


def who(registry: Registry, user: User, request: Who) -> list[Action]:
    """List the users in a room. Without a name, it is the user's current room.

    :raises RequestError: ``bad-name`` or, without a name, ``not-in-room``.
    """
    name = names.room(request.room) if request.room else registry.room_of(user, "").name
    room = registry.rooms.get(name)
    nicks = sorted(room.names(), key=str.casefold) if room else []
    if room:
        room.presence.listed(user.name)
    return [SendEvent(user, MemberList(name, nicks[:LISTED_JSON], len(nicks)))]


def rooms(registry: Registry, user: User) -> list[Action]:
    """List the rooms, those with the most users first."""
    found = sorted(registry.rooms.values(), key=lambda room: (-len(room.users), room.name))
    listed = [(room.name, len(room.users), room.topic) for room in found[:LISTED_JSON]]
    return [SendEvent(user, RoomList(listed, len(found)))]


def history(registry: Registry, user: User, request: History, most: int) -> list[Action]:
    """Read earlier messages of a room that the user is in.

    :param most: the maximum number of messages in one answer.
    :raises RequestError: ``bad-name`` or ``not-in-room``.
    """
    room = registry.room_of(user, names.room(request.room) if request.room else "")
    limit = 20 if request.limit is None else request.limit
    return [ReadHistory(user, room, request.before, max(1, min(limit, most)))]


def help(user: User, request: Help, own: Mapping[str, Command]) -> list[Action]:
    """List the commands, or explain one.

    :param own: the commands of the application.

    :raises RequestError: ``no-command``.
    """
    lines = help_lines(request.command, user.operator, own)
    return [SendEvent(user, NoticeLines(lines))]
