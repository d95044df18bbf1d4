"""A chat server. Users with ``nc`` or telnet and programs that speak JSON share its rooms.

A codec (``codecs/``) parses each line into a request. ``session`` decides what the request leads
to, with the help of ``registry``, and returns ``actions``. ``protocol`` carries them out.
``channel`` stores messages and sends them to all members of the room.

``moderation`` and ``queries`` are parts of ``session``, ``presence`` is a part of ``registry``, and
``members`` and ``recovery`` are parts of ``channel``. ``login`` checks passwords, and
``login_throttle`` slows down clients that guess them. ``naming`` is a part of ``session``, too.
``shared/`` makes several processes one chat. ``extension/`` runs the commands and checks of an
application. ``protocol``, ``channel``, ``members``, ``login``, ``user`` and ``running`` in
``extension/``, and in ``client/`` all that is not its state, use Twisted; other modules are pure,
except some of ``shared/``.

The schema of the JSON form is ``netchat.schema.json`` in this package.
"""

from typing import TYPE_CHECKING

from twisted_net.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from twisted_net.chat.client.client import ChatClient as ChatClient
    from twisted_net.chat.extension.user import ChatUser as ChatUser
    from twisted_net.chat.limits import ChatLimits as ChatLimits
    from twisted_net.chat.messages import ChatError as ChatError
    from twisted_net.chat.protocol import ChatFactory as ChatFactory
    from twisted_net.store.interface import StoreError as StoreError
    from twisted_net.store.url import store_from_url as store_from_url

__all__ = [
    "ChatClient",
    "ChatError",
    "ChatFactory",
    "ChatLimits",
    "ChatUser",
    "StoreError",
    "store_from_url",
]

__getattr__, __dir__ = lazy_exports(
    globals(),
    {
        "ChatClient": "twisted_net.chat.client.client",
        "ChatError": "twisted_net.chat.messages",
        "ChatFactory": "twisted_net.chat.protocol",
        "ChatLimits": "twisted_net.chat.limits",
        "ChatUser": "twisted_net.chat.extension.user",
        "StoreError": "twisted_net.store.interface",
        "store_from_url": "twisted_net.store.url",
    },
)
