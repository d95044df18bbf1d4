"""HTTP and WebSocket.

``upgrade`` decides what to answer to a WebSocket's opening request; ``request_head`` reads that
request. Both are pure. ``websocket`` has WebSocket connections for any program. ``gateway`` lets
people with a browser into a chat, ``frame_codec`` encodes for them, and ``pages`` serves the page,
whose files are in ``page/``.
"""
