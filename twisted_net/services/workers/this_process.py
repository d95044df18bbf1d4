"""Knows whether this process is a worker."""

from __future__ import annotations

from twisted_net.services.workers.settings import WorkerSettings

_settings: list[WorkerSettings] = []


def become_worker(settings: WorkerSettings) -> None:
    """Note that this process is a worker, before its command line is parsed."""
    _settings[:] = [settings]


def worker_settings() -> WorkerSettings | None:
    """Return what this worker was told; None if this process is no worker."""
    return _settings[0] if _settings else None
