"""The chat in a program of aiohttp, on one loop; the site uses the chat, as in embedding.py."""

import asyncio
import sys
from typing import Any

from aiohttp import web

from twisted_net import asyncio_reactor, listen, printable
from twisted_net.chat import ChatFactory

chat = ChatFactory()
ports = sys.argv[1:] or ["8080", "8081"]


async def show(request: web.Request) -> web.Response:
    return web.Response(text=f"In the chat: {len(chat)}\n")


async def say(request: web.Request) -> web.Response:
    chat.send_to_all("* " + printable(await request.text()))
    return await show(request)


async def serve_chat(app: web.Application) -> Any:
    loop = asyncio.get_running_loop()
    async with asyncio_reactor() as reactor:
        port: Any = await listen(reactor, f"tcp:{ports[0]}", chat).asFuture(loop)
        print("Listening on port", port.getHost().port, flush=True)
        yield
        port.stopListening()
        chat.close()  # each user gets what was sent, and a goodbye
        await chat.wait_closed().asFuture(loop)


app = web.Application()
app.add_routes([web.get("/", show), web.post("/", say)])
app.cleanup_ctx.append(serve_chat)
web.run_app(app, host="0.0.0.0", port=int(ports[1]))
