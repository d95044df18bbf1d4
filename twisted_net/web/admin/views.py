"""What the operator's view shows of one service, and what it can do to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import chain
from operator import attrgetter
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from twisted_net.chat import moderation, names
from twisted_net.chat.messages import Ban, Event, Notice, RequestError
from twisted_net.chat.protocol import ChatFactory
from twisted_net.chat.registry import Room, User
from twisted_net.connection.addresses import format_address
from twisted_net.connection.connection import Connection
from twisted_net.connection.factory import ConnectionFactory
from twisted_net.endpoints.listening import ListenerService
from twisted_net.forward import ForwardProtocol
from twisted_net.policy.ranges import Network, parse_range
from twisted_net.web.admin.counters import Counters
from twisted_net.web.admin.endings import Endings
from twisted_net.web.admin.histogram import Histogram
from twisted_net.web.admin.redaction import hide_secrets, hide_typed_secrets
from twisted_net.web.admin.slices import Slices
from twisted_net.wire.text import counted

_number_of: Callable[[Connection], int] = attrgetter("id")


class CannotBan(ValueError):
    """A ban is not possible. The text says why."""


class CannotReload(ValueError):
    """The configuration cannot be read again. The text says why."""


class ServiceView:
    """What is shown of one service.

    :cvar forms: what its clients usually speak; see :attr:`Connection.form`.
    :param name: the service's name, the label of its metrics.
    :param now: returns the time, in seconds since 1970.
    :param reload: reads the configuration again, and returns a line about it; raises
        :exc:`CannotReload`. It is called with who asks, for the log. None if there is none.
    :ivar upgrade: lets new code go on in another process; None if that is not possible. Fires with
        what was done, or fails.
    :ivar appends: how long the store's appends take; None if there is no store.
    :ivar earlier: what earlier processes have counted, and this one does not count itself.
    """

    forms: ClassVar[tuple[str, ...]] = ("bytes",)

    def __init__(
        self,
        name: str,
        service: ListenerService,
        *,
        appends: Histogram | None = None,
        now: Callable[[], float] = time.time,
        reload: Callable[[str], str] | None = None,
    ) -> None:
        self.reload = reload
        self.name = name
        self.service = service
        self.now = now
        self.appends = appends
        self.endings = Endings(now)
        self.earlier = Counters()
        self.upgrade: Callable[[], Deferred[str]] | None = None
        self._bans: dict[Network, IDelayedCall] = {}

    @property
    def factory(self) -> ConnectionFactory:
        """The service's factory."""
        return self.service.factory

    @property
    def factories(self) -> list[ConnectionFactory]:
        """The service's factory, and those that belong to it."""
        return [self.factory, *self.factory.auxiliaries]

    def connections(self) -> list[Connection]:
        """Return all open connections, by their numbers."""
        first, *others = (list(each.connections.values()) for each in self.factories)
        if not any(others):
            return first
        return sorted(chain(first, *others), key=_number_of)

    def find(self, number: int) -> Connection | None:
        """Return the open connection with this number; None if there is none."""
        for each in self.factories:
            if number in each.connections:
                return each.connections[number]
        return None

    @property
    def connection_count(self) -> int:
        """The number of open connections."""
        return sum(map(len, self.factories))

    def start(self) -> None:
        """Begin to observe."""
        for each in self.factories:
            each.observer = self.endings

    def stop(self) -> None:
        """Stop observing."""
        for each in self.factories:
            each.observer = None
        bans, self._bans = self._bans, {}
        for call in bans.values():
            call.cancel()

    @property
    def not_ready(self) -> str:
        """Why the service is not ready for new clients; empty if it is."""
        problem = self.service.not_ready
        if problem:
            return f"{self.name} {problem}"
        if self.service.is_succeeded:
            return ""  # whatever this process lacks
        trouble = self.store_trouble
        return f"{self.name}: {trouble}" if trouble else ""

    @property
    def store_trouble(self) -> str:
        """Why the service's store cannot be used; empty if it can, or if there is none."""
        return ""

    def describe(self, connection: Connection) -> dict[str, Any]:
        """Return what is special about this service's connections: for example the other side."""
        if not isinstance(connection, ForwardProtocol):
            return {}
        upstream = connection.upstream
        if upstream is None:
            return {"upstream": None}
        shown = {
            "peer": format_address(upstream.peer),
            "state": upstream.state.name.lower(),
            "bytes_received": upstream.bytes_received,
            "bytes_sent": upstream.bytes_sent,
            "queued": upstream.queued,
        }
        return {"upstream": shown}

    def hide(self, message: bytes) -> bytes:
        """Return a message without its passwords."""
        return hide_secrets(message)

    @property
    def room_count(self) -> int | None:
        """The number of rooms; None if the service has none."""
        return None

    def rooms(self) -> list[Room]:
        """Return the rooms, in any order."""
        return []

    def room_name(self, text: str) -> str:
        """Return the name of the room that an operator means.

        :raises ValueError: there cannot be such a room. The text says why.
        """
        raise ValueError(f"{self.name} has no rooms.")

    def members(self, room: str) -> list[Connection]:
        """Return the connections in a room, in any order; none if there is no such room."""
        return []

    # Bans.

    def bans(self) -> list[dict[str, Any]]:
        """Return what is banned."""
        admission = self.factory.admission
        networks = () if admission is None else admission.denied
        clock = self.factory.clock
        found = []
        for network in networks:
            call = self._bans.get(network)
            left = None if call is None else round(call.getTime() - clock.seconds())
            found.append({"target": str(network), "seconds": left})
        return found

    async def ban(self, target: str, minutes: int, text: str) -> str:
        """Ban somebody for some minutes; 0 lifts the ban.

        :return: what was done, one sentence.
        :raises CannotBan: ``target`` is none that can be banned.
        """
        admission = self.factory.admission
        if admission is None:
            raise CannotBan("The service admits everybody.")
        try:
            network = parse_range("target", target)
        except ValueError as error:
            raise CannotBan(f"{error}.") from None
        call = self._bans.pop(network, None)
        if call is not None:
            call.cancel()
        if not minutes:
            try:
                admission.denied.remove(network)
            except ValueError:
                return f"{network} was not banned."
            return f"{network} may connect again."
        if call is None and network in set(admission.denied):
            raise CannotBan(f"{network} is banned already, by --deny.")
        admission.denied.add(network)
        self._bans[network] = self.factory.clock.callLater(60 * minutes, self._lift, network)
        closed = 0
        async for part in Slices(self.factory.clock).of(self.connections()):
            for factory in self.factories:
                own = [each for each in part if each.factory is factory]
                closed += factory.close_denied(own) if own else 0
        done = f"{network} may not connect for {counted(minutes, 'minute')}"
        return f"{done}; {counted(closed, 'connection')} closed."

    # Moving to another process, as by an upgrade in place.

    def export_state(self) -> dict[str, float]:
        """Return the bans that end by themselves, and the seconds that are left of each."""
        now = self.factory.clock.seconds()
        return {str(network): call.getTime() - now for network, call in self._bans.items()}

    def restore_state(self, state: Mapping[str, float]) -> None:
        """Ban whom another process has banned."""
        admission = self.factory.admission
        if admission is None:
            return
        for target, seconds in state.items():
            network = parse_range("target", target)
            if network not in set(admission.denied):
                admission.denied.add(network)
                left = max(0.0, seconds)
                self._bans[network] = self.factory.clock.callLater(left, self._lift, network)

    def _lift(self, network: Network) -> None:
        del self._bans[network]
        if self.factory.admission is not None:
            with suppress(ValueError):  # somebody else has lifted it
                self.factory.admission.denied.remove(network)


class ChatServiceView(ServiceView):
    """What is shown of a chat."""

    forms = ("json", "page", "text", "websocket")

    @property
    def chat(self) -> ChatFactory:
        """The chat."""
        factory = self.factory
        assert isinstance(factory, ChatFactory)
        return factory

    @property
    def store_trouble(self) -> str:
        return self.chat.store_trouble

    def describe(self, connection: Connection) -> dict[str, Any]:
        user: User | None = getattr(connection, "user", None)
        if user is None:
            return {"name": "", "account": "", "rooms": []}
        rooms = [room.name for room in user.rooms]
        return {"name": user.name, "account": user.account, "rooms": rooms}

    def hide(self, message: bytes) -> bytes:
        return hide_typed_secrets(message)

    @property
    def room_count(self) -> int | None:
        return len(self.chat.registry.rooms)

    def rooms(self) -> list[Room]:
        return list(self.chat.registry.rooms.values())

    def room_name(self, text: str) -> str:
        try:
            return names.room(text)
        except RequestError as error:
            raise ValueError(error.text) from None

    def members(self, room: str) -> list[Connection]:
        found = self.chat.registry.rooms.get(room)
        return [] if found is None else [user.connection for user in found.users]

    def bans(self) -> list[dict[str, Any]]:
        now = self.chat.now()
        return [
            {
                "target": each.target,
                "seconds": round(each.until - now),
                "by": each.by,
                "text": each.text,
            }
            for each in self.chat.registry.bans.current(now)
        ]

    async def ban(self, target: str, minutes: int, text: str) -> str:
        console = _Console()
        operator = User(console)
        operator.name, operator.operator = "the operator", True
        try:
            request = Ban(target, minutes, text)
            actions = moderation.ban(self.chat.registry, operator, request, self.chat.now())
        except RequestError as error:
            raise CannotBan(error.text) from None
        self.chat.act(actions)
        return " ".join(console.said)


class _Console:
    """Stands for the connection of an operator who is not in the chat."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def send_event(self, event: Event, id: str = "") -> None:
        said = event.text if isinstance(event, Notice) else getattr(event, "text", "")
        self.said.append(str(said))
