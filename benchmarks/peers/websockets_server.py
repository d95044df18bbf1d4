"""The chat of the documentation of ``websockets``: what comes goes to every other member.

``websockets_server.py``
"""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection, broadcast, serve

members: set[ServerConnection] = set()


async def chat(connection: ServerConnection) -> None:
    await connection.recv()  # the first message says who this is; nobody is told
    members.add(connection)
    try:
        async for message in connection:
            broadcast(members - {connection}, message)
    finally:
        members.discard(connection)


async def main() -> None:
    async with serve(chat, "127.0.0.1", 0, compression=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
