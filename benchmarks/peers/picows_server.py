"""A chat with ``picows``: what comes goes to every other member.

``picows_server.py``
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server


class Chat(WSListener):
    members: ClassVar[set[WSTransport]] = set()
    is_member = False

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif not self.is_member:  # the first message says who this is; nobody is told
            self.is_member = True
            self.members.add(transport)
        else:
            message = frame.get_payload_as_bytes()
            for member in self.members:
                if member is not transport:
                    member.send(WSMsgType.TEXT, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.members.discard(transport)


def listener(request: WSUpgradeRequest) -> Chat:
    return Chat()


async def main() -> None:
    server = await ws_create_server(listener, "127.0.0.1", 0)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
