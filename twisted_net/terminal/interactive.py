"""The client in a terminal: connects ``ChatClient``, what is known of the chat, and the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from twisted_net.chat import ChatClient, ChatError
from twisted_net.chat.messages import RequestError
from twisted_net.terminal.chat_view import AskHistory, ChatView, RingBell, Show, ViewOutput
from twisted_net.terminal.flags import ClientSettings
from twisted_net.terminal.lines import Fragments, dim_line, error_line
from twisted_net.terminal.piped import EXIT_FAILED, EXIT_STORED, stop_client
from twisted_net.terminal.server_events import received
from twisted_net.terminal.typed import parse_typed, pasted_lines
from twisted_net.terminal.user_requests import UserRequests


class Screen(Protocol):
    """What the client needs of a terminal. :class:`TerminalScreen` is the real one."""

    def show(self, lines: list[Fragments]) -> None:
        """Show lines above the one that is typed, soon."""

    def ring(self) -> None:
        """Ring the bell."""

    def refresh(self) -> None:
        """Draw the prompt and the toolbar again, soon."""

    def run(self, user: ScreenUser) -> Deferred[None]:
        """Read what is typed until :meth:`leave`. Cancelling leaves too."""

    def leave(self) -> None:
        """Leave the terminal as it was."""


class ScreenUser(Protocol):
    """What a screen needs of the client."""

    view: ChatView

    def typed(self, text: str) -> None:
        """The user has typed a line."""

    def pasted(self, text: str) -> None:
        """The user has pasted lines, and wants to send them."""

    def step(self, by: int) -> None:
        """The user turns to the next conversation, or to the one before."""


class InteractiveClient:
    """The client in a terminal.

    :ivar problem: why it has ended, if the user has not ended it.
    """

    def __init__(
        self,
        reactor: Any,
        settings: ClientSettings,
        password: str,
        screen: Screen,
        make_client: Callable[..., Any] = ChatClient,
    ) -> None:
        self.view = ChatView(settings.history)
        self._reactor = reactor
        self._settings = settings
        self._screen = screen
        self._history = settings.history
        self._was_online = False
        self.problem = ""
        self._client = make_client(
            reactor,
            settings.where,
            settings.nick,
            *settings.rooms,
            user=settings.user,
            password=password,
            on_lost=lambda room: self._do(self.view.lost(room)),
            on_disconnected=self._disconnected,
            **settings.tls,
        )
        self._requests = UserRequests(
            self._client, self.view, self._do, settings.history, screen.leave
        )

    def complain(self, text: str) -> None:
        """Show an error."""
        self._screen.show([error_line(line) for line in text.splitlines()])

    async def run(self) -> int:
        """Run until the user leaves or the server refuses the client for good.

        :return: the exit status.
        """
        self._screen.show([dim_line(f"Connecting to {self._settings.shown}...")])
        Deferred.fromCoroutine(self._watch())
        self._client.startService()
        self.view.want(self._settings.rooms[0])  # what is typed before it is joined goes there
        for room in self._settings.rooms:
            self._requests.watch_join(room)
        try:
            await self._screen.run(self)
        finally:
            await stop_client(self._client, self._reactor)
        return EXIT_FAILED if self.problem else EXIT_STORED

    async def _watch(self) -> None:
        try:
            async for message in self._client:
                self._was_online = self._was_online or message["type"] == "welcome"
                self._do(received(self.view, message, self._reactor.seconds()))
        except ChatError as error:
            self._give_up(str(error))

    def _give_up(self, why: str) -> None:
        self.problem = f"{self._settings.shown}: {why}"
        self._screen.leave()

    def _disconnected(self, why: str) -> None:
        if not self._was_online:  # a wrong address, or a certificate that is not trusted
            self._give_up(why)
        else:
            self._do(self.view.disconnected(why, self._reactor.seconds()))

    def _do(self, outputs: Iterable[ViewOutput]) -> None:
        lines = []
        for output in outputs:
            match output:
                case Show(line):
                    lines.append(line)
                case RingBell():
                    self._screen.ring()
                case AskHistory(room, before):
                    self._ask_history(room, before)
        if lines:
            self._screen.show(lines)
        self._screen.refresh()

    # The user of the screen.

    def typed(self, text: str) -> None:
        """Carry out a line that the user has typed."""
        try:
            request = parse_typed(text)
            if request is not None:
                self._requests.carry_out(request)
        except RequestError as error:
            self.complain(error.text)

    def pasted(self, text: str) -> None:
        """Send each line of a pasted text. None of them is a command."""
        try:
            for line in pasted_lines(text):
                self._requests.say(line)
        except RequestError as error:
            self.complain(error.text)

    def step(self, by: int) -> None:
        """Turn to the next conversation, or with -1 to the one before."""
        self._do(self.view.step(by))

    def _ask_history(self, room: str, before: int) -> None:
        self._client.request(
            type="history", room=room, before=before, limit=self._history
        ).addErrback(lambda failure: self._do(self.view.history_failed(room)))
