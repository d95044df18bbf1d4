"""A user's program for type checkers: no plugin, no cast and no ignore.

:mod:`tests.live.test_typing` checks it with mypy and pyright.
"""

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from twisted_net import (
    Admission,
    AdmissionRules,
    Broadcast,
    CertificateError,
    Certificates,
    CloseReason,
    Connection,
    ConnectionClosed,
    ConnectionFactory,
    GuardFactory,
    IdleTimeoutFactory,
    LengthPrefixed,
    Lines,
    TLSServerEndpoint,
    TrustedProxies,
    TwistedNetError,
    WebSocketConnection,
    WebSocketFactory,
    connect,
)
from twisted_net.chat import ChatClient, ChatError, ChatFactory, ChatLimits, ChatUser
from twisted_net.eager import eager
from twisted_net.web import AdminFactory


class MyFactory(ConnectionFactory):
    greeting = "hello"


class Shout(Connection):
    framing = Lines
    factory: MyFactory

    def connected(self) -> None:
        self.send(self.factory.greeting)

    async def message_received(self, line: bytes) -> None:
        self.send(line.upper())
        await self.drained()

    def disconnected(self, why: CloseReason) -> None:
        print(why.code, self.peer, self.bytes_received)


class Packets(Connection):
    framing = partial(LengthPrefixed, 2)

    def __init__(self, room: Broadcast) -> None:
        self.room = room

    def message_received(self, packet: bytes) -> None:
        self.room.publish(packet, sender=self)


def dice(user: ChatUser, sides: int = 6) -> None:
    """Roll a dice."""
    user.announce(f"{user.name} rolled {sides}.", result=sides)


async def tell(user: ChatUser, text: str, loudly: bool = False) -> None:
    """Say something."""
    user.reply(text.upper() if loudly else text)


class StaffChat(ChatFactory):
    def check_join(self, user: ChatUser, room: str) -> None:
        if room == "staff" and not user.account:
            raise ChatError("staff-only", "Only the staff may join #staff.", "room")

    async def check_text(self, user: ChatUser, room: str, text: str) -> None:
        await Deferred.fromCoroutine(tell(user, text))

    def check_nick(self, user: ChatUser, nick: str) -> Deferred[None]:
        return Deferred.fromCoroutine(tell(user, nick))


def serve(reactor: Any) -> list[Deferred[Any]]:
    endpoint = TCP4ServerEndpoint(eager(reactor), 8080)
    site = Site(Resource())
    packets = ConnectionFactory.forProtocol(partial(Packets, Broadcast(eager(reactor))))
    secure = TLSServerEndpoint(endpoint, Certificates.from_directory("live", alpn=[b"shout/1"]))
    factories = [MyFactory.forProtocol(Shout, idle_timeout=60), packets, GuardFactory(site)]
    rules = Admission(AdmissionRules(max_connections=100))
    packets.admission = rules
    proxies = TrustedProxies(["10.0.0.0/8"], unix=True)
    factories.append(WebSocketFactory.forProtocol(WebSocketConnection, trusted_proxies=proxies))
    rules.denied.add("192.0.2.0/24")
    rules.change(max_per_address=20)
    print(packets.close_denied(), len(rules.denied), rules.rules.deny)
    chat = StaffChat(commands=[dice, tell], chat_limits=ChatLimits(history=20), max_message=4096)
    factories.append(AdminFactory({"packets": packets, "chat": chat}, token="x" * 16, hosts=["a"]))
    listening = [endpoint.listen(factory) for factory in factories]
    listening.append(endpoint.listen(IdleTimeoutFactory(site, 60)))
    return [*listening, serverFromString(reactor, "tcp:8081").listen(chat), secure.listen(site)]


async def ask(reactor: Any) -> int:
    try:
        connection = await connect(reactor, ("localhost", 8080), Shout, tls=True, timeout=3)
    except (CertificateError, TwistedNetError) as error:
        print(error)
        return 0
    connection.set_idle_timeout(3600)
    connection.send("hello")
    await connection.flushed()
    try:
        async for line in connection:
            print(line, connection.write_buffer_size, connection.is_paused)
    except ConnectionClosed as closed:
        print(closed.reason.code)
    client = ChatClient(reactor, "tcp:localhost:8080", "bot", "lobby", tls=True)
    return await client.send("lobby", connection.host.__class__.__name__)
