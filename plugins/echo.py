"""The plugin to copy: it writes a line to the log for each event, and shows each thing once."""

import logging
from typing import Literal

import msgspec

from router import Context, Event, hookimpl

logger = logging.getLogger("router.echo")


class Settings(msgspec.Struct, frozen=True):
    """The table ``[plugins.echo]``: a key that is missing here, or of another kind, is refused.

    Attributes:
        greeting: What each line begins with.
        level: How important the lines are.
    """

    greeting: str = "got"
    level: Literal["debug", "info", "warning"] = "info"


@hookimpl
def settings() -> type:
    """Say of which type the settings are."""
    return Settings


@hookimpl
def on_start(settings: Settings) -> None:
    """Get ready, once: what raises here keeps the router from starting."""
    logger.log(_number(settings.level), "%s ready", settings.greeting)


@hookimpl(replay="allow")
def on_message(event: Event, context: Context) -> None:
    """Take a message: a hook of its own goes before `on_event`.

    Raise `router.Retry` to get the event again, `router.Reject` to give it up. What is sent
    elsewhere goes out by ``context.http``, with ``event.id`` for whoever gets it twice.
    """
    _echo(event, context, "a message")


@hookimpl(replay="allow")
def on_event(event: Event, context: Context) -> None:
    """Take everything else."""
    _echo(event, context, event.type)


@hookimpl
def on_stop() -> None:
    """Let go of what `on_start` took."""
    logger.debug("stopped")


def _echo(event: Event, context: Context, what: str) -> None:
    """Write a line. Not what was written, nor by whom: lines of a log are read by many."""
    settings: Settings = context.settings
    how = f"replay {event.replay.id}" if event.replay else f"attempt {context.attempt}"
    text = "%s %s (%s) at %d, %s"
    level = _number(settings.level)
    logger.log(level, text, settings.greeting, what, event.subtype, event.position, how)


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
