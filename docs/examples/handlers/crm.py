"""The plugin of the examples: put your own here."""

import logging

from router import Event, hookimpl

logger = logging.getLogger("crm")


@hookimpl
def on_message(event: Event) -> None:
    """Say that somebody has written."""
    logger.info("a %s has come: event %s", event.subtype, event.id)
