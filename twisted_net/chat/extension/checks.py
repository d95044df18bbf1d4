"""Asks an application what users may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from twisted_net.chat import names
from twisted_net.chat.extension.running import failure_reply, finished
from twisted_net.chat.extension.user import Chat, ChatUser
from twisted_net.chat.messages import (
    ErrorReply,
    Hello,
    Join,
    Nick,
    Request,
    RequestError,
    SendMessage,
    SendPrivate,
    Topic,
)
from twisted_net.chat.registry import User

CheckFunction: TypeAlias = Callable[..., Awaitable[None] | None]


class Checks:
    """The checks of an application: may a user join, say, or be called something?

    Each is None if the application has none.
    """

    def __init__(
        self, join: CheckFunction | None, text: CheckFunction | None, nick: CheckFunction | None
    ) -> None:
        self._join = join
        self._text = text
        self._nick = nick

    async def receive(self, chat: Chat, connection: Any, request: Request, id: str) -> None:
        """Handle a request, after asking whether the user may do it.

        :param connection: the user's connection; a ``ChatProtocol``.
        :param id: the id that a program gave its message.
        """
        session = connection.session
        was_inside = session.is_inside
        request, join = self._divide(request)
        # Only a hello lets somebody in, and only who is in may do anything else.
        if was_inside is not isinstance(request, Hello):
            problem = await self._ask(chat, session.user, request)
            if problem is not None:
                connection.send_event(problem, id)
                return
        if connection.reason is not None or session.has_ended:
            return  # it has ended meanwhile
        waiting = chat.act(session.receive(request, id, chat.now()))
        if waiting is not None:
            await waiting
        if join is not None and session.is_inside and not was_inside:
            await self.receive(chat, connection, join, id)

    def _divide(self, request: Request) -> tuple[Request, Join | None]:
        """Divide a hello with a room: whether its user may join depends on who has logged in."""
        if self._join and isinstance(request, Hello) and request.room:
            try:
                names.room(request.room)
            except RequestError:
                return request, None  # the session will refuse it
            return replace(request, room=""), Join(request.room)
        return request, None

    async def _ask(self, chat: Chat, user: User, request: Request) -> ErrorReply | None:
        """Ask whether a user may do something. Return the refusal, if there is one."""
        try:
            for check, about in self._questions(chat, user, request):
                name = getattr(check, "__name__", "check")
                result = check(ChatUser(chat, user), *about)
                await finished(result, name, "Raise ChatError(code, text) to refuse.")
        except Exception as error:
            return failure_reply(error, "A check")
        return None

    def _questions(
        self, chat: Chat, user: User, request: Request
    ) -> Iterator[tuple[CheckFunction, tuple[str, ...]]]:
        """Yield the checks of a request, and what each is asked. A request that the session will
        refuse anyway has none."""
        try:
            match request:
                case Join(room) if self._join and names.room(room) not in _rooms(user):
                    yield self._join, (names.room(room),)
                case Topic(_, "-"):  # removes the topic
                    return
                case SendMessage(text, room) | Topic(room, str(text)) if self._text:
                    where = chat.registry.room_of(user, names.room(room) if room else "")
                    yield self._text, (where.name, text)
                case SendPrivate(_, text) if self._text:
                    yield self._text, ("", text)
                case Nick(nick) | Hello(nick, account="") if self._nick and nick:
                    if names.nick(nick) != user.name:
                        yield self._nick, (names.nick(nick),)
        except RequestError:
            return


def _rooms(user: User) -> set[str]:
    return {room.name for room in user.rooms}
