"""Twisted in a program of asyncio: a reactor on the loop that runs.

Programs of asyncio, such as those of aiohttp and FastAPI, run their own loop, and end it when they
like. Twisted's asyncio reactor wants to run and end the loop itself. The one here does neither.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import ReactorBase
from twisted.internet.main import installReactor

_TOO_LATE = (
    "asyncio_reactor(): Twisted has another reactor already, {name}. Enter asyncio_reactor() "
    "before anything imports twisted.internet.reactor"
)
_AGAIN = "asyncio_reactor(): a program can run Twisted's reactor once only"


class _GuestReactor(AsyncioSelectorReactor):
    """A reactor that stops without stopping the loop, which is the program's."""

    def crash(self) -> None:
        ReactorBase.crash(self)


@asynccontextmanager
async def asyncio_reactor() -> AsyncIterator[Any]:
    """Run Twisted on the loop of asyncio that runs, and give its reactor::

        async def main() -> None:
            async with asyncio_reactor() as reactor:
                port = await listen(reactor, "tcp:8080", Shout).asFuture(asyncio.get_running_loop())
                ...

        asyncio.run(main())

    At the end, the reactor stops as ``reactor.stop()`` does: first what waits for its shutdown,
    such as services, then its threads and connections. Signals are the program's. In a program
    whose reactor is Twisted's asyncio reactor and runs already, this gives that, and stops nothing.

    Import :mod:`twisted.internet.reactor` inside only, if at all.

    :raises RuntimeError: Twisted has another reactor, or has run before in this process.
    """
    known: Any = sys.modules.get("twisted.internet.reactor")
    if isinstance(known, AsyncioSelectorReactor) and known.running:
        yield known
        return
    if known is not None:
        again = isinstance(known, _GuestReactor)
        raise RuntimeError(_AGAIN if again else _TOO_LATE.format(name=type(known).__name__))
    loop = asyncio.get_running_loop()
    reactor: Any = _GuestReactor(loop)
    installReactor(reactor)  # type: ignore[no-untyped-call]
    reactor.startRunning(installSignalHandlers=False)
    stopped = asyncio.Event()
    reactor.addSystemEventTrigger("after", "shutdown", stopped.set)
    try:
        yield reactor
    finally:
        if not stopped.is_set():
            if reactor.running:
                reactor.stop()
            await stopped.wait()
