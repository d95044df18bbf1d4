"""Decisions that several folders need. Pure: time is always an argument.

``limits`` has the limits of one connection. ``admission`` decides which clients may connect,
``budget`` which peers to close when too many bytes wait for all of them together, ``rate`` when a
peer may continue, ``backoff`` when a client retries, and ``coalescing`` when a busy broadcast may
send. ``close_reasons`` lists the reasons for which connections end. ``keywords`` reports misspelt
keyword arguments.
"""
