"""A chat of our ``WebSocketConnection`` that does as little as the other peers for WebSockets: what
comes goes to every other member.

``our_server.py [--reactor eager]``
"""

from __future__ import annotations

import argparse
from typing import Any

from twisted.application.reactors import installReactor
from twisted.internet import task

import twisted_net as net


class Member(net.WebSocketConnection):
    room: net.EncodedBroadcast[str]

    def message_received(self, message: Any) -> None:
        if self in self.room:
            self.room.publish(message, sender=self)
        else:  # the first message says who this is; nobody is told
            self.room.add(self, self.encoder)

    def disconnected(self, reason: net.CloseReason) -> None:
        self.room.discard(self)


async def chat(reactor: Any) -> None:
    Member.room = net.EncodedBroadcast(reactor)
    factory = net.WebSocketFactory.forProtocol(Member, log_ends=False)
    await net.serve(reactor, "tcp:0:interface=127.0.0.1", factory)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reactor", default="default")
    installReactor(parser.parse_args().reactor)
    task.react(chat, ())


if __name__ == "__main__":
    main()
