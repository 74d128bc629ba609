"""Receives webhook notifications, keeps them in an SQL log, routes their events to plugins."""

from router.app import Router
from router.errors import RouterError
from router.events import Event, Notification
from router.filters import DeadFilter, Filter
from router.hookspecs import AsyncContext, Context, hookimpl
from router.log import EventLog
from router.retry import Reject, Retry

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
