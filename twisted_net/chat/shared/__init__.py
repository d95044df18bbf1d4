"""What makes several processes with one store one chat.

``directory`` knows the names that other processes hold, and which ones this process has claimed.
``session`` is a session that waits for a claim before it goes on. ``forwarding`` decides about
users of other processes, and ``rooms`` has the members that a room has elsewhere. These are pure.

``cluster`` carries out what they decide, with ``name_leases``, ``room_leases``, ``listing`` and
``calls``, which use the store; ``orders`` does what other processes ask for.
"""
