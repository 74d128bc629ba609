"""Tests of `router.opentelemetry`: what is taken from headers, kept, and read again."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry import trace

from router import conventions as names
from router.opentelemetry import MAX_MEMBERS, MAX_STATE, Spans, extract, parse, shorten
from tests.spans import Collected, attributes_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def find(*headers: tuple[str, str]) -> trace.SpanContext:
    """Return the span context that headers name."""
    found = extract([(name.encode(), value.encode("latin-1")) for name, value in headers])
    return trace.get_current_span(found).get_span_context()


def test_what_headers_name_is_found() -> None:
    """Trace, span and flags are those of the header, and the state is all that was sent."""
    found = find(("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2"))

    assert (found.trace_id, found.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert (found.trace_flags, found.is_remote) == (1, True)
    assert found.trace_state.to_header() == "a=1,b=2"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("traceparent", "")],
        [("traceparent", "rubbish")],
        [("traceparent", f"00-{TRACE}-{SPAN}")],
        [("traceparent", f"ff-{TRACE}-{SPAN}-01")],
        [("traceparent", f"00-{'0' * 32}-{SPAN}-01")],
        [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
        [("traceparent", f"00-{TRACE}-{SPAN}-01-more")],
        [("traceparent", f"00-{TRACE.upper()}-{SPAN}-01")],
        [("traceparent", f"01-{TRACE}-{SPAN}-01-" + "x" * 1_000)],
        [("traceparent", PARENT), ("traceparent", PARENT)],
        [("traceparent", "\u00ff" * 55)],
        [("tracestate", "a=1")],
    ],
)
def test_what_is_malformed_is_ignored(
    headers: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    """It is as if nothing had been sent, and nobody fills the log with it."""
    assert not find(*headers).is_valid
    assert caplog.records == []


def test_a_state_without_end_costs_no_more_than_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """Of a long ``tracestate`` the first members are taken, as many as there is room for."""
    members = [f"k{number}=value" for number in range(200)]
    found = find(("traceparent", PARENT), ("tracestate", ",".join(members)))

    kept = found.trace_state.to_header()
    assert found.is_valid
    assert 0 < len(kept) <= MAX_STATE
    assert kept.split(",") == members[: kept.count(",") + 1]
    assert caplog.records == []


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (" " * (4 * MAX_STATE - 4) + "k=abcdefgh", ""),
        ("a=1," + " " * (4 * MAX_STATE - 8) + "k=abcdefgh", "a=1"),
        (" " * (4 * MAX_STATE - 3) + "k=a,b=2", "k=a"),
        (" " * (4 * MAX_STATE - 3) + "k=a", "k=a"),
    ],
)
def test_a_member_is_kept_whole_or_not_at_all(state: str, kept: str) -> None:
    """One that the end of what is looked at cuts would pass on what nobody has sent."""
    assert shorten(state) == kept


MEMBERS = st.from_regex("[a-z][a-z0-9]{0,9}=[!-+]{1,200}", fullmatch=True)
TEXTS = st.text(st.characters(codec="latin-1"), max_size=60)


@given(st.lists(MEMBERS, max_size=40))
def test_a_state_is_bounded(members: list[str]) -> None:
    """Whole members from the front are kept: all where there is room, else as many as fit."""
    kept = shorten(" ,".join(members))
    count = kept.count(",") + 1 if kept else 0

    assert kept == ",".join(members[:count])
    assert len(kept) <= MAX_STATE
    assert count <= MAX_MEMBERS
    next_one = ",".join(members[: count + 1])
    assert count in (len(members), MAX_MEMBERS) or len(next_one) > MAX_STATE


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parent=TEXTS | st.just(PARENT), state=TEXTS | st.lists(MEMBERS | TEXTS).map(",".join))
@example(parent=PARENT, state="5512345678@5512345678=x")
@example(parent=PARENT, state="a=1\n")
def test_whatever_is_sent_nobody_writes_it_into_a_log(
    caplog: pytest.LogCaptureFixture, parent: str, state: str
) -> None:
    """The API warns of what it finds amiss, and quotes it: it is not shown such a thing."""
    find(("traceparent", parent), ("tracestate", state))

    assert caplog.records == []


@given(
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.dictionaries(
        st.from_regex("[a-z][a-z0-9]{0,9}", fullmatch=True), st.just("x y"), max_size=3
    ),
)
def test_what_is_kept_is_read_again(
    trace_id: int,
    span_id: int,
    is_sampled: bool,  # noqa: FBT001
    state: dict[str, str],
) -> None:
    """A context comes back as it was: trace, span, flags and state."""
    sent = trace.SpanContext(
        trace_id,
        span_id,
        is_remote=True,
        trace_flags=trace.TraceFlags(int(is_sampled)),
        trace_state=trace.TraceState(list(state.items())),
    )
    with trace.use_span(trace.NonRecordingSpan(sent)):
        kept = Spans(Collected().provider).find_context()

    assert kept is not None
    assert parse(kept) == sent


@pytest.mark.parametrize("kept", [None, "", "rubbish", f"00-{TRACE}", " a=1"])
def test_what_is_no_context_is_none(kept: str | None) -> None:
    """Somebody may have written something else into the table: there is no link then."""
    assert parse(kept) is None


def test_without_a_span_nothing_is_kept() -> None:
    """Where no span is current there is no context."""
    assert Spans(Collected().provider).find_context() is None


def test_an_append_within_no_request_begins_a_trace() -> None:
    """It tells the first position and how many there are."""
    found = Collected()
    with Spans(found.provider).append("wa") as stored:
        stored([7, 8])

    span = found.one("append wa")
    told = attributes_of(span)
    assert span.parent is None
    assert (told[names.POSITION], told[names.BATCH_COUNT]) == (7, 2)
