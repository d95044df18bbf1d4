"""The program ``netchat-client``: a chat client for the terminal, and a filter for pipes.

``program`` is what the command starts, ``flags`` its command line. ``piped`` is the filter.

In a terminal, ``interactive`` connects the chat with the terminal. ``chat_view`` has what is known
of the chat: ``conversations``, and how the connection is. ``server_events`` brings in the messages
of the server. ``typed`` has what a typed line means, and ``user_requests`` carries it out.
``lines`` makes the lines that are shown, ``status`` what stands around the line that is typed, and
``screen`` shows them with ``prompt_toolkit``, the one part that needs the extra ``client``.
"""
