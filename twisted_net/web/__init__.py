"""HTTP and WebSocket: what programs import, for people with a browser, and for operators.

``upgrade`` decides what to answer to a WebSocket's opening request; ``request_head`` reads that
request. Both are pure. ``websocket`` has WebSocket connections for any program. ``gateway`` lets
people with a browser into a chat, ``refusals`` tells those who may not stay, ``page_connection``
finds the request for a WebSocket behind others, ``plain_answers`` has what refused requests get,
and ``frame_codec`` encodes. ``pages`` serves the page, whose files are in ``page/``;
``bounded_request`` refuses large bodies. ``admin/`` is the operator's view.
"""

from typing import TYPE_CHECKING

from twisted_net.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from twisted_net.web.admin.factory import AdminFactory as AdminFactory
    from twisted_net.web.gateway import ChatGateway as ChatGateway
    from twisted_net.web.gateway import WebEndpoint as WebEndpoint
    from twisted_net.web.pages import page_site as page_site

__all__ = ["AdminFactory", "ChatGateway", "WebEndpoint", "page_site"]

__getattr__, __dir__ = lazy_exports(
    globals(),
    {
        "AdminFactory": "twisted_net.web.admin.factory",
        "ChatGateway": "twisted_net.web.gateway",
        "WebEndpoint": "twisted_net.web.gateway",
        "page_site": "twisted_net.web.pages",
    },
)
