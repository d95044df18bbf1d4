"""A WebSocket server of autobahn, behind limits: clients are counted, and silent ones closed."""

import sys
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import task

from twisted_net import Admission, AdmissionRules, GuardFactory, serve


class Echo(WebSocketServerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


async def main(reactor: Any, port: str = "8080", seconds: str = "60") -> None:
    factory = WebSocketServerFactory()
    factory.protocol = Echo
    rules = AdmissionRules(max_connections=1000, max_per_address=20)
    guard = GuardFactory(factory, idle_timeout=float(seconds), admission=Admission(rules))
    await serve(reactor, f"tcp:{port}", guard)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
