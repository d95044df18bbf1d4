"""What somebody's doing does to somebody else: names that pass on, operators who keep order."""

from __future__ import annotations

import math

from twisted_net.chat import names
from twisted_net.chat.actions import Action, Announce, End, Exit, SendEvent
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
"""So many arrivals or departures of one moment are told by name. More are counted: a thousand
people who come at once cost each of them a line and not a thousand."""


def announce_name(user: User, old: str) -> list[Action]:
    """Tell the rooms of somebody that has another name now; those that know it by the old one."""
    return [
        Announce(room, NickChanged(room.name, old, user.name), user)
        for room in user.rooms
        if room.presence.renamed(old, user.name)
    ]


def tell_presence(registry: Registry, room: Room, until: float = math.inf) -> list[Action]:
    """Tell a room who has come and gone until then, few by name and many by number."""
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
    """Take somebody out of its rooms whose session goes on elsewhere."""
    actions: list[Action] = []
    for room in list(ghost.rooms):
        registry.leave(ghost, room)
        actions.append(Exit(ghost, room))
    return actions


def evict(registry: Registry, owner: User) -> list[Action]:
    """Let a guest have another name, since its name belongs to an account."""
    old = owner.name
    registry.guest(owner)
    return [
        SendEvent(owner, Notice(f"{old} is an account's name. You are {owner.name} now.")),
        *announce_name(owner, old),
    ]


def ignore(registry: Registry, user: User, request: Ignore, most: int) -> list[Action]:
    """Hear nothing of somebody, or hear it again, or list of whom nothing is heard.

    :param most: names that one may ignore.
    :raises RequestError: ``bad-name`` or ``too-many``.
    """
    if not request.nick:
        said = f"You ignore {', '.join(sorted(user.ignoring)) or 'nobody'}."
    elif not request.on:
        ended = registry.hear(user, request.nick)
        said = f"You hear {request.nick} again." if ended else "You did not ignore them."
    else:
        name = names.nick(request.nick)
        registry.ignore(user, name, most)
        said = f"You hear nothing of {name} now."
    return [SendEvent(user, Notice(said))]


def _need_operator(user: User) -> None:
    if not user.operator:
        raise RequestError("not-allowed", "Only operators may do that.")


def kick(registry: Registry, user: User, request: Kick) -> list[Action]:
    """Close somebody's connection.

    :raises RequestError: ``not-allowed`` or ``no-such-nick``.
    """
    _need_operator(user)
    found = registry.known(request.nick)
    return _throw_out(found, user, "kicked", request.text)


def ban(registry: Registry, user: User, request: Ban, now: float) -> list[Action]:
    """Keep somebody out for a while, or no more.

    :raises RequestError: ``not-allowed`` or ``bad-name``.
    """
    _need_operator(user)
    name = names.nick(request.nick)
    if not request.minutes:
        lifted = registry.lift_ban(name)
        said = f"{name} may come in again." if lifted else f"{name} was not banned."
        return [SendEvent(user, Notice(said))]
    found = registry.ban(name, now + 60 * request.minutes)
    actions = [] if found is None else _throw_out(found, user, "banned", request.text)
    return [*actions, SendEvent(user, Notice(f"{name} is kept out for {request.minutes} minutes."))]


def mute(registry: Registry, user: User, request: Mute, now: float) -> list[Action]:
    """Let somebody not speak for a while, or speak again.

    :raises RequestError: ``not-allowed`` or ``no-such-nick``.
    """
    _need_operator(user)
    if not request.minutes:
        name = names.nick(request.nick)
        lifted = registry.lift_mute(name)
        return [
            SendEvent(user, Notice(f"{name} {'may speak again' if lifted else 'was not muted'}."))
        ]
    found = registry.known(request.nick)
    registry.mute(found, now + 60 * request.minutes)
    said = f"{found.name} may not speak for {request.minutes} minutes."
    told: list[Action] = [Announce(room, Notice(said), user) for room in found.rooms]
    return [*told, SendEvent(user, Notice(said))]


def _throw_out(found: User, by: User, how: str, why: str) -> list[Action]:
    said = f"{found.name} was {how} by {by.name}{why and f': {why}'}"
    told: list[Action] = [Announce(room, Notice(said), found) for room in found.rooms]
    return [*told, SendEvent(found, Notice(said)), End(found, KICKED, said)]
