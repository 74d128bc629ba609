"""The router's spans for OpenTelemetry, made by a tracer provider of the caller's.

It needs the extra ``tracing``; nothing but this module imports it. Spans say which event of which
source, never about whom, and of an error its kind, never its text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
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
    rf"([a-z]{_NAME}{{0,240}}|[0-9a-z]{_NAME}{{0,240}}@[a-z]{_NAME}{{0,13}})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_PARENT, _STATE = "traceparent", "tracestate"
_W3C = TraceContextTextMapPropagator()


class Spans:
    """Makes the router's spans.

    Args:
        provider: Makes the tracer; None is the process's own, whoever has put that in place.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        provider = provider or trace.get_tracer_provider()
        release = version("notification-router")
        self._tracer: trace.Tracer = provider.get_tracer("router", release, schema_url=names.SCHEMA)

    @contextmanager
    def receive(self, source: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Answered]:
        """Trace a request: within the host's span of it, else within what its headers name."""
        now = trace.get_current_span().get_span_context()
        parent = None if now.is_valid else extract(headers)
        attributes: dict[str, str | int] = {names.METHOD: "POST", names.ROUTE: names.WEBHOOK}
        if source:
            attributes[names.DESTINATION] = source
        with (
            self._tracer.start_as_current_span(
                f"receive {source}" if source else "receive",
                context=parent,
                kind=SpanKind.INTERNAL if now.is_valid and not now.is_remote else SpanKind.SERVER,
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _noting_errors(span),
        ):
            yield partial(_answer, span)

    def find_context(self) -> str | None:
        """Return the current trace context, as a `Notification` keeps it; None without any."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        if _PARENT not in carrier:
            return None
        return f"{carrier[_PARENT]} {shorten(carrier.get(_STATE, ''))}".rstrip()

    @contextmanager
    def append(self, source: str) -> Iterator[Stored]:
        """Trace that a notification of ``source`` is appended."""
        with (
            self._tracer.start_as_current_span(
                f"append {source}",
                kind=SpanKind.PRODUCER,
                attributes={
                    names.SYSTEM: names.OUR_SYSTEM,
                    names.OPERATION_NAME: "append",
                    names.OPERATION_TYPE: names.SEND,
                    names.DESTINATION: source,
                },
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _noting_errors(span),
        ):
            yield partial(_store, span)

    @contextmanager
    def process(self, event: Event, *, subscription: str, attempt: int) -> Iterator[Ended]:
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
        with (
            self._tracer.start_as_current_span(
                f"process {subscription}",
                context=Context(),
                kind=SpanKind.CONSUMER,
                attributes=attributes,
                links=[] if request is None else [Link(request)],
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            _noting_errors(span),
        ):
            yield partial(_end, span)


def extract(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """Return the trace context that a request brings; an empty one where it brings none."""
    parents, states = [], []
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
    return _extract(parents[0], ",".join(states)) if len(parents) == 1 else Context()


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
    for part in state[: 4 * MAX_STATE].split(","):
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
        return Context()
    carrier = {_PARENT: parent, _STATE: shorten(state)}
    return _W3C.extract(carrier, Context())


@contextmanager
def _noting_errors(span: Span) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _fail(span, "failed", type(error).__name__)
        raise


def _answer(span: Span, status: int) -> None:
    span.set_attribute(names.STATUS_CODE, status)
    if status >= 500:  # what is below is the sender's fault
        _fail(span, "refused", str(status))
    else:
        span.set_attribute(names.OUTCOME, "refused" if status >= 400 else "accepted")


def _store(span: Span, positions: Sequence[int]) -> None:
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
