"""Decisions that more than one folder needs. Pure: time is always an argument.

``limits`` says how much one connection may do, ``admission`` who may connect, ``budget`` who is
closed when too much waits for all peers together, ``rate`` when a peer may go on, ``backoff`` when
a client tries again, and ``close_reasons`` has each reason for which a connection ends.
``keywords`` finds misspelt keywords.
"""
