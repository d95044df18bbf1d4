"""The chat on the wire: text for people, JSON for programs.

``codecs`` turns a line into a request and an event into bytes. ``text_commands`` parses what people
type, ``json_requests`` what programs send. All of it is pure.
"""
