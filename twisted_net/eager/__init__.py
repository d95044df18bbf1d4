"""A reactor and transports that send before they wait, for any Twisted program.

This package imports nothing from the rest of twisted_net except ``lazy_exports``. Start with
:mod:`~twisted_net.eager.transports`, which describes how these transports differ from Twisted's.

* ``ports`` has the ports and connectors that make the transports.
* ``tls`` and ``tls_sockets`` run TLS on the socket itself, with what ``openssl`` adds to pyOpenSSL.
* ``write_batch`` holds the transports that send when the current event ends.
* ``reactor_interfaces`` has the reactor methods that make eager transports; ``reactor`` is a
  reactor with these methods.
* ``steady`` keeps a reactor's time even when somebody sets the clock.
* ``key_sharing`` keeps the transport instances small.
* ``privates`` lists the private names of Twisted and pyOpenSSL that this package uses. If one of
  them is not as expected, Twisted's own classes are used instead.
"""

from typing import TYPE_CHECKING

from twisted_net.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from twisted_net.eager.reactor import install as install
    from twisted_net.eager.reactor_interfaces import eager as eager

__all__ = ["eager", "install"]

__getattr__, __dir__ = lazy_exports(
    globals(),
    {
        "eager": "twisted_net.eager.reactor_interfaces",
        "install": "twisted_net.eager.reactor",
    },
)
