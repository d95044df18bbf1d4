"""A reactor and transports that send before they wait, for any Twisted program.

This folder knows nothing of the rest of the package. :mod:`~twisted_net.eager.transports` says how
the transports differ from Twisted's own; start there. ``ports`` makes them, ``tls`` and
``tls_sockets`` put TLS on the socket itself, by what ``openssl`` adds to pyOpenSSL. ``write_batch``
holds the transports that send when the current event is over. ``reactor_interfaces`` gives a
reactor of Twisted's the calls that make them, and ``reactor`` is one that has them. ``key_sharing``
keeps their instances small. ``privates`` lists the private names of Twisted and pyOpenSSL that all
of this needs. Where one is not as expected, everything is Twisted's own.
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
