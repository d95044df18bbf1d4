"""A reactor and transports that send before they wait, for any Twisted program."""

from typing import TYPE_CHECKING

from twisted_net.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from twisted_net.transport.calls import eager as eager
    from twisted_net.transport.reactor import install as install

__all__ = ["eager", "install"]

__getattr__, __dir__ = lazy_exports(
    globals(),
    {
        "eager": "twisted_net.transport.calls",
        "install": "twisted_net.transport.reactor",
    },
)
