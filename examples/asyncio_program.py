"""Twisted in an asyncio program: a server and its clients on one loop, with a TaskGroup."""

import asyncio
from typing import Any

from twisted_net import Connection, asyncio_reactor, connect, listen


class Shout(Connection):
    def message_received(self, line: bytes) -> None:
        self.send(line.upper())


async def ask(reactor: Any, port: int, text: str) -> str:
    loop = asyncio.get_running_loop()
    client = await connect(reactor, ("localhost", port), Connection).asFuture(loop)
    client.send(text)
    answer: bytes = await anext(aiter(client)).asFuture(loop)
    client.close()
    return answer.decode()


async def main() -> None:
    async with asyncio_reactor() as reactor, asyncio.timeout(10):
        port: Any = await listen(reactor, "tcp:0", Shout).asFuture(asyncio.get_running_loop())
        number = port.getHost().port
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(reactor, number, text)) for text in ("one", "two")]
        print(*(task.result() for task in tasks))


if __name__ == "__main__":
    asyncio.run(main())
