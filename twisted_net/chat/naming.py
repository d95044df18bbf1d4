"""How users get the names of their accounts and sessions: a part of ``session``.

Where several processes share a chat, a name has to be claimed first. The functions that prepare one
raise ``NameNeeded`` then, and have changed nothing.
"""

from __future__ import annotations

from twisted_net.chat import moderation, names
from twisted_net.chat.actions import Action
from twisted_net.chat.messages import RequestError
from twisted_net.chat.registry import Registry, User


def take_account_name(registry: Registry, user: User, now: float) -> list[Action]:
    """Give a user the name of the account. See :func:`prepare_account_name`."""
    user.operator = names.fold(user.account) in registry.operators
    name = _account_name(user)
    if not name or registry.find(name) is user:
        return []
    actions: list[Action] = []
    for owner in _others(registry, user, name):
        actions += moderation.evict(registry, owner, name)
    registry.rename(user, registry.free_name(name, user, now), now)
    return actions


def prepare_account_name(
    registry: Registry, user: User, now: float, ghost: User | None = None
) -> None:
    """Prepare to give a user the name of the account, and the name of a guest before that.

    :param ghost: who is about to lose the name, because the session goes on.
    :raises NameNeeded: a name has to be claimed first.
    """
    elsewhere = registry.elsewhere
    if elsewhere is None:
        return
    name = _account_name(user)
    if not name or registry.find(name) is user:
        elsewhere.need_guests()
        return
    elsewhere.check_account(user, name)
    losing = _others(registry, user, name)
    elsewhere.need_guests(1 + len(losing))
    if ghost is not None:
        losing.append(ghost)
    elsewhere.check(user, registry.free_name(name, user, now, losing))


def prepare_name(
    registry: Registry, user: User, origin: str, nick: str, ghost: User | None, now: float
) -> str:
    """Prepare the name of a program that says hello.

    :param origin: that of the program's session; empty for none.
    :param nick: the name that it asks for; may be empty.
    :param ghost: the former user of the session, in this process.
    :return: the name that it asks for, or else the one that it had in another process.
    :raises NameNeeded: something has to be claimed first.
    """
    elsewhere = registry.elsewhere
    if elsewhere is None:
        return nick
    if ghost is None and origin:
        remote = elsewhere.ghost(user, origin)
        if remote is not None and not nick and registry.may_take_name_of(user, remote, nick):
            nick = "" if elsewhere.has(remote.name, user) else remote.name
    if user.account:
        prepare_account_name(registry, user, now, ghost)
    elif not nick and not user.name:
        elsewhere.need_guests()
    return nick


def _account_name(user: User) -> str:
    try:
        return names.nick(user.account)
    except RequestError:
        return ""  # the account's name is not a valid name in the chat


def _others(registry: Registry, user: User, name: str) -> list[User]:
    """Return who loses a name that belongs to the user's account.

    Others who have the name get another one. So do those whose names look like it, except accounts
    that have their own names.
    """
    keys = names.keys(name)
    return [
        owner
        for owner in registry.owners(name)
        if owner is not user and set(names.keys(owner.account)).isdisjoint(keys)
    ]
