"""HTTP and WebSocket.

``upgrade`` decides what to answer to a WebSocket's opening request; it is pure.
"""
