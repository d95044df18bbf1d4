"""A session of a chat that several processes share. It may have to wait for a name.

Whatever needs a name that is not claimed yet has changed nothing, and is tried again once the name
is claimed or refused. This module is pure, as :mod:`twisted_net.chat.session` is.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted_net.chat import names
from twisted_net.chat.actions import Action, ClaimName, End, ListElsewhere, SendEvent
from twisted_net.chat.messages import (
    Ban,
    ErrorReply,
    Hello,
    Join,
    Mute,
    Nick,
    Request,
    RequestError,
    Rooms,
    Topic,
    Who,
)
from twisted_net.chat.registry import Registry, User
from twisted_net.chat.session import Session, SessionSettings
from twisted_net.chat.shared.directory import IsElsewhere, NameDirectory, NameNeeded, RemoteUser
from twisted_net.chat.shared.forwarding import forward
from twisted_net.policy.close_reasons import UPSTREAM

AWAY_TEXT = "The store of this server cannot be reached. Try again later."

_NEED_STORE = (Hello, Join, Nick, Topic, Ban, Mute)
"""What cannot be done without the store. Messages are refused by the room's channel."""


def _needs_store(request: Request) -> bool:
    match request:
        case Topic(_, None):
            return False  # it only asks
    return isinstance(request, _NEED_STORE)


class SharedSession(Session):
    """The session of one connection of a chat that several processes share."""

    __slots__ = ("_account_before", "_again", "_directory", "_most_ignored", "_shared")

    def __init__(
        self,
        directory: NameDirectory,
        user: User,
        registry: Registry,
        settings: SessionSettings,
        token: Callable[[], str],
        secret: bool,
    ) -> None:
        super().__init__(user, registry, settings, token, secret)
        self._directory = directory
        self._shared = registry
        self._most_ignored = settings.limits.ignored
        self._again: Callable[[float], list[Action]] | None = None
        self._account_before = ""

    def change_settings(self, settings: SessionSettings) -> None:
        super().change_settings(settings)
        self._most_ignored = settings.limits.ignored

    def begin(self, now: float, account: str = "") -> list[Action]:
        if self._again is not None:
            return []
        begin = super().begin
        return self._try(lambda at: self._refuse_away() or begin(at, account), now)

    def first_line(self, is_json: bool, now: float) -> list[Action]:
        if not is_json and self._directory.away and not self.user.name:
            return self._refuse_away()
        try:
            return super().first_line(is_json, now)
        except NameNeeded as need:  # the step of the first line is taken: only greeting is left
            return self._wait(need, self.greet_person)

    def receive(self, request: Request, id: str, now: float) -> list[Action]:
        if self._directory.away and _needs_store(request):
            refused = SendEvent(self.user, ErrorReply("store", AWAY_TEXT, id=id))
            # Who is not in the chat is closed, with a reason to come back: another server may do.
            return [refused] if self.is_inside else [refused, End(self.user, UPSTREAM)]
        if self.is_inside and isinstance(request, Rooms | Who):
            listed = self._list_elsewhere(request, id)
            if listed is not None:
                return [listed]
        receive = super().receive

        def attempt(at: float) -> list[Action]:
            try:
                return receive(request, id, at)
            except IsElsewhere as found:
                return self._forward(request, found.user, id)

        return self._try(attempt, now)

    def login_succeeded(self, account: str, now: float) -> list[Action]:
        succeeded = super().login_succeeded
        self._account_before = self.user.account

        def attempt(at: float) -> list[Action]:
            actions = succeeded(account, at)
            self._directory.touch(self.user)
            return actions

        return self._try(attempt, now)

    def end(self) -> list[Action]:
        self._again = None
        actions = super().end()
        self._directory.settle(self.user)
        return actions

    def resume(self, now: float) -> list[Action]:
        """Try again, because the name that it waited for is claimed or refused."""
        again, self._again = self._again, None
        return [] if again is None else self._try(again, now)

    def claim_failed(self) -> list[Action]:
        """Give up what needs a name, because the store cannot be reached."""
        self._again = None
        self._directory.settle(self.user)
        self.user.account = self._account_before
        refused = self._refuse()
        return refused[:1] if self.is_inside else refused

    def _forward(self, request: Request, to: RemoteUser, id: str) -> list[Action]:
        try:
            return forward(self._shared, self.user, request, to, self._most_ignored, id)
        except RequestError as error:
            return [SendEvent(self.user, ErrorReply(error.code, error.text, error.field, id))]

    def _list_elsewhere(self, request: Rooms | Who, id: str) -> Action | None:
        if isinstance(request, Rooms):
            return ListElsewhere(self.user, "", id)
        try:
            room = names.room(request.room) if request.room else ""
        except RequestError:
            return None  # the session answers it
        known = not room or room in self._shared.rooms
        return None if known else ListElsewhere(self.user, room, id)

    def _try(self, attempt: Callable[[float], list[Action]], now: float) -> list[Action]:
        try:
            actions = attempt(now)
        except NameNeeded as need:
            return self._wait(need, attempt)
        self._directory.settle(self.user)
        return actions

    def _wait(self, need: NameNeeded, again: Callable[[float], list[Action]]) -> list[Action]:
        self._again = again
        return [ClaimName(self.user, need.name, need.ask)]

    def _refuse_away(self) -> list[Action]:
        return self._refuse() if self._directory.away else []

    def _refuse(self) -> list[Action]:
        return [SendEvent(self.user, ErrorReply("store", AWAY_TEXT)), End(self.user, UPSTREAM)]
