"""A client of the chat for programs.

``client`` is the service that stays connected; ``client_state`` is its memory, and pure: what it
has seen of each room, and what it has sent that was not acked.
"""
