"""Decides what this process is: the whole service, the supervisor of workers, or a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import IService

from twisted_net.services.admin_flags import add_admin
from twisted_net.services.options import ServiceOptions
from twisted_net.services.starting import NamedService, StartError
from twisted_net.services.workers.this_process import worker_settings


def service_for(
    options: ServiceOptions, reactor: Any, make: Callable[[], NamedService]
) -> IService:
    """Return the service that this process runs.

    What workers take is imported only for them.

    :param options: the command line.
    :param make: makes the service that serves connections.
    :raises StartError: something that the command line names cannot be used.
    """
    settings = worker_settings()
    saved = None if options.launch is None else options.launch.saved
    if saved is not None and options["workers"] is None:
        raise StartError(f"{options.command}: --workers is gone: restart the service instead")
    if settings is not None:
        from twisted_net.services.workers.making import make_worker

        return make_worker(options, reactor, make, settings)
    if options["workers"] is not None:
        from twisted_net.services.workers.making import make_supervisor

        return make_supervisor(options, reactor, options["workers"])
    service = make()
    return add_admin(service, reactor, options, options.appends)
