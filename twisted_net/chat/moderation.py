"""The parts of a session that affect other users: names, presence, and the operators' commands."""

from __future__ import annotations

import math

from twisted_net.chat import names
from twisted_net.chat.actions import Action, Announce, End, Exit, LogName, SendEvent
from twisted_net.chat.messages import (
    Ban,
    Event,
    Ignore,
    Kick,
    MemberJoined,
    MemberLeft,
    Mute,
    NickChanged,
    Notice,
    PresenceSummary,
    RequestError,
)
from twisted_net.chat.registry import Registry, Room, User
from twisted_net.policy.close_reasons import KICKED

NAMED_AT_MOST = 5
"""Joins or leaves at one time that are announced by name. More are only counted: if a thousand
users join at once, each of them receives one line instead of a thousand."""


def announce_name(user: User, old: str) -> list[Action]:
    """Announce a user's new name to the rooms that know the user by the old one."""
    return [
        Announce(room, NickChanged(room.name, old, user.name), user)
        for room in user.rooms
        if room.presence.renamed(old, user.name)
    ]


def announce_presence(registry: Registry, room: Room, until: float = math.inf) -> list[Action]:
    """Announce to a room who joined and left up to ``until``: a few by name, many by number."""
    gone, come = room.presence.take(until)
    actions: list[Action] = []
    for event, count, make in (("leave", gone, MemberLeft), ("join", come, MemberJoined)):
        if len(count) > NAMED_AT_MOST:
            actions.append(Announce(room, PresenceSummary(room.name, event, len(count))))
            continue
        for name in count:
            told: Event = make(room.name, name)
            actions.append(Announce(room, told, registry.find(name) if event == "join" else None))
    return actions


def replace(registry: Registry, ghost: User) -> list[Action]:
    """Remove a user from all rooms, because the session continues on another connection."""
    actions: list[Action] = []
    for room in list(ghost.rooms):
        registry.leave(ghost, room)
        actions.append(Exit(ghost, room))
    return actions


def evict(registry: Registry, owner: User) -> list[Action]:
    """Give a guest a new name, because the present one belongs to an account."""
    old = owner.name
    registry.assign_guest_name(owner)
    return [
        LogName(owner, old),
        SendEvent(owner, Notice(f"{old} is an account's name. You are {owner.name} now.")),
        *announce_name(owner, old),
    ]


def ignore(registry: Registry, user: User, request: Ignore, most: int) -> list[Action]:
    """Ignore a person, stop ignoring one, or list the names that the ignored people had.

    :param most: the number of people whom a user may ignore.
    :raises RequestError: ``bad-name``, ``no-such-nick`` or ``too-many``.
    """
    if not request.nick:
        said = f"You ignore {', '.join(sorted((user.ignoring or {}).values())) or 'nobody'}."
    elif not request.on:
        ended = registry.unignore(user, request.nick)
        said = f"You hear {request.nick} again." if ended else "You did not ignore them."
    else:
        ignored = registry.ignore(user, names.nick(request.nick), most)
        said = f"You hear nothing of {ignored.name} now."
    return [SendEvent(user, Notice(said))]


def _need_operator(user: User) -> None:
    if not user.operator:
        raise RequestError("not-allowed", "Only operators may do that.")


def kick(registry: Registry, user: User, request: Kick) -> list[Action]:
    """Close a user's connection.

    :raises RequestError: ``not-allowed`` or ``no-such-nick``.
    """
    _need_operator(user)
    found = registry.require_user(request.nick)
    return _throw_out(found, user, "kicked", request.text)


def ban(registry: Registry, user: User, request: Ban, now: float) -> list[Action]:
    """Ban a user for some minutes, or lift the ban.

    :raises RequestError: ``not-allowed`` or ``bad-name``.
    """
    _need_operator(user)
    name = names.nick(request.nick)
    if not request.minutes:
        lifted = registry.lift_ban(name)
        said = f"{name} may come in again." if lifted else f"{name} was not banned."
        return [SendEvent(user, Notice(said))]
    actions: list[Action] = []
    for found in registry.ban(name, now + 60 * request.minutes):
        actions += _throw_out(found, user, "banned", request.text)
    return [*actions, SendEvent(user, Notice(f"{name} is kept out for {request.minutes} minutes."))]


def mute(registry: Registry, user: User, request: Mute, now: float) -> list[Action]:
    """Stop a user from sending messages for some minutes, or lift it.

    :raises RequestError: ``not-allowed`` or ``no-such-nick``.
    """
    _need_operator(user)
    if not request.minutes:
        name = names.nick(request.nick)
        lifted = registry.lift_mute(name)
        return [
            SendEvent(user, Notice(f"{name} {'may speak again' if lifted else 'was not muted'}."))
        ]
    found = registry.require_user(request.nick)
    registry.mute(found, now + 60 * request.minutes)
    said = f"{found.name} may not speak for {request.minutes} minutes."
    told: list[Action] = [Announce(room, Notice(said), user) for room in found.rooms]
    return [*told, SendEvent(user, Notice(said))]


def _throw_out(found: User, by: User, how: str, why: str) -> list[Action]:
    said = f"{found.name} was {how} by {by.name}{why and f': {why}'}"
    told: list[Action] = [Announce(room, Notice(said), found) for room in found.rooms]
    return [*told, SendEvent(found, Notice(said)), End(found, KICKED, said)]
