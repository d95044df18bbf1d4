"""A chat bot: it answers !time and !echo, and catches up after it was disconnected."""

import sys
from datetime import UTC, datetime
from typing import Any

from twisted.internet import task

from twisted_net.chat import ChatClient


def answer(message: dict[str, Any]) -> str | None:
    if message["type"] != "message":
        return None
    command, _, rest = message["text"].partition(" ")
    if command == "!time":
        return f"It is {datetime.now(UTC):%H:%M} UTC."
    if command == "!echo" and rest:
        return f"{message['from']} says: {rest}"
    return None


async def main(reactor: Any, where: str = "tcp:127.0.0.1:8080", room: str = "lobby") -> None:
    bot = ChatClient(reactor, where, "bot", room)
    bot.startService()
    async for message in bot:
        if message["type"] == "joined":
            print("I am in", message["room"])
        text = answer(message)
        if text is not None:
            offset = await bot.send(room, text)
            print("Answered", message["from"], "at", offset)


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
