"""The seam of tracing: who makes spans of requests, appends and calls of handlers.

The core knows of no way to make them: `router.opentelemetry` is one. Where nobody traces, nothing
of it is there to be asked.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from router.events import Event

Answered = Callable[[int], None]  # is told the status
# Is told the positions of the events that are new; None of what could not be read.
Stored = Callable[[Sequence[int] | None], None]
Ended = Callable[[str, str | None], None]  # is told the outcome, and what kind of error there was


class TracerProvider(Protocol):
    """Where tracers come from, as OpenTelemetry's `TracerProvider` has them."""

    def get_tracer(self, instrumenting_module_name: str, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Return a tracer of that name."""


class Tracing(Protocol):
    """Makes spans; each lasts as long as its block, and is the current one inside."""

    def receive(
        self, source: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> AbstractContextManager[Answered]:
        """Trace a request.

        Args:
            source: The name of its source; "" for an unknown one.
            headers: With lower-case names.
        """

    def find_context(self) -> str | None:
        """Return the current trace context, as a `Notification` keeps it; None without any."""

    def append(self, source: str) -> AbstractContextManager[Stored]:
        """Trace that a notification of ``source`` is appended."""

    def process(
        self, event: Event, *, subscription: str, attempt: int
    ) -> AbstractContextManager[Ended]:
        """Trace a call of a handler, linked to the request that had brought ``event``."""
