"""The protocol of the chat, and the factory that carries out the actions of the sessions."""

from __future__ import annotations

import secrets
import time
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, Unpack

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocolNegotiationFactory,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_net import __version__
from twisted_net.chat import moderation, names
from twisted_net.chat.actions import (
    Action,
    Announce,
    Append,
    AskProcess,
    ClaimName,
    End,
    Enter,
    Exit,
    Introduce,
    KeepBan,
    LetIn,
    ListElsewhere,
    LogLogin,
    LogName,
    ReadHistory,
    RunCommand,
    SendEvent,
    Verify,
    answering,
)
from twisted_net.chat.bans import Sanction
from twisted_net.chat.channel import Channel
from twisted_net.chat.codecs.codec import Codec
from twisted_net.chat.codecs.json_codec import JsonCodec
from twisted_net.chat.codecs.own_commands import own_tables
from twisted_net.chat.codecs.text_codec import TextCodec
from twisted_net.chat.extension.checks import Checks
from twisted_net.chat.extension.running import error_reply, run_command
from twisted_net.chat.extension.user import ChatUser, CommandFunction
from twisted_net.chat.foreign import MAY_BE_REQUEST, TLS_RECORD, Foreign, recognise
from twisted_net.chat.greeting import BROWSER_DELAY, GREETING_DELAY, RecentBrowsers
from twisted_net.chat.identity_log import (
    log_failed_login,
    log_login,
    log_name,
    log_refused_login,
)
from twisted_net.chat.limits import LONGEST_ID, LONGEST_NAME, LONGEST_TOPIC, ChatLimits
from twisted_net.chat.login import Accounts
from twisted_net.chat.login_throttle import delay_after
from twisted_net.chat.members import Member, store_error_text
from twisted_net.chat.messages import (
    ChatError,
    ErrorReply,
    Event,
    Goodbye,
    HistoryPage,
    MemberJoined,
    MemberLeft,
    Notice,
    Request,
    RequestError,
)
from twisted_net.chat.registry import Registry, Room, User
from twisted_net.chat.request_rates import RequestRates
from twisted_net.chat.session import UNDECIDED, Session, SessionSettings, SessionState
from twisted_net.chat.shared.cluster import Cluster
from twisted_net.chat.stored_bans import StoredBans
from twisted_net.connection.addresses import is_loopback
from twisted_net.connection.broadcast import WriteScheduler
from twisted_net.connection.connection import Connection
from twisted_net.connection.countdown import Countdown
from twisted_net.connection.factory import ConnectionFactory, FactorySettings
from twisted_net.connection.timers import TICK
from twisted_net.policy.close_reasons import (
    BAD_INPUT,
    CLOSED,
    PEER_CLOSED,
    PEER_RESET,
    SLOW,
    CloseReason,
)
from twisted_net.policy.limits import LimitChanges, Limits
from twisted_net.store.interface import (
    SharedStore,
    Store,
    StoreError,
    export_store,
    restore_store,
    store_trouble,
)
from twisted_net.store.log import Message, Page, Position
from twisted_net.store.memory import MemoryStore
from twisted_net.tls.key_pairs import peer_subject
from twisted_net.wire.framing import SkippingLines, TooLong
from twisted_net.wire.line_editing import edit_line
from twisted_net.wire.telnet import Telnet
from twisted_net.wire.text import counted, printable, strip_invisible

HTTP_ALPN = b"http/1.1"
"""What browsers offer by ALPN (RFC 7301). Programs of the chat, and ``openssl``, offer nothing."""

PRESENCE_DELAY = 0.2
"""Seconds for which joins and leaves are batched before they are announced."""

SILENT_PRESENCE_DELAY = 3.0
"""Seconds after which the join of a user is announced who has not said anything. A check that only
holds the port for a moment is not announced."""

MAX_MESSAGE = 8192
"""Default maximum bytes in a line. IRC has 512 (RFC 2812), or 8191 for tags (IRCv3)."""

MOVE_LOOK = 0.002
"""Seconds between two looks whether rooms still wait for the store, before an upgrade."""

_log = Logger()

TEXT = TextCodec()
TAGGED = TextCodec(tagged=True)

_WITHOUT_LAST_WORDS = (PEER_CLOSED, PEER_RESET, SLOW)  # the peer would not read a goodbye

LINE_TIMEOUTS = 10
"""Who types key by key has ``message_timeout`` from key to key, and so many times as long for a
whole line: five minutes by default. Whoever is slower does not type, but keeps the server busy."""


class ChatProtocol(Member):
    """A connection of the chat: a user with ``nc`` or telnet, or a program that speaks JSON.

    :ivar user: the connection's user.
    :ivar session: the connection's session.
    """

    framing = SkippingLines
    shared_keys = (*Member.shared_keys, "codec", "user", "session")
    reads_while_full = True  # the messages of others fill the queue: do not stop reading for that

    factory: ChatFactory
    codec: Codec = TEXT
    user: User
    session: Session

    _telnet: Telnet | None = None
    _request: bytes | None = None  # what has come, while the first line may be one of HTTP
    login_after = 0.0  # the time until which the next password waits, after a wrong one
    _line_began: tuple[int, int] = -1, 0  # for who types: which message it is, and the tick

    @property
    def name(self) -> str:
        """The user's current name."""
        return self.user.name

    @property
    def form(self) -> str:
        return "text" if self.codec.is_text else "json"

    def name_for_log(self) -> str:
        return self.name if self.ready else ""

    @property
    def certificate_name(self) -> str:
        """The subject of the client's certificate; empty if it has none."""
        return peer_subject(self.transport) or ""

    @property
    def is_confidential(self) -> bool:
        """Whether nobody on the way can read passwords."""
        return self.is_encrypted or isinstance(self.peer, UNIXAddress)

    def connected(self) -> None:
        gateway = self.factory.gateway
        if gateway is not None and negotiated_protocol(self.transport) == HTTP_ALPN:
            gateway.take_over(self, b"")
        else:
            self.factory.enter(self)

    def dataReceived(self, data: bytes) -> None:
        if not self.bytes_received and self.ready:
            foreign = recognise(data) if data[:2] == TLS_RECORD else None
            if foreign is not None:  # now, because no line feed may follow
                self._turn_away(foreign)
                return
            if self.factory.gateway is not None and MAY_BE_REQUEST.match(data):
                self._request = b""
        if self._request is not None:
            self._request += data
        if b"\xff" in data or self._telnet is not None:
            data = self._without_telnet(data)
        super().dataReceived(data)

    def message_received(self, message: bytes | TooLong) -> Coroutine[Any, Any, None] | None:
        if self.session.state in UNDECIDED and message:
            named = self.factory.wait_for_name(self)
            if named is None:
                first = self._first_line(message)
                if first is None:
                    return None
                message = first
                named = self.factory.wait_for_name(self)
            if named is not None:
                return self._receive_after(named, message)
        id = ""
        try:
            if isinstance(message, TooLong):
                what = f"A line has at most {message.max_size} bytes; yours was not sent."
                too_long = RequestError("too-long", what)
                too_long.id = self.codec.read_id(message.start)
                raise too_long
            request, id = self.codec.parse(message)
            waiting = None if request is None else self.factory.receive(self, request, id)
        except ChatError as error:
            self.send_event(error_reply(error), getattr(error, "id", "") or id)
            return None
        return None if waiting is None else self._finish(waiting, id)

    async def _receive_after(self, waiting: Awaitable[None], message: bytes | TooLong) -> None:
        await waiting
        if self.reason is None:
            more = ChatProtocol.message_received(self, message)
            if more is not None:
                await more

    async def _finish(self, waiting: Awaitable[None], id: str) -> None:
        try:
            await waiting
        except ChatError as error:
            self.send_event(error_reply(error), id)

    def _first_line(self, message: bytes | TooLong) -> bytes | TooLong | None:
        """Decide by the first line which form the peer speaks.

        :return: the line as that form takes it; None if there is nothing to do with it.
        """
        typed = edit_line(message) if isinstance(message, bytes) else message.start
        foreign = recognise(typed, isinstance(message, bytes))
        if foreign is not None:
            self._turn_away(foreign)
            return None
        if self._request is not None:  # a new attribute would cost each connection a dictionary
            self._request = None
        json = _from_brace(typed)
        if isinstance(message, bytes):
            if not strip_invisible(typed.decode(errors="replace")):
                return None
            # JSON may contain what is an editing key.
            message = (json and _from_brace(message)) or json or typed
        self.decide(bool(json), message if isinstance(message, bytes) else message.start)
        return None if self.reason is not None else message  # it may be banned

    @property
    def json_codec(self) -> Codec:
        """The codec of this connection if it speaks JSON."""
        return self.factory.json

    def decide(self, is_json: bool, line: bytes) -> None:
        """Speak the text form or the JSON form, as the peer's first line shows."""
        if is_json:
            self.codec = self.json_codec
            self.start_heartbeat(self.factory.heartbeat)
            self.factory.limit_login(self)
        self.factory.spoke(self)
        actions = self.session.first_line(is_json, self.factory.now())
        if actions:  # a ban is an answer, too
            self.factory.act(answering(actions, self.user, self.codec.read_id(line)))

    def has_more_time(self) -> bool:
        """Who types key by key may take longer for a line; see :data:`LINE_TIMEOUTS`."""
        if not self.codec.is_text:
            return False
        now = self.factory.timers.wheel.now
        message, began = self._line_began
        if message != self.messages_received:
            self._line_began = self.messages_received, now
            return True
        return (now - began) * TICK < LINE_TIMEOUTS * self.factory.limits.message_timeout

    def _turn_away(self, foreign: Foreign) -> None:
        """Answer a peer that speaks another protocol, and close without a goodbye in ours."""
        self.factory.act(self.session.end())
        request, gateway = self._request, self.factory.gateway
        if foreign.protocol == "HTTP" and request is not None and gateway is not None:
            self.factory.leave_for_http(self)
            gateway.take_over(self, request)
            return
        self.send_encoded(foreign.answer)
        super().close(BAD_INPUT, f"it speaks {foreign.protocol}")

    def disconnected(self, reason: CloseReason) -> None:
        self.factory.act(self.session.end())
        self.factory.leave(self)

    def missed_notice(self, count: int) -> bytes:
        return self.codec.encode(
            Notice(f"You read too slowly and missed {counted(count, 'line')}.")
        )

    def close(self, reason: CloseReason = CLOSED, detail: str = "", id: str = "") -> None:
        """Say goodbye and close.

        :param id: the id of the request that asked for it.
        """
        if self.reason is None and self.ready:
            self.factory.act(self.session.end())
            if reason not in _WITHOUT_LAST_WORDS:
                self.send_event(Goodbye(reason), id)
        super().close(reason, detail)

    def _without_telnet(self, data: bytes) -> bytes:
        if not self.codec.is_text:
            self._telnet = None
            return data
        if self._telnet is None:
            self._telnet = Telnet()
        data, answers = self._telnet.feed(data)
        if answers:
            self.send_encoded(answers, 0)
        return data

    def send_ping(self) -> None:
        self.send_encoded(self.codec.ping)

    def why_it_stays(self) -> str:
        return super().why_it_stays() or ("it has ended" if self.session.has_ended else "")

    def save_state(self) -> dict[str, Any]:
        state = self.factory.export_member(self)
        if self._telnet is not None:
            state["telnet"] = self._telnet.export_state()
        if self._request is not None:
            state["request"] = self._request
        if self.login_after:
            state["login_after"] = max(0.0, self.login_after - self.factory.clock.seconds())
        message, began = self._line_began
        if message == self.messages_received:
            state["line_age"] = self.factory.timers.wheel.now - began
        return state

    def load_state(self, state: Mapping[str, Any], /) -> None:
        if "telnet" in state:
            self._telnet = Telnet()
            self._telnet.restore_state(state["telnet"])
        if "request" in state:
            self._request = state["request"]
        if "login_after" in state:
            self.login_after = self.factory.clock.seconds() + state["login_after"]
        if "line_age" in state:
            began = self.factory.timers.wheel.now - state["line_age"]
            self._line_began = self.messages_received, began
        self.factory.restore_member(self, state)


def negotiated_protocol(transport: Any) -> bytes | None:
    """Return what TLS has negotiated, if anything."""
    found: bytes | None = getattr(transport, "negotiatedProtocol", None)
    return found


def _reservable(name: str) -> str:
    try:
        return names.nick(name)
    except RequestError as error:
        raise ValueError(f"reserved: {name!r}: {error.text}") from None


def _overridden(method: Any, base: Any) -> Any:
    return None if getattr(method, "__func__", method) is base else method


def _from_brace(line: bytes) -> bytes:
    """Return a line from its ``{`` on, if only what nobody sees comes before; else nothing."""
    seen = strip_invisible(line.decode(errors="replace"))
    return line[line.index(b"{") :] if seen[:1] == "{" else b""


class Gateway(Protocol):
    """Serves peers that speak HTTP on the chat's port: pages and WebSockets."""

    def take_over(self, connection: ChatProtocol, data: bytes, /) -> None:
        """Go on with the transport of a connection, which has no session any more.

        :param data: what the peer has sent.
        """

    @property
    def compressed_bytes(self) -> int:
        """The bytes of compressed messages, each counted once for all its receivers."""

    def change_limits(self, **changes: Unpack[LimitChanges]) -> None:
        """Change some limits of the connections that pages are served on."""

    def member(self) -> ChatProtocol:
        """Return a member that is not connected yet."""

    def refuse(self, addr: IAddress | None, reason: CloseReason, /) -> Any:
        """Return a protocol that tells a client why it may not stay; None if it need not."""


@implementer(IProtocolNegotiationFactory)
class ChatFactory(ConnectionFactory):
    """A chat server, with all connected users and all non-empty rooms.

    :param store: stores the messages; by default in memory. See :func:`store_from_url`.
    :param chat_limits: the limits of the chat.
    :param checkers: credential checkers for passwords; without any, there are no accounts.
    :param anonymous: whether users without an account may enter.
    :param operators: the accounts that may kick, ban and mute users. Nobody else may have their
        names, or names that look alike.
    :param reserved: further names that only the accounts of these names may have.
    :param plain_logins: whether to accept passwords on unencrypted connections.
    :param commands: further commands: functions that take a :class:`ChatUser` and the arguments of
        the command, which are annotated as ``str``, ``int``, ``float`` or ``bool``. The name of a
        function is that of the command in the text form, and the type of the request in the JSON
        form; the first line of its docstring is its help. It may raise :exc:`ChatError`, and may be
        ``async``: the user's next message waits for it.
    :param now: returns the time, in seconds since 1970.
    :param token: returns a random text of 32 hexadecimal digits, different each time.
    :param settings: as for :class:`ConnectionFactory`. A line has at most :data:`MAX_MESSAGE`
        bytes by default.
    :raises ValueError: a reserved name is none, a command cannot be one, or a setting is invalid;
        the text names it.
    """

    protocol = ChatProtocol

    def __init__(
        self,
        *,
        store: Store | None = None,
        chat_limits: ChatLimits | None = None,
        checkers: Sequence[ICredentialsChecker] = (),
        anonymous: bool = True,
        operators: Iterable[str] = (),
        reserved: Iterable[str] = (),
        plain_logins: bool = False,
        commands: Iterable[CommandFunction] = (),
        now: Callable[[], float] = time.time,
        token: Callable[[], str] = lambda: secrets.token_hex(16),
        **settings: Unpack[FactorySettings],
    ) -> None:
        if settings.get("limits") is None:
            settings["limits"] = Limits(max_message=MAX_MESSAGE)
        super().__init__(**settings)
        self.now = now
        self.chat_limits = chat_limits or ChatLimits()
        origin = token()[:12]  # short, because it is stored with messages
        self._rates = RequestRates(self.chat_limits)
        self.registry = Registry(
            self.chat_limits.all_rooms,
            list(operators),
            origin,
            list(map(_reservable, reserved)),
            self._rates,
        )
        self.accounts = Accounts(checkers)
        own, self._requests = own_tables(commands)
        self._text = TextCodec(own=own) if own else TEXT
        self._tagged = TextCodec(tagged=True, own=own) if own else TAGGED
        self._silent = Countdown(GREETING_DELAY, self._greet)
        self._silent_near_browsers = Countdown(BROWSER_DELAY, self._greet)
        self._browsers = RecentBrowsers()
        self._logging_in = Countdown(self.chat_limits.login_timeout, self._end_login)
        self.gateway: Gateway | None = None  # without one, HTTP is turned away
        self.gateways: list[Gateway] = []  # that one, and those of other ports
        self._settings = SessionSettings(self.chat_limits, anonymous, bool(checkers), own)
        self._token = token
        self._plain_logins = plain_logins
        self._store = store or MemoryStore(now, token)
        self._stored_bans = StoredBans(self._store, self.registry.bans, now)
        self._cluster: Cluster | None = None
        if isinstance(self._store, SharedStore):
            self._cluster = Cluster(self._store, self, self._stored_bans, self._end_banned)
        self._started = False
        self._channels: dict[Room, Channel] = {}
        self._unannounced: dict[Room, None] = {}  # rooms with joins or leaves to announce
        self._announcement: IDelayedCall | None = None
        self._moved: dict[ChatProtocol, Mapping[str, Any]] = {}  # until all are adopted
        self._moved_rooms: list[Any] = []
        self._moved_presence: tuple[list[str], float | None] = [], None
        self._closing_store: Deferred[None] | None = None  # while an upgrade takes place

    @property
    def compressed_bytes(self) -> int:
        return sum(each.compressed_bytes for each in self.gateways)

    # The store.

    opens_store = True
    """Whether the store is opened when somebody listens. Otherwise, call :meth:`start_store`."""

    def acceptableProtocols(self) -> list[bytes]:
        """Return what TLS may negotiate."""
        return [] if self.gateway is None else [HTTP_ALPN]

    def startFactory(self) -> None:
        if self.opens_store:
            self.start_store()

    def start_store(self) -> None:
        """Open the store, unless it is open.

        :raises StoreError: the store cannot be opened.
        """
        if not self._started:
            self._store.start()
            self._started = True
            if self._cluster is not None:
                self._cluster.start()
            else:
                self._stored_bans.load(self._end_banned)

    @property
    def store_trouble(self) -> str:
        """Why the store cannot be used now, in one sentence; empty if it can."""
        return store_trouble(self._store)

    def _end_banned(self) -> None:
        self.act(moderation.end_banned(self.registry, self.now()))

    def stop_store(self) -> Deferred[None]:
        """Store all pending messages and close the store."""
        self._started = False
        if self._cluster is not None:
            self._cluster.stop()
        return self._store.stop()

    @cached_property
    def _scheduler(self) -> WriteScheduler:
        return WriteScheduler(self.clock)

    # For programs.

    @cached_property
    def heartbeat(self) -> float:
        """Seconds of silence after which a program is pinged; at most half the idle timeout."""
        idle = self.limits.idle_timeout
        return min(self.chat_limits.heartbeat, idle / 2) if idle else self.chat_limits.heartbeat

    @cached_property
    def json(self) -> JsonCodec:
        """The codec for programs, with the limits of this server."""
        server = f"twisted_net/{__version__}"
        return JsonCodec(server, self.heartbeat, self._announced(), self._requests)

    def _announced(self) -> dict[str, int]:
        chat = self.chat_limits
        return {
            "message": self.limits.max_message,
            "nick": LONGEST_NAME,
            "topic": LONGEST_TOPIC,
            "id": LONGEST_ID,
            "rooms": chat.rooms,
            "history": chat.page,
            "recover": chat.recover,
        }

    # Changes while it serves.

    def change_limits(self, **changes: Unpack[LimitChanges]) -> None:
        super().change_limits(**changes)
        self._announce_limits()
        for gateway in self.gateways:
            gateway.change_limits(**changes)

    def change_chat_limits(self, limits: ChatLimits) -> None:
        """Change the limits of the chat, for all who are there.

        A program keeps the heartbeat that its welcome has announced. New rates begin with as many
        requests as they allow a minute.
        """
        before, self.chat_limits = self.chat_limits, limits
        if limits == before:
            return
        self.registry.most_rooms = limits.all_rooms
        self._rates.change(limits)
        self._settings = replace(self._settings, limits=limits)
        for connection in self.connections.values():
            session = getattr(connection, "session", None)  # it may still be in its handshake
            if session is not None:
                session.change_settings(self._settings)
        for channel in self._channels.values():
            channel.change_limits(limits)
        if limits.login_timeout != before.login_timeout:
            self._logging_in.change(limits.login_timeout, self.clock)
        self._announce_limits()

    def change_accounts(self, operators: Iterable[str], reserved: Iterable[str]) -> None:
        """Change the operators and the reserved names, for all who are there.

        A guest who has a name that is reserved now keeps it until the account logs in.

        :raises ValueError: a reserved name is none; nothing has changed.
        """
        self.registry.change_accounts(list(operators), list(map(_reservable, reserved)))

    def _announce_limits(self) -> None:
        """Tell the new limits to the programs that come from now on."""
        self.__dict__.pop("heartbeat", None)  # to be counted anew
        self.json.announce(self.heartbeat, self._announced())

    def reject(self, addr: IAddress | None, reason: CloseReason) -> Any:
        """Tell a client in what it speaks, if there is a gateway; else in a line."""
        told = None if self.gateway is None else self.gateway.refuse(addr, reason)
        return super().reject(addr, reason) if told is None else told

    def rejection_message(self, reason: CloseReason) -> bytes:
        return f"! {reason.text}\n".encode()

    def send_to_all(self, message: str, but: Any = None) -> None:
        """Send a notice to all connected users except ``but``. A leading ``* `` is removed."""
        notice = Notice(printable(message.removeprefix("* ")))
        for connection in list(self.connections.values()):
            if (
                isinstance(connection, ChatProtocol)
                and connection.ready
                and connection is not but
                and connection.session.state is not SessionState.NEW  # it may speak HTTP
            ):
                connection.send_event(notice)

    # Entering and leaving.

    def _begin_session(self, connection: ChatProtocol) -> None:
        host = getattr(connection.peer, "host", "")
        user = connection.user = User(connection, "" if is_loopback(host) else host)
        if self._text is not TEXT:
            connection.codec = self._text
        secret = self._plain_logins or connection.is_confidential
        if self._cluster is None:
            session = Session(user, self.registry, self._settings, self._token, secret)
        else:
            session = self._cluster.session(user, self._settings, self._token, secret)
        connection.session = session

    def enter(self, connection: ChatProtocol) -> None:
        """Begin the session of a new connection."""
        self._begin_session(connection)
        connection.user.account = connection.certificate_name
        host = getattr(connection.peer, "host", "")
        is_near = self._browsers.is_near(host, self.clock.seconds())
        silent = self._silent_near_browsers if is_near else self._silent
        silent.start(connection, self.clock)
        self.limit_login(connection)

    def spoke(self, connection: ChatProtocol) -> None:
        """Do not greet a connection any more as one that is silent."""
        self._silent.stop(connection)
        self._silent_near_browsers.stop(connection)

    def leave(self, connection: ChatProtocol) -> None:
        """Forget a connection that has ended."""
        self.spoke(connection)
        self._logging_in.stop(connection)
        self.registry.forget_origin(connection.user)

    def leave_for_http(self, connection: ChatProtocol) -> None:
        """Forget a connection whose peer speaks HTTP."""
        self.leave(connection)
        self._browsers.add(getattr(connection.peer, "host", ""), self.clock.seconds())

    def _greet(self, connection: ChatProtocol) -> None:
        """Greet a peer that has been silent, unless its first line is on its way."""
        if self._closing_store is not None:  # rooms cannot be entered now
            self._silent.start(connection, self.clock)
        elif connection.reason is None and not connection.is_incomplete:
            self.act(connection.session.begin(self.now()))

    def limit_login(self, connection: ChatProtocol) -> None:
        """Start the time that a connection has for logging in, or for a program's hello."""
        if self.chat_limits.login_timeout:
            self._logging_in.start(connection, self.clock)

    def _end_login(self, connection: ChatProtocol) -> None:
        if connection.reason is None:
            self.act(connection.session.login_late())

    def wait_for_name(self, connection: ChatProtocol) -> Deferred[None] | None:
        """Return what fires when a connection has the name that it waits for; None for none."""
        return None if self._cluster is None else self._cluster.wait_for_name(connection.user)

    def announce_here(self, room: Room, event: Event, but: User | None = None) -> None:
        """Send an event to the members of a room who are in this process."""
        self._channel(room).announce(event, None if but is None else but.connection)

    def tell_loss(self, room: str, at: Position) -> None:
        """Tell the members of a room in this process that messages were lost."""
        here = self.registry.rooms.get(room)
        if here is not None and here in self._channels:
            self._channels[here].tell_loss(at)

    def expel(self, user: User, room: Room) -> None:
        """Remove a user from a room that the store cannot open."""
        if room in user.rooms:
            self.registry.leave(user, room)
            self._exit(user, room, True)

    # Requests and actions.

    def check_join(self, user: ChatUser, room: str) -> Awaitable[None] | None:
        """Override it to refuse users who want to join a room: raise :exc:`ChatError`.

        It may be ``async``, as all checks: the user's next message waits for it. If it fails
        otherwise, that is logged, and the request is refused. Text users begin in the lobby, and
        are not checked for that.
        """
        return None

    def check_text(self, user: ChatUser, room: str, text: str) -> Awaitable[None] | None:
        """Override it to refuse a message or a topic: raise :exc:`ChatError`.

        :param room: the room that would see it; empty for a private message.
        """
        return None

    def check_nick(self, user: ChatUser, nick: str) -> Awaitable[None] | None:
        """Override it to refuse a name that a user asks for: raise :exc:`ChatError`.

        The names of guests and of accounts are not checked.
        """
        return None

    @cached_property
    def _checks(self) -> Checks | None:
        checks = (
            _overridden(self.check_join, ChatFactory.check_join),
            _overridden(self.check_text, ChatFactory.check_text),
            _overridden(self.check_nick, ChatFactory.check_nick),
        )
        return Checks(*checks) if any(checks) else None  # most chats have none: save their time

    def receive(
        self, connection: ChatProtocol, request: Request, id: str
    ) -> Awaitable[None] | None:
        """Handle a request. Override it to inspect, change or drop requests.

        :param id: the id that a program gave its message.
        :return: fires when the connection may process its next message; None for at once.
        :raises ChatError: the request is refused; the user is told.
        """
        if self._checks is not None:
            return self._checks.receive(self, connection, request, id)
        return self.act(connection.session.receive(request, id, self.now()))

    def act(self, actions: Iterable[Action]) -> Deferred[None] | None:
        """Carry out the actions of a session.

        :return: fires when the connection may process its next message; None for at once.
        """
        waiting = None
        for action in actions:
            match action:
                case Append(user, room, message):
                    self._append(user, room, message)
                case SendEvent(user, event, id):
                    user.connection.send_event(event, id)
                case Announce(room, event, but, id):
                    self._channel(room).announce(event, None if but is None else but.connection, id)
                    if self._cluster is not None:
                        self._cluster.announced(room, event, but.origin if but is not None else "")
                case Enter(user, room, since, told, quietly, id):
                    self._enter(user, room, quietly)
                    self._channel(room).enter(user, since, told, id)
                case Exit(user, room, quietly):
                    self._exit(user, room, quietly)
                case ReadHistory():
                    self._read_history(action)
                case KeepBan(user, key, ban, id):
                    self._keep_ban(user, key, ban, id)
                case Verify():
                    waiting = Deferred.fromCoroutine(self._verify(action))
                case RunCommand():
                    waiting = Deferred.fromCoroutine(run_command(self, action))
                case LetIn(user):
                    self._logging_in.stop(user.connection)
                case Introduce(user):
                    self._introduce(user)
                case LogLogin(user):
                    log_login(user)
                case LogName(user, old):
                    log_name(user, old)
                case End(user, reason, detail, id):
                    user.connection.close(reason, detail, id)
                case ClaimName() | AskProcess() | ListElsewhere():
                    assert self._cluster is not None  # only a session of its makes them
                    waiting = self._cluster.act(action)
        return waiting

    def _append(self, user: User, room: Room, message: Message) -> None:
        channel = self._channel(room)
        if message.sender in room.presence.arrivals:  # announce the sender's join first
            room.presence.introduce(message.sender)
            if room.take_leave(message.sender):  # the name's former user
                channel.announce(MemberLeft(room.name, message.sender), user.connection)
            channel.announce(MemberJoined(room.name, message.sender), user.connection)
        try:
            channel.submit(message)
        except RequestError as error:
            user.connection.send_event(ErrorReply(error.code, error.text, id=message.id))

    def _enter(self, user: User, room: Room, quietly: bool) -> None:
        if not quietly:
            is_silent = user.connection.session.state is SessionState.GUEST
            delay = SILENT_PRESENCE_DELAY if is_silent else PRESENCE_DELAY
            room.presence.came(user.name, self.clock.seconds() + delay)
            self._announce_soon(room)
        if len(user.rooms) > 1:
            self._mark_rooms(user, self._text, self._tagged)

    def _exit(self, user: User, room: Room, quietly: bool) -> None:
        self._channel(room).leave(user.connection)
        if not quietly:
            room.presence.left(user.name, self.clock.seconds() + PRESENCE_DELAY)
        if room.users:
            if not quietly:
                self._announce_soon(room)
        else:
            self._close_room(room)
        if len(user.rooms) == 1:
            self._mark_rooms(user, self._tagged, self._text)

    def _mark_rooms(self, user: User, old: Codec, new: Codec) -> None:
        """Change the codec of a text user: only users in several rooms see each message's room."""
        connection = user.connection
        if connection.codec is old:
            connection.codec = new
            for room in user.rooms:
                self._channel(room).change_codec(connection, old, new)

    def _channel(self, room: Room) -> Channel:
        channel = self._channels.get(room)
        if channel is None:
            registry = self.registry
            channel = self._channels[room] = Channel(
                *(room, self._store, self.clock, self._scheduler, self.chat_limits),
                *(
                    registry,
                    self.expel,
                    None if self._cluster is None else self._cluster.rooms.open,
                ),
            )
        return channel

    def _close_room(self, room: Room) -> None:
        if self.registry.rooms.get(room.name) is room:
            return  # the user leaves the room and joins it again in one step
        self._unannounced.pop(room, None)
        if (
            not self._unannounced and self._announcement is not None
        ):  # no room is left to announce to
            self._announcement.cancel()
            self._announcement = None
        channel = self._channels.pop(room, None)
        if channel is not None:
            channel.close()
        if self._cluster is not None:
            self._cluster.rooms.close(room)

    def _read_history(self, action: ReadHistory) -> None:
        connection, name, id = action.user.connection, action.room.name, action.id

        def show(page: Page) -> None:
            more = bool(page.stored) and page.stored[0].offset > page.first
            connection.send_event(HistoryPage(name, page.epoch, page.stored, more), id)

        def fail(failure: Failure) -> None:
            text = f"The past cannot be read: {store_error_text(failure)}."
            connection.send_event(ErrorReply("store", text), id)

        self._store.before(name, action.before, action.limit).addCallbacks(show, fail)

    def _keep_ban(self, user: User, key: str, ban: Sanction | None, id: str) -> None:
        def kept(why: str) -> None:
            if why:
                text = f"This ends with the server's process, for it cannot be kept: {why}."
                user.connection.send_event(ErrorReply("store", text), id)

        self._stored_bans.keep(key, ban).addCallback(kept)
        if self._cluster is not None:
            self._cluster.ban_kept(key, ban)

    async def _verify(self, action: Verify) -> None:
        user, account = action.user, action.account
        connection, session = user.connection, user.connection.session
        delay = connection.login_after - self.clock.seconds()
        delay = min(max(0.0, delay), delay_after(session.failures))  # the clock may have been set
        try:
            verified = await self.accounts.verify(
                self.clock, account, action.password, user.host, session.failures, delay
            )
        except RequestError as error:
            log_refused_login(user, account)
            self.act(answering(session.login_refused(error), user, action.id))
            return
        if verified is None:
            log_failed_login(user, account)
            connection.login_after = self.clock.seconds() + delay_after(session.failures + 1)
        if connection.reason is None and session.state is not SessionState.ENDED:
            actions = (
                session.login_failed()
                if verified is None
                else session.login_succeeded(verified, self.now())
            )
            more = self.act(answering(actions, user, action.id))
            if more is not None:
                await more

    # Moving to another process, as by an upgrade in place.

    def prepare_move(self) -> Deferred[None]:
        """Wait until no room waits for the store, and close the store: it may be opened once."""
        return Deferred.fromCoroutine(self._prepare_move())

    async def _prepare_move(self) -> None:
        while not all(channel.is_idle for channel in self._channels.values()):
            await deferLater(self.clock, MOVE_LOOK)
        closed: Deferred[None] = Deferred()

        def over(result: Any) -> Any:
            if not closed.called:  # the wait may have been cancelled
                closed.callback(None)
            return result

        if self._cluster is not None:
            await self._cluster.prepare_move()
            return
        self._closing_store = self._store.stop().addBoth(over)
        await closed

    def cancel_move(self) -> None:
        if self._cluster is not None:
            self._cluster.cancel_move()
            self._open_store_again()
            return
        closing, self._closing_store = self._closing_store, None
        if closing is not None:
            closing.addBoth(lambda _: self._open_store_again())

    def _open_store_again(self) -> None:
        try:
            self._store.start()
        except StoreError as error:
            _log.error("The store cannot be opened again: {reason}", reason=str(error))

    def give_up(self, connection: Connection) -> None:
        if isinstance(connection, ChatProtocol):
            for countdown in self._countdowns.values():
                countdown.stop(connection)
        super().give_up(connection)

    def finish_move(self) -> None:
        """End the sessions of those that have stayed: what they would say now would be lost."""
        for connection in list(self.connections.values()):
            if isinstance(connection, ChatProtocol) and connection.ready:
                connection.pause()
                self.act(connection.session.end())

    def moving(self) -> Sequence[Connection]:
        for channel in list(self._channels.values()):
            channel.flush()  # first: it may close those that read too slowly
        return super().moving()

    def export_state(self, moving: Sequence[Connection]) -> dict[str, Any]:
        numbers = {connection.id for connection in moving}
        rooms = [self._export_room(room, numbers) for room in self.registry.rooms.values()]
        return {
            **super().export_state(moving),
            "registry": self.registry.export_state(self.now()),
            "throttle": self.accounts.throttle.export_state(self.clock.seconds()),
            "rooms": [room for room in rooms if room["users"]],
            "browsers": self._browsers.export_state(self.clock.seconds()),
            "unannounced": [room.name for room in self._unannounced],
            "announced_in": self._announced_in(),
            "store": export_store(self._store),
            "cluster": None if self._cluster is None else self._cluster.export_state(),
        }

    def _announced_in(self) -> float | None:
        """Return the seconds until joins and leaves are announced; None if there are none."""
        call = self._announcement
        return None if call is None else max(0.0, call.getTime() - self.clock.seconds())

    def _export_room(self, room: Room, moving: Collection[int]) -> dict[str, Any]:
        users = [user for user in room.users if user.connection.id in moving]
        gone = [user.name for user in room.users if user.connection.id not in moving]
        now = self.clock.seconds()
        channel = self._channels.get(room)
        return {
            "name": room.name,
            "topic": room.topic,
            "users": [user.connection.id for user in users],
            "presence": room.presence.export_state(now, gone, now + PRESENCE_DELAY),
            "at": None if channel is None else channel.at,
        }

    def restore_state(self, state: Mapping[str, Any]) -> None:
        super().restore_state(state)
        self.registry.restore_state(state["registry"], self.now())
        self.accounts.throttle.restore_state(state["throttle"], self.clock.seconds())
        self._browsers.restore_state(state["browsers"], self.clock.seconds())
        restore_store(self._store, state["store"])
        if self._cluster is not None:
            self._cluster.restore_state(state["cluster"])
        self._moved_rooms = state["rooms"]
        self._moved_presence = state["unannounced"], state["announced_in"]

    def make_moved(self, addr: IAddress, state: Mapping[str, Any]) -> Connection:
        if state["own"].get("websocket") is None:
            return super().make_moved(addr, state)
        if self.gateway is None:
            raise ValueError("WebSockets cannot be adopted with --no-web")
        return self.gateway.member()

    @property
    def _countdowns(self) -> dict[str, Countdown[ChatProtocol]]:
        return {
            "silent": self._silent,
            "silent_near": self._silent_near_browsers,
            "logging_in": self._logging_in,
        }

    def export_member(self, connection: ChatProtocol) -> dict[str, Any]:
        """Return what the chat knows of a connection, for :meth:`restore_member`."""
        user, codec = connection.user, connection.codec
        state: dict[str, Any] = {
            "user": self.registry.export_user(user, self.now()),
            "session": connection.session.export_state(),
            "codec": "json" if not codec.is_text else "tagged" if codec is self._tagged else "text",
        }
        if len(connection.broadcasts) > 1:  # what comes at once is sent in this order
            state["heard"] = [
                room.name
                for broadcast in connection.broadcasts
                for room in user.rooms
                if self._channel(room).sends_by(broadcast)
            ]
        for name, countdown in self._countdowns.items():
            left = countdown.left(connection, self.clock)
            if left is not None:
                state[name] = left
        return state

    def restore_member(self, connection: ChatProtocol, state: Mapping[str, Any]) -> None:
        """Go on with a user of another process. The rooms follow: :meth:`all_adopted`."""
        self._begin_session(connection)
        self.registry.restore_user(connection.user, state["user"], self.now())
        connection.session.restore_state(state["session"])
        if state["codec"] == "json":
            connection.codec = connection.json_codec
        elif state["codec"] == "tagged":
            connection.codec = self._tagged
        self._moved[connection] = state

    def all_adopted(self) -> None:
        """Let all users into their rooms again."""
        now = self.clock.seconds()
        made: list[tuple[Room, Any]] = []
        for known in self._moved_rooms:
            users = [
                each.user
                for number in known["users"]
                if isinstance(each := self.connections.get(number), ChatProtocol)
            ]
            room = self.registry.restore_room(known["name"], known["topic"], users)
            room.presence.restore_state(known["presence"], now)
            if self._cluster is not None:
                self._cluster.rooms.restore(room)
            made.append((room, known["at"]))
        self._announce_moved()
        for connection, state in self._moved.items():
            self.registry.restore_rooms_of(connection.user, state["user"].get("rooms", ()))
        for connection, state in self._moved.items():
            for name in state.get("heard") or state["user"].get("rooms", ()):
                self._channel(self.registry.rooms[name]).restore_member(connection)
        for room, at in made:  # last: it may deliver what others have stored meanwhile
            self._channel(room).restore(Position(*at))
        for name, countdown in self._countdowns.items():
            left = {each: state[name] for each, state in self._moved.items() if name in state}
            countdown.restore(left, self.clock)
        self._moved.clear()
        self._moved_rooms = []

    def _announce_moved(self) -> None:
        """Announce joins and leaves when the other process would have done so."""
        names, seconds = self._moved_presence
        if seconds is not None:
            self._announcement = self.clock.callLater(seconds, self._announce_presence)
        rooms = self.registry.rooms
        for name in names:  # also if nothing is left to announce there: others wait for that time
            if name in rooms:
                self._announce_soon(rooms[name])
        for room in rooms.values():
            if room.presence:
                self._announce_soon(room)
        if self._announcement is not None and not self._unannounced:
            self._announcement.cancel()
            self._announcement = None

    # Presence.

    def _introduce(self, user: User) -> None:
        """Announce soon that a user has joined, who has said something now."""
        for room in user.rooms:
            room.presence.hasten(user.name, self.clock.seconds() + PRESENCE_DELAY)
            self._announce_soon(room)

    def _announce_soon(self, room: Room) -> None:
        self._unannounced[room] = None
        if self._announcement is None:
            self._announcement = self.clock.callLater(PRESENCE_DELAY, self._announce_presence)

    def _announce_presence(self) -> None:
        self._announcement = None
        rooms, self._unannounced = list(self._unannounced), {}
        # Leave recent joins for the next time: a health check will be gone by then.
        until = self.clock.seconds() + 0.001
        for room in rooms:
            self.act(moderation.announce_presence(self.registry, room, until))
            if room.presence:
                self._announce_soon(room)
