"""The chat as a service: ``twistd`` runs it, and its stop cuts nobody off."""

import os
from functools import partial

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

from twisted_net import Broadcast, Connection, ConnectionFactory, Listener, ListenerService, printable


class Member(Connection):
    def __init__(self, room):
        self.room = room

    def connected(self):
        self.send(f"You are guest {self.id}.")
        self.room.add(self)

    def message_received(self, line):
        text = printable(line.decode(errors="replace"))
        self.room.publish(f"<{self.id}> {text}\n".encode(), sender=self)

    def disconnected(self, reason):
        self.room.discard(self)


class ChatService(ListenerService):
    def stopService(self):
        self.factory.send_to_all("* The server is stopping.")
        return super().stopService()


where = "tcp:" + os.environ.get("PORT", "8080")
chat = ConnectionFactory.forProtocol(partial(Member, Broadcast(reactor)))
listener = Listener(serverFromString(reactor, where), where)
application = Application("chat")
ChatService(chat, [listener], drain=5).setServiceParent(application)
