"""Each member counts its lines, and the number survives an upgrade in place."""

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

from twisted_net import Broadcast, Connection, ConnectionFactory, printable
from twisted_net import Listener, ListenerService, UpgradableService


class Member(Connection):
    room = Broadcast(reactor)
    count = 0

    def connected(self):
        self.send(f"You are guest {self.id}.")
        self.room.add(self)

    def message_received(self, line):
        self.count += 1
        text = printable(line.decode(errors="replace"))
        self.room.publish(f"<{self.id}, line {self.count}> {text}\n".encode(), sender=self)

    def disconnected(self, reason):
        self.room.discard(self)

    def save_state(self):
        return {"count": self.count}

    def load_state(self, state):  # in place of connected()
        self.count = state.get("count", 0)  # the old code may not have had it
        self.room.add(self)


where = "tcp:8080"
listener = Listener(serverFromString(reactor, where), where)
service = ListenerService(ConnectionFactory.forProtocol(Member), [listener])
application = Application("chat")
UpgradableService({"chat": service}).setServiceParent(application)
