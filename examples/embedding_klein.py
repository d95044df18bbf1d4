"""The chat beside a site of Klein, behind limits; the site uses the chat, as in embedding.py."""

import sys
from typing import Any

from klein import Klein
from twisted.internet import task
from twisted.web.server import Site

from twisted_net import GuardFactory, printable, serve
from twisted_net.chat import ChatFactory

chat = ChatFactory()
app = Klein()


@app.route("/", methods=["GET"])
def show(request: Any) -> bytes:
    return b"In the chat: %d\n" % len(chat)


@app.route("/", methods=["POST"])
def say(request: Any) -> bytes:
    chat.send_to_all("* " + printable(request.content.read().decode(errors="replace")))
    return show(request)


async def main(reactor: Any, port: str = "8080", web_port: str = "8081") -> None:
    site = GuardFactory(Site(app.resource()), idle_timeout=60)
    await serve(reactor, f"tcp:{port}", chat, (f"tcp:{web_port}", site))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
