"""A bridge of two chats: what is said in a room of one is heard in the same room of the other."""

import sys
from functools import partial
from typing import Any

from twisted.internet import defer, task

from twisted_net.chat import ChatClient, ChatError


async def carry(source: ChatClient, target: ChatClient, room: str) -> None:
    async for message in source:  # never the bridge's own, so nothing goes round in circles
        if message["type"] != "message":
            continue
        try:
            await target.send(room, f"<{message['from']}> {message['text']}")
        except ChatError as error:
            print("Not carried:", error, flush=True)


async def main(reactor: Any, one: str, other: str, room: str = "lobby") -> None:
    lost = partial(print, "Some messages were lost in", flush=True)
    first, second = (
        ChatClient(reactor, where, "bridge", room, on_lost=lost, call_timeout=3600)
        for where in (one, other)
    )
    for client in (first, second):
        client.startService()
        await client.joined(room)
    print("Joined", room, "on both sides", flush=True)
    both = (carry(first, second, room), carry(second, first, room))
    await defer.gatherResults(map(defer.ensureDeferred, both))


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
