"""The chat on the wire: text for people, JSON for programs.

``codec`` says what a codec does: it turns a line into a request, and an event into bytes.
``text_codec`` and ``json_codec`` are the two. ``text_commands`` parses what people
type, ``json_requests`` what programs send. All of it is pure.
"""
