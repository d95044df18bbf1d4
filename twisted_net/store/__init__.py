"""Stores for the messages of the rooms.

``interface`` defines what a store does. ``log`` has the types and bounds that all stores share; it
is pure. ``memory`` and ``sqlite`` are the stores, and ``url`` makes the one that a URL names.
"""
