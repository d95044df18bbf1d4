"""A chat client for programs.

``client`` is the service that stays connected. ``client_state`` is its state: which messages of
each room the client has received, and which of its own are not acked yet. It is pure.
"""
