"""Carries out what other processes ask for: each order is a row of the table at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.logger import Logger

from twisted_net.chat import moderation, names
from twisted_net.chat.actions import End, SendEvent
from twisted_net.chat.bans import Sanction, Sanctions, is_in, range_of
from twisted_net.chat.messages import Event, Notice, OwnEvent, PrivateMessage, TopicEvent
from twisted_net.chat.registry import Room, User
from twisted_net.chat.shared.calls import Answer, Order
from twisted_net.chat.shared.chat import LocalChat
from twisted_net.chat.shared.directory import RemoteUser
from twisted_net.chat.shared.forwarding import muted_text
from twisted_net.chat.shared.name_leases import NameLeases
from twisted_net.chat.shared.order_fields import wrong_field
from twisted_net.chat.shared.rooms import SharedRoom
from twisted_net.policy.close_reasons import CLOSED

_log = Logger()

_DONE: Answer = {}


def event_order(room: str, event: Event, but: str) -> Order | None:
    """Return the order to announce an event in a room; None for one that others learn otherwise.

    :param but: the origin of a user who does not get it; may be empty.
    """
    order: dict[str, Any] = {"room": room, "but": but}
    match event:
        case TopicEvent(_, topic, by):
            return {**order, "do": "topic", "topic": topic, "by": by}
        case Notice(text):
            return {**order, "do": "notice", "text": text}
        case OwnEvent(kind, text, fields, _, origin):
            more = {"kind": kind, "text": text, "fields": dict(fields), "origin": origin}
            return {**order, **more, "do": "own"}
    return None


class Orders:
    """Carries out the orders of other processes.

    :param announce: announces an event in a room, in all processes, except to the user with an
        origin.
    """

    def __init__(
        self,
        chat: LocalChat,
        leases: NameLeases,
        announce: Callable[[Room, Event, str], None],
    ) -> None:
        self._chat = chat
        self._registry = chat.registry
        self._leases = leases
        self._announce = announce

    async def carry_out(self, order: Order) -> Answer:
        """Carry out an order, and return the answer."""
        do = order["do"]
        what = _ORDERS.get(do)
        if what is None:  # a later version has more
            _log.warn("Another process asked for {do!r}: unknown", do=do)
            return _DONE
        field = wrong_field(order)
        if field:
            _log.warn("Another process asked for {do!r} with a wrong {field!r}", do=do, field=field)
            return _DONE
        answer = what(self, order)
        return await answer if isinstance(answer, Awaitable) else answer

    # Of users.

    def _private(self, order: Order) -> Answer:
        name, origin, account, host = order["from"]
        sender, id = RemoteUser(name, origin, account, host, ""), order["id"]
        registry = self._registry
        to = registry.find(order["to"])
        if to is None:
            return _DONE
        mark = sender.origin, id
        if not id or mark not in registry.delivered:
            if to not in registry.ignorers(sender):  # senders do not learn of it
                event = PrivateMessage(sender.name, order["text"], self._chat.now())
                self._chat.act([SendEvent(to, event)])
            if id:
                registry.delivered.add(*mark)
        return {"name": to.name}

    def _kick(self, order: Order) -> Answer:
        found = self._registry.find(order["to"])
        if found is None:
            return _DONE
        self._chat.act(moderation.throw_out(found, order["by"], "kicked", order["text"]))
        return {"name": found.name}

    def _say_muted(self, order: Order) -> Answer:
        found = self._registry.find(order["to"])
        if found is None:
            return _DONE
        event = Notice(muted_text(found.name, order["minutes"]))
        for room in found.rooms:
            self._announce(room, event, order["but"])
        return {"name": found.name}

    def _yield(self, order: Order) -> Answer:
        """End the connection of a user whose session goes on in the other process."""
        ghost = self._registry.by_origin.get(order["origin"])
        if ghost is None:
            return _DONE
        delivered = self._registry.delivered.of(ghost.origin)
        self._chat.act([End(ghost, CLOSED, "it has connected anew")])
        self._leases.flush()  # the answer must not be faster than the release of the name
        return {"name": ghost.name, "delivered": delivered}

    async def _evict(self, order: Order) -> Answer:
        """Give users other names, because a user of the other process has the account."""
        name = order["name"]
        keys = set(names.keys(name))
        owners = self._registry.owners(name)
        await self._leases.enough_guests(len(owners))
        for owner in self._registry.owners(name):
            if keys.isdisjoint(names.keys(owner.account)):
                self._chat.act(moderation.evict(self._registry, owner, name))
        self._leases.flush()
        return {"name": name}

    # Of rooms.

    def _topic(self, order: Order) -> Answer:
        room = self._registry.rooms.get(order["room"])
        if isinstance(room, SharedRoom):
            is_told = room.is_topic_told and room.topic == order["topic"]
            room.topic, room.is_topic_told = order["topic"], False
            if is_told:
                return _DONE
        self._announce_event(order, TopicEvent(order["room"], order["topic"], order["by"]))
        return _DONE

    def _notice(self, order: Order) -> Answer:
        self._announce_event(order, Notice(order["text"]))
        return _DONE

    def _own(self, order: Order) -> Answer:
        fields: Mapping[str, Any] = order["fields"]
        event = OwnEvent(order["kind"], order["text"], fields, order["room"], order["origin"])
        self._announce_event(order, event)
        return _DONE

    def _announce_event(self, order: Order, event: Event) -> None:
        room = self._registry.rooms.get(order["room"])
        if room is not None:
            but = self._registry.by_origin.get(order["but"]) if order["but"] else None
            self._chat.announce_here(room, event, but)

    # Of all.

    def _ban(self, order: Order) -> Answer:
        sanction = Sanction.from_json(order["ban"])
        self._registry.bans.add(sanction, self._chat.now())
        for user in self._covered(sanction):
            actions = moderation.throw_out(user, sanction.by, "banned", sanction.text)
            self._chat.act(actions)
        return _DONE

    def _covered(self, sanction: Sanction) -> list[User]:
        network = range_of(sanction.target)
        if network is None:
            return moderation.covered_users(self._registry, sanction.target, sanction.marks)
        return [user for user in self._registry if is_in(user.host, network) and not user.operator]

    def _unban(self, order: Order) -> Answer:
        self._registry.bans.lift(order["key"])
        return _DONE

    def _mute(self, order: Order) -> Answer:
        sanction = Sanction.from_json(order["mute"])
        Sanctions.add(self._registry.mutes, sanction, self._chat.now())  # it is told to all already
        return _DONE

    def _unmute(self, order: Order) -> Answer:
        Sanctions.lift(self._registry.mutes, order["key"])
        return _DONE


_ORDERS: dict[str, Callable[[Orders, Order], Answer | Awaitable[Answer]]] = {
    "private": Orders._private,
    "kick": Orders._kick,
    "say-muted": Orders._say_muted,
    "yield": Orders._yield,
    "evict": Orders._evict,
    "topic": Orders._topic,
    "notice": Orders._notice,
    "own": Orders._own,
    "ban": Orders._ban,
    "unban": Orders._unban,
    "mute": Orders._mute,
    "unmute": Orders._unmute,
}
