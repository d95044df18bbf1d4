"""An upgrade in place: a new process goes on with the listeners and the connections of an old one.

1. The old process starts the new code, with the same command line (:mod:`.program`). The new one
   reads its flags and loads its code, says that it is ready, and waits (:mod:`.new_process`).
2. The old process (:mod:`.old_process`) stops reading for a moment, until what cannot be moved has
   ended: hooks that run, calls of the store.
3. From here on it does nothing else, not even run its reactor, until the end of 5. It sends each
   listening socket and each connection: the descriptor, and the state as JSON (:mod:`.frames`).
4. The new process adopts everything, without reading or writing a socket, and says so.
5. The old process says ``go``, and the new one answers. If nothing has stayed with the old one, it
   ends at once. Otherwise it closes what has stayed, and then ends.

Until that answer, the old process can go on as if nothing had been: it has only read its own state.
If the new one ends before, its copies of the descriptors are just closed.
"""
