"""A chat: people with ``nc`` and telnet, programs that speak JSON, and the same rooms to embed.

The way of a line: a codec (``codecs/``) makes a request of it, ``session`` decides by what
``registry`` knows and gives ``actions``, ``protocol`` does them, and ``channel`` stores what was
said and sends it to everybody in the room. ``moderation`` and ``queries`` are parts of ``session``,
``members``, ``presence`` and ``recovery`` of ``channel``. ``login`` checks passwords, and
``login_throttle`` slows down those who guess them. ``protocol``, ``channel``, ``members``,
``login`` and ``client/client`` know Twisted; all other files are pure.

The schema of the JSON form is ``netchat.schema.json`` in this package.
"""

from typing import TYPE_CHECKING

from twisted_net.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from twisted_net.chat.client.client import ChatClient as ChatClient
    from twisted_net.chat.client.client import ChatError as ChatError
    from twisted_net.chat.limits import ChatLimits as ChatLimits
    from twisted_net.chat.protocol import ChatFactory as ChatFactory
    from twisted_net.store.interface import StoreError as StoreError
    from twisted_net.store.url import store_from_url as store_from_url

__all__ = [
    "ChatClient",
    "ChatError",
    "ChatFactory",
    "ChatLimits",
    "StoreError",
    "store_from_url",
]

__getattr__, __dir__ = lazy_exports(
    globals(),
    {
        "ChatClient": "twisted_net.chat.client.client",
        "ChatError": "twisted_net.chat.client.client",
        "ChatFactory": "twisted_net.chat.protocol",
        "ChatLimits": "twisted_net.chat.limits",
        "StoreError": "twisted_net.store.interface",
        "store_from_url": "twisted_net.store.url",
    },
)
