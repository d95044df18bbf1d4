"""The session of one connection: its state, and how it answers requests.

A session only decides what to do, and returns the decision as :mod:`actions`. It looks up other
users in the :class:`~twisted_net.chat.registry.Registry`. This module is pure: the time and random
texts are arguments.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted_net.chat import moderation, names, queries
from twisted_net.chat.actions import (
    Action,
    Announce,
    Append,
    End,
    Enter,
    Exit,
    Introduce,
    LetIn,
    LogLogin,
    LogName,
    RunCommand,
    SendEvent,
    Verify,
    answering,
)
from twisted_net.chat.codecs.text_commands import Command
from twisted_net.chat.limits import LONGEST_TOPIC, ChatLimits
from twisted_net.chat.messages import (
    Ban,
    Bans,
    CallCommand,
    Delivered,
    ErrorReply,
    Hello,
    Help,
    History,
    Ignore,
    Join,
    Kick,
    Leave,
    Login,
    LoginRequired,
    Mute,
    Nick,
    NickSet,
    Notice,
    Ping,
    Pong,
    PrivateMessage,
    Quit,
    Request,
    RequestError,
    RoomLeft,
    Rooms,
    SendMessage,
    SendPrivate,
    Topic,
    TopicEvent,
    Welcome,
    Who,
)
from twisted_net.chat.naming import prepare_account_name, prepare_name, take_account_name
from twisted_net.chat.registry import LOBBY, Registry, User
from twisted_net.policy.close_reasons import CLOSED, LOGIN, QUIT
from twisted_net.store.log import Message
from twisted_net.wire.text import counted, noun_for

MOST_FAILURES = 5
"""Failed logins after which the connection is closed (``login``)."""

_SESSION = re.compile(r"[0-9a-f]{32}")


class SessionState(enum.Enum):
    """The state of a session."""

    NEW = "neither side has said anything"
    ASKED = "a person who has to log in was told so, and has said nothing: the form is open"
    GUEST = "a guest was let in, who has said nothing: the form is open"
    TEXT_OUT = "a person who has to log in"
    TEXT = "a person in the chat"
    JSON_OUT = "a program that has to say hello"
    JSON = "a program in the chat"
    ENDED = "it is over"


class Step(enum.Enum):
    """A step from one state to another."""

    TEXT_LINE = "the first line is text"
    JSON_LINE = "the first line begins with {"
    ASK = "somebody was told to log in"
    LET_IN = "somebody was let in"
    END = "the connection ends"


SESSION_TRANSITIONS = {
    (SessionState.NEW, Step.LET_IN): SessionState.GUEST,
    (SessionState.NEW, Step.ASK): SessionState.ASKED,
    (SessionState.NEW, Step.TEXT_LINE): SessionState.TEXT_OUT,
    (SessionState.NEW, Step.JSON_LINE): SessionState.JSON_OUT,
    (SessionState.ASKED, Step.TEXT_LINE): SessionState.TEXT_OUT,
    (SessionState.ASKED, Step.JSON_LINE): SessionState.JSON_OUT,
    (SessionState.GUEST, Step.TEXT_LINE): SessionState.TEXT,
    (SessionState.GUEST, Step.JSON_LINE): SessionState.JSON_OUT,
    (SessionState.TEXT_OUT, Step.LET_IN): SessionState.TEXT,
    (SessionState.JSON_OUT, Step.LET_IN): SessionState.JSON,
    **{(state, Step.END): SessionState.ENDED for state in SessionState},
}
"""All valid steps. Any other step is a bug and raises KeyError."""

UNDECIDED = (SessionState.NEW, SessionState.ASKED, SessionState.GUEST)
"""The states before the first line, which decides between the text form and the JSON form."""

OUTSIDE = (SessionState.NEW, SessionState.ASKED, SessionState.TEXT_OUT, SessionState.JSON_OUT)
"""The states of those who are not in the chat yet."""

_OUTSIDE = (Hello, Login, Help, Ping, Pong, Quit)
"""The requests of users who are not in the chat yet."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The settings for all sessions of a chat.

    :ivar anonymous: whether users without an account may enter.
    :ivar accounts: whether there are accounts.
    :ivar commands: the commands of the application.
    """

    limits: ChatLimits
    anonymous: bool = True
    accounts: bool = False
    commands: Mapping[str, Command] = field(default_factory=dict)


class Session:
    """The session of one connection.

    :param registry: all users and rooms.
    :param token: returns a random text of 32 hexadecimal digits, different each time.
    :ivar failures: the wrong passwords so far.
    :param secret: whether the connection may carry passwords, because others cannot read it, or
        because the server allows passwords on unencrypted connections.
    """

    __slots__ = (
        "_hello",
        "_registry",
        "_secret",
        "_settings",
        "_token",
        "failures",
        "state",
        "user",
    )

    def __init__(
        self,
        user: User,
        registry: Registry,
        settings: SessionSettings,
        token: Callable[[], str],
        secret: bool,
    ) -> None:
        self.user = user
        self.state = SessionState.NEW
        self._registry = registry
        self._settings = settings
        self._token = token
        self._secret = secret
        self.failures = 0
        self._hello: Hello | None = None  # waits until its password is checked

    # Steps.

    def _step(self, step: Step) -> None:
        self.state = SESSION_TRANSITIONS[self.state, step]

    def export_state(self) -> list[Any]:
        """Return the state, for :meth:`restore_state`."""
        return [self.state.name, self.failures]

    def restore_state(self, state: Sequence[Any]) -> None:
        """Go on where another process has stopped."""
        name, self.failures = state
        self.state = SessionState[name]

    @property
    def is_inside(self) -> bool:
        """Whether the user is in the chat, and not only on the way in or out."""
        return self.state is SessionState.JSON or self.state is SessionState.TEXT

    @property
    def has_ended(self) -> bool:
        """Whether the connection is closed or about to be closed."""
        return self.state is SessionState.ENDED

    def begin(self, now: float, account: str = "") -> list[Action]:
        """Greet a peer that has sent nothing for a moment: programs and browsers speak first.

        :param account: the name in the client's certificate, if the user does not have it yet.
        """
        self.user.account = account or self.user.account
        if self.state is not SessionState.NEW:
            return []
        return self._refuse_banned(now) or self.greet_person(now)

    def first_line(self, is_json: bool, now: float) -> list[Action]:
        """Handle the first line, which decides between the text form and the JSON form."""
        was = self.state
        self._step(Step.JSON_LINE if is_json else Step.TEXT_LINE)
        if was is SessionState.NEW:
            return self._refuse_banned(now) or ([] if is_json else self.greet_person(now))
        if was is not SessionState.GUEST:
            return []
        if is_json:  # a program chooses its name and its rooms itself
            unseen = self._is_unseen()
            actions = self._leave_all()
            if unseen:
                self._registry.give_back_guest_name(self.user)
            return actions
        return [Introduce(self.user)]

    def _refuse_banned(self, now: float) -> list[Action]:
        user = self.user
        try:
            self._registry.check_ban("", user.account, user.host, now)
        except RequestError as error:
            problem = ErrorReply(error.code, error.text)
            return [SendEvent(user, problem), End(user, CLOSED, "banned")]
        return []

    def greet_person(self, now: float) -> list[Action]:
        """Let in who does not have to log in, and tell others to."""
        if self._settings.anonymous or self.user.account:
            return self._let_in(now)
        if self.state is SessionState.NEW:
            self._step(Step.ASK)
        return [SendEvent(self.user, LoginRequired())]

    def _is_unseen(self) -> bool:
        """Return whether nobody was told of this user, who has said nothing."""
        user = self.user
        return not user.account and all(user.name in room.presence.unlisted for room in user.rooms)

    def end(self) -> list[Action]:
        """End the session, because the connection is closed or about to be closed."""
        if self.state is SessionState.ENDED:
            return []
        unseen = self.state is SessionState.GUEST and self._is_unseen()
        self._step(Step.END)
        actions = self._leave_all()
        if unseen:
            self._registry.give_back_guest_name(self.user)
        self._registry.remove(self.user)
        return actions

    def receive(self, request: Request, id: str, now: float) -> list[Action]:
        """Return the actions for a request. An error is an action, too: it is not raised."""
        try:
            if not self.is_inside and not isinstance(request, _OUTSIDE):
                if self.state is SessionState.JSON_OUT:
                    raise RequestError("hello-first", "Say hello first.")
                raise RequestError("login-first", "Log in first: /login NAME PASSWORD")
            actions = _HANDLERS[type(request)](self, request, now)
            if id and type(request) is not SendMessage:  # its id goes with it to the store
                actions = answering(actions, self.user, id)
            return actions
        except RequestError as error:
            return [self._problem(error, id)]

    def _problem(self, error: RequestError, id: str = "") -> Action:
        reply = ErrorReply(error.code, error.text, error.field, id, error.retry_after)
        return SendEvent(self.user, reply)

    # Entering.

    def _greet(self, hello: Hello, now: float) -> list[Action]:
        if self.state is not SessionState.JSON_OUT:
            raise RequestError("again", "You have said hello already.")
        if hello.account or hello.password:
            self._hello = hello
            return self._check(hello.account, hello.password)
        if not (self._settings.anonymous or self.user.account):
            raise RequestError("login-first", "A user and a password are needed.", "user")
        return self._welcome(hello, now)

    def _welcome(self, hello: Hello, now: float) -> list[Action]:
        user, registry = self.user, self._registry
        nick = names.nick(hello.nick) if hello.nick else ""
        room = names.room(hello.room) if hello.room else ""
        if hello.session and not _SESSION.fullmatch(hello.session):
            raise RequestError("bad-field", "session must be one that a welcome gave.", "session")
        if registry.find(user.name) is not user:  # it was given back
            user.name = ""
        registry.check_ban("", user.account, user.host, now)  # they may be banned since the start
        origin = _origin_of(hello.session) if hello.session else ""
        ghost = registry.user_of_session(origin) if origin else None
        keeps = ghost is not None and registry.may_take_name_of(user, ghost, nick)
        if not keeps or user.account:
            nick = prepare_name(registry, user, origin, nick, ghost, now)
        if nick and nick != user.name and not keeps and not user.account:
            registry.rename(user, nick, now)  # first, because it may raise
        actions: list[Action] = []
        if ghost is not None and ghost is not user:
            actions = [
                *moderation.replace(registry, ghost),
                End(ghost, CLOSED, "it has connected anew"),
            ]
            registry.take_name_of(user, ghost) if keeps else registry.remove(ghost)
        if user.account:
            actions += take_account_name(registry, user, now)
        if not user.name:
            registry.assign_guest_name(user)
        session = hello.session or self._token()
        registry.begin_session(user, origin or _origin_of(session))
        self._step(Step.LET_IN)
        actions.append(LetIn(user))
        if user.account:
            actions.append(LogLogin(user))
        elif nick or keeps:
            actions.append(LogName(user, ""))
        actions.append(SendEvent(user, Welcome(user.name, "", session)))
        return actions + (self.receive(Join(room), "", now) if room else [])

    # Accounts.

    def _login(self, login: Login, now: float) -> list[Action]:
        if self.state is SessionState.JSON_OUT:
            raise RequestError("hello-first", "Say hello first, with user and password.")
        return self._check(login.account, login.password)

    def _check(self, account: str, password: str) -> list[Action]:
        if not self._settings.accounts:
            raise RequestError("no-accounts", "There are no accounts here.", "user")
        if not self._secret:
            raise RequestError("not-secret", "Passwords are taken over TLS only.", "password")
        if self.user.account:
            raise RequestError("again", "You are logged in already.", "user")
        if not account or not password:
            raise RequestError("missing", "A user and a password are needed.", "user")
        return [Verify(self.user, account, password)]

    def login_succeeded(self, account: str, now: float) -> list[Action]:
        """Handle a right password. ``account`` is the account's name."""
        user, registry = self.user, self._registry
        hello = self._hello
        try:
            # The address again: it may have been banned since the connection was made.
            registry.check_ban("", account, user.host, now)
            user.account = account
            if self.state is SessionState.JSON_OUT:
                actions = self._welcome(hello or Hello(), now)
                self._hello = None
                return actions
            if self.state is SessionState.TEXT_OUT:
                return self._let_in(now)
            old = user.name
            prepare_account_name(registry, user, now)
            actions = take_account_name(registry, user, now)
        except RequestError as error:
            self._hello = None
            return [self._problem(error)]
        actions += [LogLogin(user), SendEvent(user, NickSet(user.name))]
        return actions + moderation.announce_name(user, old)

    def _let_in(self, now: float) -> list[Action]:
        user, registry = self.user, self._registry
        if user.account:
            prepare_account_name(registry, user, now)
        registry.assign_guest_name(user)
        actions = take_account_name(registry, user, now) if user.account else []
        self._step(Step.LET_IN)
        room = registry.join(user, LOBBY)
        greeting = SendEvent(user, Welcome(user.name, LOBBY))
        actions += [LetIn(user), *([LogLogin(user)] if user.account else []), greeting]
        return [*actions, Enter(user, room, told=False)]

    def login_refused(self, error: RequestError) -> list[Action]:
        """Handle a password that was not checked, because too many logins have failed."""
        self._hello = None
        return [self._problem(error)]

    def login_late(self) -> list[Action]:
        """End the time for logging in."""
        if self.state not in OUTSIDE:
            return []
        seconds = self._settings.limits.login_timeout
        what = "say hello" if self.state is SessionState.JSON_OUT else "log in"
        problem = ErrorReply(
            "login-late", f"You have to {what} within {seconds:g} {noun_for(seconds, 'second')}."
        )
        return [SendEvent(self.user, problem), End(self.user, LOGIN, "it took too long")]

    def change_settings(self, settings: SessionSettings) -> None:
        """Have other settings from now on."""
        self._settings = settings

    def login_failed(self) -> list[Action]:
        """Handle a wrong password."""
        self._hello = None
        self.failures += 1
        problem = SendEvent(self.user, ErrorReply("login-failed", "The login failed.", "password"))
        if self.failures >= MOST_FAILURES:
            return [problem, End(self.user, LOGIN)]
        return [problem]

    # Names.

    def _nick(self, request: Nick, now: float) -> list[Action]:
        user = self.user
        name, old = names.nick(request.nick), user.name
        if name == old:
            return [SendEvent(user, NickSet(name, already=True))]
        if user.account and names.fold(name) != names.fold(user.account):
            owner = self._registry.find(user.account)
            if owner is user:
                raise RequestError("not-allowed", "Your name is that of your account.", "nick")
        self._registry.count_request(user, "nicks", now)
        self._registry.rename(user, name, now)
        return [
            LogName(user, old),
            SendEvent(user, NickSet(name)),
            *moderation.announce_name(user, old),
        ]

    # Rooms.

    def _join(self, request: Join, now: float) -> list[Action]:
        user, registry = self.user, self._registry
        name = names.room(request.room)
        for room in user.rooms:
            if room.name == name:
                user.here = name
                if self.state is SessionState.JSON:  # the program lost messages, so it joins again
                    registry.count_request(user, "joins", now)
                    return [
                        Exit(user, room, quietly=True),
                        Enter(user, room, request.since, quietly=True),
                    ]
                return [SendEvent(user, Notice(f"You talk in #{name} now."))]
        if len(user.rooms) >= self._settings.limits.rooms:
            most = self._settings.limits.rooms
            raise RequestError("too-many-rooms", f"You may be in {counted(most, 'room')}.", "room")
        registry.count_request(user, "joins", now)
        if name not in registry.rooms:
            registry.count_request(user, "new_rooms", now)
        room = registry.join(user, name)
        return [Enter(user, room, request.since)]

    def _leave(self, request: Leave, now: float) -> list[Action]:
        user, registry = self.user, self._registry
        room = registry.room_of(user, names.room(request.room) if request.room else "")
        registry.leave(user, room)
        return [Exit(user, room), SendEvent(user, RoomLeft(room.name, user.here))]

    def _leave_all(self) -> list[Action]:
        actions: list[Action] = []
        for room in list(self.user.rooms):
            self._registry.leave(self.user, room)
            actions.append(Exit(self.user, room))
        return actions

    def _topic(self, request: Topic, now: float) -> list[Action]:
        user = self.user
        room = self._registry.room_of(user, names.room(request.room) if request.room else "")
        if request.topic is None:
            return [SendEvent(user, TopicEvent(room.name, room.topic))]
        self._registry.check_mute(user, now)
        topic = "" if request.topic == "-" else request.topic
        if len(topic) > LONGEST_TOPIC:
            raise RequestError(
                "too-long", f"A topic has at most {LONGEST_TOPIC} characters.", "topic"
            )
        self._registry.count_request(user, "topics", now)
        room.topic = topic
        return [Announce(room, TopicEvent(room.name, topic, user.name))]

    # Messages.

    def _say(self, request: SendMessage, now: float) -> list[Action]:
        user = self.user
        name = names.room(request.room) if request.room else ""
        room = self._registry.room_to_speak_in(user, name, now)
        message = Message(user.name, request.text, now, request.action, user.origin, request.id)
        return [Append(user, room, message)]

    def _tell(self, request: SendPrivate, now: float) -> list[Action]:
        user, registry = self.user, self._registry
        if request.id and (user.origin, request.id) in registry.delivered:  # its ack was lost
            return [SendEvent(user, Delivered(request.to, request.text, request.id))]
        registry.check_mute(user, now)
        to = registry.require_user(request.to)
        actions: list[Action] = []
        if to not in registry.ignorers(user):  # senders do not learn of it
            actions.append(SendEvent(to, PrivateMessage(user.name, request.text, now)))
        if request.id:
            registry.delivered.add(user.origin, request.id)
        return [*actions, SendEvent(user, Delivered(to.name, request.text, request.id))]


def _origin_of(session: str) -> str:
    """Return the origin of a session.

    Only this hash is kept. Whoever reads the store, or what an upgrade moves, cannot continue a
    session.
    """
    return hashlib.blake2b(session.encode(), digest_size=12).hexdigest()


_HANDLERS: dict[type, Callable[[Session, Any, float], list[Action]]] = {
    Hello: Session._greet,
    Login: Session._login,
    Join: Session._join,
    Leave: Session._leave,
    SendMessage: Session._say,
    SendPrivate: Session._tell,
    Nick: Session._nick,
    Who: lambda session, request, now: queries.who(session._registry, session.user, request),
    Rooms: lambda session, request, now: queries.rooms(session._registry, session.user),
    Topic: Session._topic,
    History: lambda session, request, now: queries.history(
        session._registry, session.user, request, session._settings.limits.page
    ),
    Ignore: lambda session, request, now: moderation.ignore(
        session._registry, session.user, request, session._settings.limits.ignored
    ),
    Kick: lambda session, request, now: moderation.kick(session._registry, session.user, request),
    Ban: lambda session, request, now: moderation.ban(
        session._registry, session.user, request, now
    ),
    Bans: lambda session, request, now: moderation.bans(session._registry, session.user, now),
    Mute: lambda session, request, now: moderation.mute(
        session._registry, session.user, request, now
    ),
    Help: lambda session, request, now: queries.help(
        session.user, request, session._settings.commands
    ),
    Ping: lambda session, request, now: [SendEvent(session.user, Pong())],
    Pong: lambda session, request, now: [],
    Quit: lambda session, request, now: [End(session.user, QUIT)],
    CallCommand: lambda session, request, now: [RunCommand(session.user, request)],
}
