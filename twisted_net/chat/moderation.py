"""The parts of a session that affect other users: names, presence, and the operators' commands."""

from __future__ import annotations

import math
from collections.abc import Sequence

from twisted_net.chat import names
from twisted_net.chat.actions import Action, Announce, End, Exit, KeepBan, LogName, SendEvent
from twisted_net.chat.bans import (
    Sanction,
    is_in,
    marks_of,
    name_marks,
    range_key,
    range_of,
    shown_range,
)
from twisted_net.chat.limits import LISTED_JSON
from twisted_net.chat.messages import (
    Ack,
    Ban,
    BanList,
    ErrorReply,
    Event,
    Ignore,
    Kick,
    MemberJoined,
    MemberLeft,
    Mute,
    NickChanged,
    NickSet,
    Notice,
    PresenceSummary,
    RequestError,
)
from twisted_net.chat.registry import Registry, Room, User
from twisted_net.policy.close_reasons import CLOSED, KICKED
from twisted_net.policy.ranges import Network
from twisted_net.wire.text import counted

NAMED_AT_MOST = 5
"""Joins or leaves at one time that are announced by name. More are only counted: if a thousand
users join at once, each of them receives one line instead of a thousand."""


def announce_name(user: User, old: str) -> list[Action]:
    """Announce a user's new name to the rooms that know the user by the old one."""
    actions: list[Action] = []
    for room in user.rooms:
        # First, that the name's former user left. The user has the name already, and is not told.
        if room.take_leave(user.name):
            actions.append(Announce(room, MemberLeft(room.name, user.name), user))
        if room.presence.renamed(old, user.name):
            actions.append(Announce(room, NickChanged(room.name, old, user.name), user))
    return actions


def announce_presence(registry: Registry, room: Room, until: float = math.inf) -> list[Action]:
    """Announce to a room who joined and left up to ``until``: a few by name, many by number."""
    return announce_changes(registry, room, *room.presence.take(until))


def announce_changes(
    registry: Registry, room: Room, gone: Sequence[str], come: Sequence[str]
) -> list[Action]:
    """Announce to a room who left and who joined: a few by name, many by number."""
    actions: list[Action] = []
    for event, count, make in (("leave", gone, MemberLeft), ("join", come, MemberJoined)):
        if len(count) > NAMED_AT_MOST:
            actions.append(Announce(room, PresenceSummary(room.name, event, len(count))))
            continue
        for name in count:
            told: Event = make(room.name, name)
            # Who has just taken the name over was not in the room before: it is not news to them.
            actions.append(Announce(room, told, registry.find(name)))
    return actions


def replace(registry: Registry, ghost: User) -> list[Action]:
    """Remove a user from all rooms, because the session continues on another connection."""
    actions: list[Action] = []
    for room in list(ghost.rooms):
        registry.leave(ghost, room)
        actions.append(Exit(ghost, room))
    return actions


def evict(registry: Registry, owner: User, name: str) -> list[Action]:
    """Give a user a new name, because the present one is an account's, or looks like it.

    :param name: the name of the account.
    """
    old = owner.name
    is_it = names.fold(old) == names.fold(name)
    said = f"{old} is an account's name" if is_it else f"{old} looks like {name}, an account's name"
    return give_guest_name(registry, owner, f"{said}.")


def give_guest_name(registry: Registry, owner: User, said: str) -> list[Action]:
    """Give a user a guest's name, and say why."""
    old = owner.name
    registry.assign_guest_name(owner)
    return [
        LogName(owner, old),
        SendEvent(owner, Notice(said)),
        SendEvent(owner, NickSet(owner.name)),
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
    # A person sees the notice in the room; a program also learns that its request was done.
    return [*throw_out(found, user.name, "kicked", request.text), SendEvent(user, Ack(""))]


def ban(registry: Registry, user: User, request: Ban, now: float) -> list[Action]:
    """Ban a user or a range of addresses for some minutes, or lift the ban.

    :raises RequestError: ``not-allowed``, ``bad-name`` or ``bad-field``.
    """
    _need_operator(user)
    network = range_of(request.nick)
    if not request.minutes:
        return _lift_ban(registry, user, request.nick, network)
    if network is None:
        name = names.nick(request.nick)
        target, marks, others = name, *_covered_by_name(registry, name)
    else:
        if is_in(user.host, network):
            raise RequestError("not-allowed", f"Your own address is in {network}.", "nick")
        target, marks = shown_range(network), [range_key(network)]
        others = [each for each in registry if is_in(each.host, network) and not each.operator]
    until = now + 60 * request.minutes
    sanction = Sanction(target, tuple(marks), until, user.name, request.text)
    sanction, dropped = registry.bans.add(sanction, now)
    actions: list[Action] = [KeepBan(user, sanction.key, sanction)]
    actions += [KeepBan(user, each.key, None) for each in dropped]
    for found in others:
        actions += throw_out(found, user.name, "banned", request.text)
    said = f"{target} is kept out for {counted(request.minutes, 'minute')}."
    return [*actions, SendEvent(user, Notice(said))]


def _covered_by_name(registry: Registry, name: str) -> tuple[list[str], list[User]]:
    """Return the marks of a ban of a name, and the users whom it covers.

    They are who has the name here, and everybody else here who is the same to the ban: the
    account's other connections, and other guests from the address. Operators among these are
    spared.
    """
    found = registry.find_person(name)
    if found is None:
        return name_marks(name), []
    marks = marks_of(found.account, found.host)
    return [*name_marks(name), *marks], covered_users(registry, name, marks)


def covered_users(registry: Registry, name: str, marks: Sequence[str]) -> list[User]:
    """Return the users of this process whom the ban of a name covers.

    :param name: the name.
    :param marks: further marks of the ban.
    """
    found = registry.find(name)
    others = [
        user
        for user in registry
        if user is not found
        and not user.operator
        # Somebody with an account is the account, and only a guest is the address.
        and not set(marks).isdisjoint(marks_of(user.account, user.host)[:1])
    ]
    return others if found is None else [found, *others]


def _lift_ban(registry: Registry, user: User, text: str, network: Network | None) -> list[Action]:
    if network is None:
        target = names.nick(text)
        key, *others = name_marks(target)
        lifted = registry.bans.lift(key, others)
        covered = []
    else:
        target = shown_range(network)
        host = target if network.num_addresses == 1 else str(network)
        lifted = registry.bans.lift(range_key(network), [f"host {host}"])
        covered = registry.bans.of_address(host)
    target = lifted[0].target if lifted and network is None else target
    said = f"{target} may come in again." if lifted else f"{target} was not banned."
    if covered:
        said = f"{target} is still banned: see {covered[0].target}."
    actions: list[Action] = [KeepBan(user, each.key, None) for each in lifted]
    return [*actions, SendEvent(user, Notice(said))]


def bans(registry: Registry, user: User, now: float) -> list[Action]:
    """List the bans, the last one first.

    :raises RequestError: ``not-allowed``.
    """
    _need_operator(user)
    found = registry.bans.current(now)
    listed = [(each.target, each.until, each.by, each.text) for each in found[:LISTED_JSON]]
    return [SendEvent(user, BanList(listed, len(found)))]


def end_banned(registry: Registry, now: float) -> list[Action]:
    """End the connections of users whom a ban covers that has just been read from the store."""
    actions: list[Action] = []
    for user in registry:
        if not user.operator:
            try:
                registry.check_ban(user.name, user.account, user.host, now)
            except RequestError as error:
                problem = ErrorReply(error.code, error.text)
                actions += [SendEvent(user, problem), End(user, CLOSED, "banned")]
    return actions


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
    registry.mute(found, now + 60 * request.minutes, now)
    said = f"{found.name} may not speak for {counted(request.minutes, 'minute')}."
    told: list[Action] = [Announce(room, Notice(said), user) for room in found.rooms]
    return [*told, SendEvent(user, Notice(said))]


def throw_out(found: User, by: str, how: str, why: str) -> list[Action]:
    """Close a user's connection, and tell the rooms.

    :param by: the operator's name.
    :param how: ``kicked`` or ``banned``.
    """
    said = f"{found.name} was {how} by {by}{why and f': {why}'}"
    told: list[Action] = [Announce(room, Notice(said), found) for room in found.rooms]
    return [*told, SendEvent(found, Notice(said)), End(found, KICKED, said)]
