"""A WebSocket server that sends back what it is sent.

Run it, open a page of http://localhost:8080 in a browser, and type in its console:

    socket = new WebSocket("ws://localhost:8080"); socket.onmessage = (m) => console.log(m.data)
    socket.send("hello")
"""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import WebSocketConnection, WebSocketFactory, serve


class Echo(WebSocketConnection):
    def message_received(self, message: str | bytes) -> None:
        self.send(message)


async def main(reactor: Any, port: str = "8080") -> None:
    await serve(reactor, f"tcp:{port}", WebSocketFactory.forProtocol(Echo, idle_timeout=60))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
