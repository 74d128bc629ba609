"""The plugin: says who has written."""

from router import Event, hookimpl


@hookimpl
async def on_message(event: Event) -> None:
    """Print a line, where yours would call another service."""
    print(f"{event.subject} sent a {event.subtype}", flush=True)
