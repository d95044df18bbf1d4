"""The wire formats of the chat: text for users, JSON for programs.

``codec`` defines the interface of a codec, which parses lines into requests and encodes events into
bytes. ``text_codec`` and ``json_codec`` implement it. ``text_commands`` parses the commands of the
text form, ``json_requests`` the messages of the JSON form. All of these modules are pure.
"""
