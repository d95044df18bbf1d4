"""A client that comes back, and asks for the last messages if its position is of no use."""

import json
from pathlib import Path
from typing import Any

from twisted.internet import task

from twisted_net import Connection, connect

POSITION, NEW = Path("position.json"), Path("position.new")


def show(message: dict[str, Any]) -> None:
    print(message["offset"], message["from"], message["text"], flush=True)


async def main(reactor: Any) -> None:
    server = await connect(reactor, ("localhost", 8080), Connection)
    since = json.loads(POSITION.read_text()) if POSITION.exists() else None
    server.send(json.dumps({"type": "hello", "nick": "reader"}))
    server.send(json.dumps({"type": "join", "room": "lobby", "since": since}))
    epoch = ""
    async for line in server:
        if not line.startswith(b"{"):  # for people; sent before the server has seen our hello
            continue
        message = json.loads(line)
        if message["type"] == "joined":
            epoch = message["epoch"]
            if message["recovered"] is False:
                print("Messages were lost.", flush=True)
                server.send(json.dumps({"type": "history", "room": "lobby", "limit": 10}))
        elif message["type"] == "history":
            for each in message["messages"]:
                show(each)
        elif message["type"] == "message":
            show(message)
            NEW.write_text(json.dumps({"epoch": epoch, "offset": message["offset"]}))
            NEW.replace(POSITION)  # never half a file, whenever this process ends
        elif message["type"] == "ping":
            server.send(json.dumps({"type": "pong"}))


if __name__ == "__main__":
    task.react(main)
