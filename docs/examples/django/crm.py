"""The plugin: writes each message with Django's models."""

from django.db import close_old_connections

from inbox.models import Message
from router import Event, hookimpl


@hookimpl
def on_message(event: Event) -> None:
    """Keep a message, on a thread of the router's: a plain `def`, as the models want it."""
    close_old_connections()  # what Django does around each request
    try:
        row = {"subject": event.subject, "kind": event.subtype}
        Message.objects.get_or_create(event=event.id, defaults=row)
    finally:
        close_old_connections()
