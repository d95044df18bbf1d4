"""A client that sends several lines, each after the answer to the one before."""

import sys
from typing import Any

from twisted.internet import task

from twisted_net import ConnectFailed, Connection, ConnectionClosed, connect


async def main(reactor: Any, port: str = "8080", *texts: str) -> None:
    try:
        connection = await connect(reactor, ("localhost", int(port)), Connection)
    except ConnectFailed as error:
        sys.exit(f"No connection: {error}")
    waiting = list(texts)
    try:
        if waiting:
            connection.send(waiting.pop(0))
        async for answer in connection:
            print("The server says:", answer.decode())
            if not waiting:
                break
            connection.send(waiting.pop(0))
        else:
            sys.exit("The server has closed the connection.")
    except ConnectionClosed as error:
        sys.exit(f"No answer: {error}")
    connection.close()
    await connection.factory.wait_closed()


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
