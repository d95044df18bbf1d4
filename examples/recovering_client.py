"""A client that comes back: a file has its position, and it is sent what it has missed since."""

import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet import task

from twisted_net import Connection, connect

POSITION, NEW = Path("position.json"), Path("position.new")


async def main(reactor: Any, port: str = "8080") -> None:
    server = await connect(reactor, ("localhost", int(port)), Connection)
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
            print("recovered:", message["recovered"], flush=True)
        elif message["type"] == "message":
            print(message["offset"], message["from"], message["text"], flush=True)
            NEW.write_text(json.dumps({"epoch": epoch, "offset": message["offset"]}))
            NEW.replace(POSITION)  # never half a file, whenever this process ends
        elif message["type"] == "ping":
            server.send(json.dumps({"type": "pong"}))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
