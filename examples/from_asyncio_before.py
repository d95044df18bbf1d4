"""Before: a server of asyncio's streams. from_asyncio_after.py is the same, ported."""

import asyncio
import sys

SECONDS = 60.0


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await asyncio.wait_for(reader.readline(), SECONDS):
            writer.write(line.upper())
            await asyncio.wait_for(writer.drain(), SECONDS)
    except (TimeoutError, ConnectionError, ValueError) as problem:
        print("A connection ended:", repr(problem))
    finally:
        writer.close()


async def main(port: str = "8080") -> None:
    server = await asyncio.start_server(shout, "127.0.0.1", int(port))
    print("Listening on port", server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
