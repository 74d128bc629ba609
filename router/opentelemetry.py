"""The router's spans for OpenTelemetry, made by a tracer provider of the caller's.

It needs the extra ``tracing``; nothing but this module imports it. Spans say which event of which
source, never about whom, and of an error its kind, never its text.
"""

import re
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Generic, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from router import conventions as names
from router.events import Event
from router.tracing import Answered, Ended, Stored, TracerProvider

MAX_PARENT = 512  # characters of a ``traceparent`` that are looked at
MAX_STATE = 512  # of a ``tracestate`` that are kept: as many as the standard wants to be passed on
MAX_MEMBERS = 32  # likewise

# What the API would find amiss it logs, as it was sent; so none of that gets there.
_NAME = r"[_0-9a-z*/-]"
_MEMBER = re.compile(
    rf"([a-z]{_NAME}{{0,255}}|[0-9a-z]{_NAME}{{0,240}}@[a-z]{_NAME}{{0,13}})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_PARENT, _STATE = "traceparent", "tracestate"
_W3C = TraceContextTextMapPropagator()
_NOTHING = Context()
T = TypeVar("T")


class Current(Generic[T]):
    """Lets a span be the current one while a block lasts; it ends with the block.

    One object: blocks made of generators, one in the other, took longer than the span.

    Args:
        span: It has been started.
        tell: Given to the block, to say what came of it.
    """

    __slots__ = ("_span", "_tell", "_token")

    def __init__(self, span: Span, tell: T) -> None:
        self._span = span
        self._tell = tell

    def __enter__(self) -> T:
        """Make it the current one."""
        self._token = attach(trace.set_span_in_context(self._span))
        return self._tell

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        """End it; what the block has raised counts as its failure."""
        if kind is not None:
            _fail(self._span, "failed", kind.__name__)
        detach(self._token)
        self._span.end()


class Spans:
    """Makes the router's spans.

    Args:
        provider: Makes the tracer; None is the process's own, whoever has put that in place.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        provider = provider or trace.get_tracer_provider()
        release = version("notification-router")
        self._tracer: trace.Tracer = provider.get_tracer("router", release, schema_url=names.SCHEMA)

    def receive(self, source: str, headers: Iterable[tuple[bytes, bytes]]) -> Current[Answered]:
        """Trace a request: within the host's span of it, else within what its headers name."""
        now = trace.get_current_span().get_span_context()
        attributes: dict[str, str | int] = {names.METHOD: "POST", names.ROUTE: names.WEBHOOK}
        if source:
            attributes[names.DESTINATION] = source
        span = self._tracer.start_span(
            f"receive {source}" if source else "receive",
            context=None if now.is_valid else extract(headers),
            kind=SpanKind.INTERNAL if now.is_valid and not now.is_remote else SpanKind.SERVER,
            attributes=attributes,
        )
        return Current(span, partial(_answer, span))

    def find_context(self) -> str | None:
        """Return the current trace context, as a `Notification` keeps it; None without any."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        if _PARENT not in carrier:
            return None
        state = carrier.get(_STATE)
        return f"{carrier[_PARENT]} {shorten(state)}".rstrip() if state else carrier[_PARENT]

    def append(self, source: str) -> Current[Stored]:
        """Trace that a notification of ``source`` is appended."""
        span = self._tracer.start_span(
            f"append {source}",
            kind=SpanKind.PRODUCER,
            attributes={
                names.SYSTEM: names.OUR_SYSTEM,
                names.OPERATION_NAME: "append",
                names.OPERATION_TYPE: names.SEND,
                names.DESTINATION: source,
            },
        )
        return Current(span, partial(_store, span))

    def process(self, event: Event, *, subscription: str, attempt: int) -> Current[Ended]:
        """Trace a call of a handler.

        It begins a trace of its own, whatever is current: what it links to may be months old.
        """
        attributes: dict[str, str | int] = {
            names.SYSTEM: names.OUR_SYSTEM,
            names.OPERATION_NAME: names.PROCESS,
            names.OPERATION_TYPE: names.PROCESS,
            names.DESTINATION: event.source,
            names.SUBSCRIPTION: subscription,
            names.EVENT_TYPE: event.type,
            names.POSITION: event.position,
            names.ATTEMPT: attempt,
        }
        if event.replay is not None:
            attributes[names.REPLAY] = event.replay.id
        request = parse(event.notification.trace)
        span = self._tracer.start_span(
            f"process {subscription}",
            context=_NOTHING,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=() if request is None else (Link(request),),
        )
        return Current(span, partial(_end, span))


def extract(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """Return the trace context that a request brings; an empty one where it brings none."""
    parents, states = [], []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
    return _extract(parents[0], ",".join(states)) if len(parents) == 1 else _NOTHING


def parse(context: str | None) -> SpanContext | None:
    """Return the trace context that a `Notification` keeps; None where that is none."""
    if context is None:
        return None
    parent, _, state = context.partition(" ")
    found = trace.get_current_span(_extract(parent, state)).get_span_context()
    return found if found.is_valid else None


def shorten(state: str) -> str:
    """Return as many of the first members of a ``tracestate`` as there is room for.

    One that is malformed anywhere in there is as good as none.
    """
    kept: list[str] = []
    size = -1
    most = 4 * MAX_STATE  # characters that are looked at
    whole = state if len(state) <= most else state[: state.rfind(",", 0, most + 1) + 1]
    for part in whole.split(","):
        member = part.strip(" \t")
        if not member:
            continue
        size += 1 + len(member)
        if size > MAX_STATE or len(kept) == MAX_MEMBERS:
            break
        if not _MEMBER.fullmatch(member):
            return ""
        kept.append(member)
    return ",".join(kept)


def _extract(parent: str, state: str) -> Context:
    if len(parent) > MAX_PARENT:
        return _NOTHING
    return _W3C.extract({_PARENT: parent, _STATE: shorten(state)}, _NOTHING)


def _answer(span: Span, status: int) -> None:
    span.set_attribute(names.STATUS_CODE, status)
    if status >= 500:  # what is below is the sender's fault
        _fail(span, "refused", str(status))
    else:
        span.set_attribute(names.OUTCOME, "refused" if status >= 400 else "accepted")


def _store(span: Span, positions: Sequence[int] | None) -> None:
    if positions is None:
        span.set_attribute(names.OUTCOME, "refused")
        return
    span.set_attribute(names.OUTCOME, "appended" if positions else "known")
    if positions:
        span.set_attribute(names.POSITION, positions[0])
    if len(positions) > 1:
        span.set_attribute(names.BATCH_COUNT, len(positions))


def _end(span: Span, outcome: str, error: str | None) -> None:
    if error is None:
        span.set_attribute(names.OUTCOME, outcome)
    else:
        _fail(span, outcome, error)


def _fail(span: Span, outcome: str, kind: str) -> None:
    span.set_attribute(names.OUTCOME, outcome)
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(StatusCode.ERROR, outcome)
