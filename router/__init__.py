"""Receives webhook notifications, keeps them in an SQL log, routes their events to plugins."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from router.app import Router
    from router.context import AsyncContext, Context
    from router.errors import RouterError
    from router.events import Event, Notification
    from router.filters import DeadFilter, Filter
    from router.hookspecs import hookimpl
    from router.log import EventLog
    from router.retry import Reject, Retry
else:
    # A name is fetched when it is first asked for: pytest imports this package, for the fixtures
    # in `router.testing`, in every run of whoever has it installed.
    _HOMES = {
        "AsyncContext": "router.context",
        "Context": "router.context",
        "DeadFilter": "router.filters",
        "Event": "router.events",
        "EventLog": "router.log",
        "Filter": "router.filters",
        "Notification": "router.events",
        "Reject": "router.retry",
        "Retry": "router.retry",
        "Router": "router.app",
        "RouterError": "router.errors",
        "hookimpl": "router.hookspecs",
    }

    def __getattr__(name: str) -> object:
        """Return the public name, from the module in which it lives."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found

    def __dir__() -> list[str]:
        """Return the public names, fetched or not."""
        return sorted({*globals(), *__all__})


__all__ = [
    "AsyncContext",
    "Context",
    "DeadFilter",
    "Event",
    "EventLog",
    "Filter",
    "Notification",
    "Reject",
    "Retry",
    "Router",
    "RouterError",
    "hookimpl",
]
