"""What an application adds to the chat.

``user`` is a user as the application sees one. ``running`` runs its commands, and ``checks`` asks
it what users may do. How its commands are parsed is in ``chat/codecs/own_commands.py``.
"""
