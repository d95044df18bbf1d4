"""Decides about requests that name a user of another process. This module is pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted_net.chat import names
from twisted_net.chat.actions import Action, AskProcess, SendEvent, answering
from twisted_net.chat.messages import (
    Ack,
    Delivered,
    ErrorReply,
    Ignore,
    Kick,
    Mute,
    Notice,
    Request,
    SendPrivate,
)
from twisted_net.chat.registry import Registry, User, no_such_nick
from twisted_net.chat.shared.directory import RemoteUser
from twisted_net.wire.text import counted


def forward(
    registry: Registry, user: User, request: Request, to: RemoteUser, most_ignored: int, id: str
) -> list[Action]:
    """Return the actions for a request of ``user`` that names a user of another process.

    The session has checked that the user may ask for it.

    :param most_ignored: the number of people whom a user may ignore.
    :raises RequestError: ``too-many``: the user ignores that many already.
    """
    order: dict[str, Any]
    match request:
        case SendPrivate(_, text, mark):
            sender = [user.name, user.origin, user.account, user.host]
            order = {"do": "private", "to": to.name, "from": sender, "text": text, "id": mark}
        case Kick(_, text):
            order = {"do": "kick", "to": to.name, "by": user.name, "text": text}
        case Mute(_, minutes):
            order = {"do": "say-muted", "to": to.name, "minutes": minutes, "but": user.origin}
        case Ignore(nick):
            names.nick(nick)
            registry.ignore_person(user, to, most_ignored)
            said = Notice(f"You hear nothing of {to.name} now.")
            return answering([SendEvent(user, said)], user, id)
        case _:
            raise AssertionError(f"{type(request).__name__} names nobody")
    return [AskProcess(user, to, order, id)]


def answered(
    registry: Registry, action: AskProcess, reply: Mapping[str, Any] | None, now: float
) -> list[Action]:
    """Return the actions for the answer of another process.

    :param reply: its answer; None if there was none.
    """
    user, to, order, id = action.user, action.to, action.order, action.id
    if reply is None:
        text = f"The server of {to.name} does not answer: it is not known whether that was done."
        return [SendEvent(user, ErrorReply("store", text, "to", id))]
    name = str(reply.get("name", ""))
    if not name:
        error = no_such_nick(to.name)
        return [SendEvent(user, ErrorReply(error.code, error.text, error.field, id))]
    if order["do"] == "private":
        mark = order["id"]
        if mark:
            registry.delivered.add(user.origin, mark)
        return [SendEvent(user, Delivered(name, order["text"], mark), id)]
    if order["do"] == "kick":
        return [SendEvent(user, Ack(""), id)]
    minutes = order["minutes"]
    registry.mute(to, now + 60 * minutes, now)
    return [SendEvent(user, Notice(muted_text(name, minutes)), id)]


def muted_text(name: str, minutes: int) -> str:
    """Return what a room is told of somebody who was muted."""
    return f"{name} may not speak for {counted(minutes, 'minute')}."
