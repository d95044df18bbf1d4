"""Carries out what the user has typed, with the calls of ``ChatClient``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_net.chat import messages as asked
from twisted_net.chat import names
from twisted_net.terminal.chat_view import ChatView, PendingMessage, Show, ViewOutput
from twisted_net.terminal.lines import Fragments, error_line, notice_line
from twisted_net.terminal.typed import TalkTo, help_text
from twisted_net.wire.text import printable

IN_NO_ROOM = "You are in no room. /join ROOM joins one."
ROOMS_ONLY = "That works in rooms only."
NOT_LEFT = frozenset({"timeout", "stopped"})
"""Codes of errors after which the client still tries to join a room, or needs not."""


class UserRequests:
    """Carries out requests of the user.

    :param client: the ``ChatClient``.
    :param do: called with what the view wants done.
    :param history: messages that ``/history`` asks for.
    :param leave: called when the user wants to leave the chat.
    """

    def __init__(
        self,
        client: Any,
        view: ChatView,
        do: Callable[[Iterable[ViewOutput]], None],
        history: int,
        leave: Callable[[], None],
    ) -> None:
        self._client = client
        self._view = view
        self._do = do
        self._history = history
        self._leave = leave

    def carry_out(self, request: asked.Request | TalkTo) -> None:
        """Carry out a request.

        :raises RequestError: it cannot be.
        """
        match request:
            case asked.SendMessage(text, action=action):
                self.say(text, action)
            case asked.SendPrivate(to, text):
                self._send(PendingMessage(f"@{to.removeprefix('@')}", text))
            case TalkTo(nick=nick):
                self._do(self._view.turn_to(f"@{names.nick(nick)}"))
            case asked.Join(room):
                self._join(names.room(room))
            case asked.Leave(room):
                self._leave_conversation(room)
            case asked.Ignore(nick, on):
                self._do(self._view.ignore(nick) if on else self._view.unignore(nick))
            case asked.Help(word):
                self._show(notice_line(line) for line in help_text(word))
            case asked.Ping():
                self._ask(type="ping").addCallback(lambda _: self._show([notice_line("pong")]))
            case asked.Quit():
                self._leave()
            case _:
                self._ask(**self._message_of(request))

    def say(self, text: str, action: bool = False) -> None:
        """Send a message to the conversation in front, or to the room that comes to the front.

        :raises RequestError: there is none.
        """
        to = self._view.current or self._view.wanted
        if not to:
            raise asked.RequestError("not-in-room", f"{IN_NO_ROOM} Not sent: {text}")
        if action and to[0] != "#":
            raise asked.RequestError("not-in-room", ROOMS_ONLY)
        self._send(PendingMessage(to, text, action))

    def watch_join(self, room: str) -> None:
        """Say so if the server does not let the client into a room."""

        def failed(failure: Failure) -> None:
            error: Any = failure.value
            self._view.unwant(room)
            if getattr(error, "code", "") not in NOT_LEFT:
                self._client.leave(room)
            if getattr(error, "code", "") not in ("stopped", "left"):
                self._say_failed(f"You are not in #{room}: {error}")

        self._client.joined(room).addErrback(failed)

    def _message_of(self, request: Any) -> dict[str, Any]:
        """Return the message of the JSON form."""
        match request:
            case asked.Nick(nick):
                return {"type": "nick", "nick": nick}
            case asked.Who(room):
                return {"type": "who", "room": self._room(room)}
            case asked.Rooms():
                return {"type": "rooms"}
            case asked.Topic(topic=None):
                return {"type": "topic", "room": self._room("")}
            case asked.Topic(topic=topic):
                return {"type": "topic", "room": self._room(""), "topic": _unless_dash(topic)}
            case asked.History(limit=limit):
                limit = self._history or 20 if limit is None else limit
                return {"type": "history", "room": self._room(""), "limit": limit}
            case asked.Kick(nick, text):
                return {"type": "kick", "nick": nick, "text": text}
            case asked.Ban(nick, minutes, text):
                return {"type": "ban", "nick": nick, "minutes": minutes, "text": text}
            case asked.Bans():
                return {"type": "bans"}
            case asked.Mute(nick, minutes):
                return {"type": "mute", "nick": nick, "minutes": minutes}
        raise asked.RequestError("no-command", "This program does not know that command.")

    def _room(self, room: str) -> str:
        """Return the name of a room; for an empty one, of the room in front."""
        if room:
            return names.room(room)
        current = self._view.current
        if not current:
            raise asked.RequestError("not-in-room", IN_NO_ROOM)
        if current[0] != "#":
            raise asked.RequestError("not-in-room", ROOMS_ONLY)
        return current[1:]

    def _join(self, room: str) -> None:
        is_open = f"#{room}" in self._view.conversations
        self._do(self._view.want(room))
        if not is_open:
            self._client.join(room)
            self.watch_join(room)

    def _leave_conversation(self, room: str) -> None:
        title = f"#{names.room(room)}" if room and room[0] != "@" else room or self._view.current
        if title not in self._view.conversations:
            raise asked.RequestError("not-in-room", f"You are not in {title or 'any room'}.")
        if title[0] == "#":
            self._client.leave(title[1:])
        self._do(self._view.close(title))

    def _send(self, message: PendingMessage) -> None:
        number = self._view.sending(message)
        name = message.to[1:]
        if message.to[0] == "#":
            sent = self._client.send(name, message.text, action=message.action)
        else:
            sent = self._client.send_private(name, message.text)
        sent.addCallbacks(
            lambda offset: self._do(self._view.acked(number, offset, _now())),
            lambda failure: self._do(self._view.failed(number, failure.getErrorMessage())),
        )
        self._do([])  # shows that it is on its way

    def _ask(self, **message: Any) -> Deferred[Any]:
        """Send a request. What comes back fires with the answer, or not at all."""
        later: Deferred[Any] = Deferred()
        self._client.request(**message).addCallbacks(
            later.callback, lambda failure: self._say_failed(failure.getErrorMessage())
        )
        return later

    def _say_failed(self, text: str) -> None:
        self._show([error_line(text)])

    def _show(self, lines: Iterable[Fragments]) -> None:
        self._do([Show(line) for line in lines])


def _unless_dash(topic: str | None) -> str:
    return "" if topic is None or printable(topic).strip() == "-" else topic


def _now() -> str:
    return datetime.now(UTC).isoformat()
