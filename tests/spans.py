"""Spans in the hands of a test: collected in this process, and put in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext


class Collected:
    """A collector of spans, with a provider that exports to it; no global one is set.

    Attributes:
        provider: Makes tracers.
    """

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of that name that have ended, in the order of their ends."""
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the one span of that name."""
        [span] = self.named(name)
        return span

    def all(self) -> Sequence[ReadableSpan]:
        """Return all spans that have ended."""
        return self._exporter.get_finished_spans()


def context_of(span: ReadableSpan) -> SpanContext:
    """Return the context of a span."""
    found = span.get_span_context()
    assert found is not None
    return found


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})


def place_of(context: SpanContext | None) -> tuple[int, int] | None:
    """Return the trace and the span that a context names."""
    return None if context is None else (context.trace_id, context.span_id)


def links_of(span: ReadableSpan) -> list[tuple[int, int] | None]:
    """Return what a span links to."""
    return [place_of(link.context) for link in span.links]
