"""The plugin of the examples: put your own here."""

from router import Event, hookimpl


@hookimpl
def on_message(event: Event) -> None:
    """Print who has written."""
    print(f"{event.subject} sent a {event.subtype}", flush=True)
