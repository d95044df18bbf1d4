"""The chat in a FastAPI application: ``uvicorn embedding_fastapi:app --port 8081``."""

import asyncio
import os
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Body, FastAPI

from twisted_net import asyncio_reactor, listen, printable
from twisted_net.chat import ChatFactory

chat = ChatFactory()


@asynccontextmanager
async def lifespan(app: FastAPI) -> Any:
    async with asyncio_reactor() as reactor:
        where = "tcp:" + os.environ.get("PORT", "8080")
        port: Any = await listen(reactor, where, chat).asFuture(asyncio.get_running_loop())
        print("Listening on port", port.getHost().port, flush=True)
        yield
        port.stopListening()
        chat.close()  # each user gets what was sent, and a goodbye
        await chat.wait_closed().asFuture(asyncio.get_running_loop())


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def show() -> dict[str, int]:
    return {"users": len(chat)}


@app.post("/")
async def say(text: str = Body(embed=True)) -> dict[str, int]:
    chat.send_to_all("* " + printable(text))
    return await show()
