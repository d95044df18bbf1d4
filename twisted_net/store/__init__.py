"""Where the messages of the rooms are kept: one interface, and a store for each need.

``log`` is what all stores agree about, pure; ``interface`` is the seam; ``memory`` and ``sqlite``
are behind it, and ``url`` finds the one that a user has named.
"""
