"""A WebSocket server that sends back what it is sent.

Run it, open a page of http://localhost:8080 in a browser, and type in its console:

    socket = new WebSocket("ws://localhost:8080"); socket.onmessage = (m) => console.log(m.data)
    socket.send("hello")
"""

from twisted.internet import task

from twisted_net import WebSocketConnection, WebSocketFactory, serve


class Echo(WebSocketConnection):
    def message_received(self, message: str | bytes) -> None:
        self.send(message)


if __name__ == "__main__":
    task.react(serve, ("tcp:8080", WebSocketFactory.forProtocol(Echo, idle_timeout=60)))
