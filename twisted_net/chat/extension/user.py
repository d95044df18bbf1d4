"""A user, as the commands and checks of an application see one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, Concatenate, Protocol, TypeAlias

from twisted.internet.interfaces import IAddress

from twisted_net.chat import names
from twisted_net.chat.actions import Action, Announce, SendEvent
from twisted_net.chat.messages import OwnEvent
from twisted_net.chat.registry import Registry, User
from twisted_net.wire.json_values import encode_json
from twisted_net.wire.text import printable

_RESERVED_FIELDS = frozenset({"type", "id", "room"})


class Chat(Protocol):
    """What an extension needs of the chat: a :class:`~twisted_net.chat.ChatFactory`."""

    registry: Registry
    now: Callable[[], float]

    def act(self, actions: Iterable[Action]) -> Awaitable[None] | None:
        """Carry out the actions of a session."""


class ChatUser:
    """The user who calls a command, or whom a check is about.

    :ivar name: the user's name.
    :ivar account: the account that the user has logged in to; empty for a guest.
    :ivar operator: whether the user is an operator.
    :ivar rooms: the names of the user's rooms, in the order of joining.
    :ivar room: the room in which the command was called; empty if the user is in none.
    :ivar speaks_json: whether the user is a program that speaks JSON.
    :ivar peer: the address.
    :ivar answered: whether the command has called :meth:`reply` or :meth:`announce`.
    """

    __slots__ = ("_asked_room", "_chat", "_id", "_type", "_user", "answered")

    def __init__(
        self, chat: Chat, user: User, type: str = "notice", room: str = "", id: str = ""
    ) -> None:
        self._chat = chat
        self._user = user
        self._type = type
        self._asked_room = names.room(room) if room else ""
        self._id = id
        self.answered = False

    def __repr__(self) -> str:
        return f"<ChatUser {self.name}>"

    @property
    def name(self) -> str:
        return self._user.name

    @property
    def account(self) -> str:
        return self._user.account

    @property
    def operator(self) -> bool:
        return self._user.operator

    @property
    def rooms(self) -> tuple[str, ...]:
        return tuple(room.name for room in self._user.rooms)

    @property
    def room(self) -> str:
        return self._asked_room or self._user.here

    @property
    def speaks_json(self) -> bool:
        return not self._user.connection.codec.is_text

    @property
    def peer(self) -> IAddress:
        peer: IAddress = self._user.connection.peer
        return peer

    def reply(self, text: str = "", **fields: Any) -> None:
        """Answer the user.

        :param text: one line; text users see nothing if it is empty.
        :param fields: further fields for a program. The type of the message is the command's name.
        :raises TypeError: a field is called ``type``, ``id`` or ``room``, or is of a type that JSON
            does not have.
        :raises ValueError: JSON has no such value, as for NaN.
        """
        event = self._event(text, fields)
        self.answered = True
        self._chat.act([SendEvent(self._user, event, self._id)])

    def announce(self, text: str = "", **fields: Any) -> None:
        """Tell all members of :attr:`room`, the user among them. The message is not stored.

        Text users who ignore the user do not see it.

        The parameters are those of :meth:`reply`.

        :raises ChatError: ``not-in-room`` or ``muted``.
        """
        room = self._chat.registry.room_to_speak_in(self._user, self.room, self._chat.now())
        event = replace(self._event(text, fields), room=room.name, origin=self._user.origin)
        self.answered = True
        to_user = self._user if self._id else None
        self._chat.act([Announce(room, event, to_user, self._id)])

    def _event(self, text: str, fields: dict[str, Any]) -> OwnEvent:
        taken = _RESERVED_FIELDS.intersection(fields)
        if taken:
            raise TypeError(f"a field cannot be called {', '.join(sorted(taken))}")
        if not isinstance(text, str):
            raise TypeError(f"the text must be a string, not {text!r}")
        encode_json(fields)  # now, so that a mistake is the command's, and not the room's
        return OwnEvent(self._type, one_line(text), fields)


CommandFunction: TypeAlias = Callable[Concatenate[ChatUser, ...], Awaitable[None] | None]
"""A command. Its name, its parameters after the first, and its docstring describe it to users."""


def one_line(text: str) -> str:
    """Return a text of an application as one printable line."""
    return printable(" ".join(text.splitlines()) if "\n" in text or "\r" in text else text)
