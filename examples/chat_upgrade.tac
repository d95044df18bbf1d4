"""The chat, upgraded in place: new code goes on with the connections of the old."""

import os

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

from twisted_net import Broadcast, Connection, ConnectionFactory, printable
from twisted_net import Listener, ListenerService, UpgradableService


class Member(Connection):
    room = Broadcast(reactor)

    def connected(self):
        self.send(f"You are guest {self.id}.")
        self.room.add(self)

    def message_received(self, line):
        text = printable(line.decode(errors="replace"))
        self.room.publish(f"<{self.id}> {text}\n".encode(), sender=self)

    def disconnected(self, reason):
        self.room.discard(self)

    def save_state(self):
        return {}  # nothing of our own: the library moves the rest

    def load_state(self, state):  # in place of connected()
        self.room.add(self)


where = "tcp:" + os.environ.get("PORT", "8080")
listener = Listener(serverFromString(reactor, where), where)
service = ListenerService(ConnectionFactory.forProtocol(Member), [listener])
application = Application("chat")
UpgradableService({"chat": service}).setServiceParent(application)
