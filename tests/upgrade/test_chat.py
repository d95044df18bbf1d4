"""A chat that is moved at any moment says the same to everybody as one that is never moved."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.upgrade.moving import copied, movable, move_all
from tests.web.sockets import MASK, opening
from twisted_net.chat.limits import ChatLimits
from twisted_net.chat.protocol import ChatFactory
from twisted_net.connection.trusted_proxies import TrustedProxies
from twisted_net.policy.admission import Admission, AdmissionRules
from twisted_net.testing import Peer, connect_peer
from twisted_net.web.gateway import ChatGateway
from twisted_net.wire.websocket import WebSocket

WS = opening("/ws", "Sec-WebSocket-Protocol: netchat.v1")

DATE = re.compile(rb"Date: .*\r\n")
"""Of the answer to the opening request; it is the machine's own."""

TEXTS = (
    *("hello", "/join tea", "/join den", "/leave", "/nick ann", "/nick bob", "/who", "/rooms"),
    *("/topic tea is ready", "/topic", "/msg ann psst", "/ignore ann", "/history 5", "/me waves"),
    *("/mute ann 5", "/ban zoe 5", "half a \x08line", "\xff\xfb\x01", "/ping", "/unignore ann"),
)

REQUESTS: tuple[dict[str, Any], ...] = (
    {"type": "hello", "nick": "bot", "room": "tea"},
    {"type": "hello", "nick": "zoe", "session": "0" * 32},
    {"type": "join", "room": "den"},
    {"type": "join", "room": "tea"},
    {"type": "leave", "room": "tea"},
    {"type": "message", "room": "tea", "text": "from a program", "id": "1"},
    {"type": "message", "room": "den", "text": "again", "id": "2"},
    {"type": "private", "to": "ann", "text": "psst", "id": "3"},
    {"type": "nick", "nick": "ann"},
    {"type": "who", "room": "tea"},
    {"type": "history", "room": "tea", "id": "4"},
    {"type": "topic", "room": "tea", "topic": "x"},
    {"type": "ping"},
    {"type": "quit"},
)


class World:
    """A chat, with people at a keyboard, programs and browsers."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._count = itertools.count(1)
        self.chat = self.make()
        self.peers: list[Peer] = []
        self._encoder = WebSocket(make_mask=lambda: MASK)

    def make(self) -> ChatFactory:
        """Return a new chat, as a new process has it."""
        self._making = True
        chat = ChatFactory(
            clock=self.clock,
            chat_limits=ChatLimits(joins=4, nicks=3),
            operators=["boss"],
            plain_logins=True,
            now=lambda: 1_700_000_000.0 + self.clock.seconds(),
            token=self._token,
            admission=Admission(AdmissionRules(max_per_address=9)),
        )
        chat.gateway = ChatGateway(chat, Site(Resource(), reactor=self.clock))  # type: ignore[no-untyped-call]
        chat.start_store()
        self._making = False
        return chat

    def _token(self) -> str:
        """Return the same texts however often the chat is moved."""
        return "f" * 32 if self._making else f"{next(self._count):032x}"

    def connect(self, number: int) -> None:
        """Connect somebody: a person, a program or a browser."""
        address = IPv4Address("TCP", f"192.0.2.{len(self.peers) % 3}", 1)
        peer = connect_peer(self.chat, clock=self.clock, peer=address)
        self.peers.append(peer)
        if number % 3 == 2:
            peer.send(WS)
        elif number % 3 == 1:
            peer.send(b'{"type": "hello", "room": "tea"}\n')

    def say(self, who: int, what: int, cut: int) -> None:
        """Let somebody say something, in two pieces."""
        if not self.peers:
            return
        peer = self.peers[who % len(self.peers)]
        form = getattr(peer.protocol, "form", "text")
        request = json.dumps(REQUESTS[what % len(REQUESTS)])
        data = TEXTS[what % len(TEXTS)].encode("latin-1") + b"\n"
        if form == "json":
            data = request.encode() + b"\n"
        elif form == "websocket":
            data = self._encoder.encode(request)
        peer.send(data[:cut])
        self.pending = peer, data[cut:]

    def finish(self) -> None:
        """Send the second piece."""
        peer, rest = self.pending
        if rest and peer.connected:
            peer.send(rest)

    def move(self) -> list[str]:
        """Move everybody to a new chat."""
        new = self.make()
        peers = [peer for peer in self.peers if peer.protocol in self.chat.connections.values()]
        paused = [peer._producer_paused for peer in peers]
        stays = move_all(peers, self.chat, new)
        for peer, was in zip(peers, paused, strict=True):
            peer._producer_paused = was
        self.chat = new
        return stays


steps = st.lists(
    st.tuples(st.just("connect"), st.integers(0, 2), st.just(0), st.just(0))
    | st.tuples(st.just("say"), st.integers(0, 9), st.integers(0, 99), st.integers(0, 30))
    | st.tuples(st.just("say"), st.integers(0, 9), st.integers(0, 99), st.integers(0, 30))
    | st.tuples(st.just("advance"), st.integers(1, 8), st.just(0), st.just(0)),
    min_size=5,
    max_size=40,
)


ANNOUNCED_AT_ONE_TIME: list[tuple[str, int, int, int]] = [
    *(("connect", 0, 0, 0), ("say", 0, 0, 0), ("advance", 1, 0, 0), ("say", 1, 1, 0)),
    ("connect", 0, 0, 0),
]
"""A join is announced when the room's others are, though they have said who they are since."""


class AnyProgramTests(SynchronousTestCase):
    """Random programs of several people."""

    def play(self, program: list[tuple[str, int, int, int]], moves: set[int]) -> list[Any]:
        """Play a program, and move the chat in the middle of some steps."""
        world = World()
        world.connect(0)
        for number, (what, first, second, third) in enumerate(program):
            world.pending = world.peers[0], b""
            if what == "connect":
                world.connect(first)
            elif what == "say":
                world.say(first, second, third)
            if number in moves:
                closing = [each for each in world.chat.connections.values() if each.reason]
                stays = world.move()
                self.assertEqual(len(stays), len(closing), stays)
            if what == "advance":
                world.clock.pump([0.125] * first)
            world.finish()
        world.clock.pump([0.25] * 40)
        return [
            (DATE.sub(b"", peer.received), peer.protocol.bytes_received) for peer in world.peers
        ]

    @settings(max_examples=150, database=None)
    @given(steps, st.sets(st.integers(0, 40), max_size=5))
    @example(ANNOUNCED_AT_ONE_TIME, {2})
    def test_same_bytes(self, program: list[tuple[str, int, int, int]], moves: set[int]) -> None:
        """Wherever it is moved, and however often, everybody receives the same bytes."""
        self.assertEqual(self.play(program, moves), self.play(program, set()))


class ChatTests(SynchronousTestCase):
    """Single cases."""

    def setUp(self) -> None:
        self.world = World()

    def test_who_stays_has_left(self) -> None:
        """The others are told that those who have not moved have left."""
        world = self.world
        for number in (0, 1):
            world.connect(number)
        world.clock.pump([0.25] * 20)
        person, program = world.peers
        program.send(b'{"type":"nick","nick":"bot"}\n{"type":"join","room":"lobby"}\n')
        world.clock.pump([0.25] * 4)
        person.take()
        program.protocol.message_received = lambda message: program.protocol.drained()
        aiter(program.protocol)  # it cannot be moved
        self.assertEqual(world.move(), ["something waits for it"])
        world.clock.pump([0.25] * 8)
        self.assertIn(b"bot left #lobby", person.received)
        self.assertIs(world.chat.registry.find("bot"), None)

    def test_sessions_bans_and_deliveries(self) -> None:
        """A session, a ban, a mute, and the ids of private messages go on."""
        world = self.world
        for number in (0, 1):
            world.connect(number)
            world.clock.pump([0.25] * 2)
        person, program = world.peers
        session = json.loads(program.received.splitlines()[0])["session"]
        program.send(b'{"type":"private","to":"guest-1","text":"once","id":"p"}\n')
        self.assertEqual(person.received.count(b"once"), 1)
        world.move()
        program.send(b'{"type":"private","to":"guest-1","text":"once","id":"p"}\n')
        self.assertEqual(person.received.count(b"once"), 1)
        self.assertEqual(program.received.count(b'{"type":"ack","id":"p"}'), 2)
        world.connect(0)
        again = world.peers[-1]
        again.send(json.dumps({"type": "hello", "session": session}).encode() + b"\n")
        self.assertIn(session.encode(), again.received)
        self.assertEqual(str(program.protocol.reason), "closed", "it has connected anew")

    def test_behind_a_proxy(self) -> None:
        """A browser keeps the address that a trusted proxy has told, also for the limits."""
        proxies = TrustedProxies(["192.0.2.0/24"])
        world = self.world
        make = world.make

        def behind_a_proxy() -> ChatFactory:
            chat = make()
            site = Site(Resource(), reactor=self.world.clock)  # type: ignore[no-untyped-call]
            chat.gateway = ChatGateway(chat, site, trusted_proxies=proxies)
            return chat

        world.make = behind_a_proxy  # type: ignore[method-assign]
        world.chat = behind_a_proxy()
        address = IPv4Address("TCP", "192.0.2.1", 1)
        peer = connect_peer(world.chat, clock=world.clock, peer=address)
        world.peers.append(peer)
        fields = ("Sec-WebSocket-Protocol: netchat.v1", "X-Forwarded-For: 198.51.100.7")
        peer.send(opening("/ws", *fields, "X-Forwarded-Proto: https"))
        for _ in range(2):
            self.assertEqual(peer.protocol.peer.host, "198.51.100.7")
            self.assertEqual(peer.protocol.user.host, "198.51.100.7")
            self.assertEqual(peer.protocol.place, "198.51.100.7")
            self.assertTrue(peer.protocol.is_confidential)
            self.assertEqual(world.move(), [])
        admission = world.chat.admission
        assert admission is not None
        self.assertEqual(admission.open, 1)
        peer.protocol.abort()
        peer.turn()
        self.assertEqual(admission.open, 0)

    def test_a_store_that_fails(self) -> None:
        """If a room cannot go on, its members are told to come back."""
        from twisted.internet.defer import fail

        from twisted_net.store.interface import StoreError

        world = self.world
        world.connect(1)
        make = world.make

        def broken() -> ChatFactory:
            chat = make()
            store: Any = chat._store
            store.subscribe = lambda room, deliver: fail(StoreError("the disk is full"))
            return chat

        world.make = broken  # type: ignore[method-assign]
        world.move()
        self.assertEqual(str(world.peers[0].protocol.reason), "draining")

    def test_messages_of_another_process(self) -> None:
        """What others have stored meanwhile, in a store that is shared, is delivered."""
        from twisted_net.store.log import Message

        world = self.world
        world.connect(1)
        world.clock.pump([0.25] * 2)
        old = world.chat
        with movable():
            moving = old.moving()
            state = copied(old.export_state(moving))
            own = copied(moving[0].export_state())
        peer = world.peers[0]
        peer.take()
        new = world.make()
        for room in state["store"]["rings"].values():
            room.append(Message("zoe", "meanwhile", 1_700_000_000.0))
            room[1] += 1
        new.restore_state(state)
        moving[0].detach()
        old.forget(moving[0])
        peer.protocol = new.make_moved(peer.getPeer(), own)
        new.adopt(peer.protocol, peer, own)
        new.all_adopted()
        world.clock.pump([0.25] * 2)
        self.assertIn(b"meanwhile", peer.received)
        peer.send(b'{"type":"message","room":"tea","text":"after","id":"a"}\n')
        world.clock.pump([0.25] * 2)
        self.assertIn(b'{"type":"ack","id":"a","room":"tea","offset":2}', peer.received)
