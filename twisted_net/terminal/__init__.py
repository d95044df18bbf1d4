"""The program ``netchat-client``: a chat client for the terminal, and for pipes.

``program`` is what the command starts, ``flags`` its command line. In a pipe it is a filter:
``piped``. In a terminal ``interactive`` connects three parts: ``chat_view``, what is known of the
rooms and what is to be shown; ``typed``, what a line that is typed means; and ``screen``, the
terminal, by ``prompt_toolkit``. ``lines`` makes the lines, with their colours. ``screen`` and
``interactive`` alone need the extra ``client``.
"""
