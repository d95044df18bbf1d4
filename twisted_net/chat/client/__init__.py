"""A chat client for programs.

``client`` is the service that stays connected. ``client_state`` is its state: which messages of
each room the client has received, and which of its own are not acked yet. It is pure, takes what
``server_messages`` has checked, and returns ``outputs``, which the service carries out.

``attempts`` has the pauses between attempts to connect, ``calls`` the calls that wait for an
answer, ``delivery`` the messages for the program, and ``errors`` what it can catch.
"""
