"""Tests of the plugin `timeline`: what it keeps of what a provider tells, live and replayed."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from router.plugins.timeline.model import Message, make_message, make_step
from tests import samples
from tests.plugins.corpus import read_rows
from tests.plugins.timelines import (
    at,
    handle,
    handling,
    make_events,
    read_messages,
    read_steps,
    statuses,
)

SUBJECT = f"{samples.NUMBER}:{samples.CUSTOMER}"


def tell(engine: Engine, *elements: samples.Json) -> Message:
    """Handle these statuses, and return the row of the one message that they are about."""
    with handling(engine, statuses(*elements)) as connection:
        (row,) = read_messages(connection)
        return make_message(row)


# What is kept of a message.


def test_a_message_has_its_times_and_its_price(engine: Engine) -> None:
    """Each status gives its own time; the price is that of the last one that tells it."""
    free = {"billable": False, "category": "service"}
    message = tell(
        engine,
        samples.status("sent", timestamp=at(0)),
        samples.status("delivered", timestamp=at(2), pricing=free),
        samples.status("read", timestamp=at(5), pricing=None),
        samples.status("played", timestamp=at(9), pricing=None),
    )

    assert message.as_dict() == {
        "message_id": "wamid.OUT1",
        "channel": samples.NUMBER,
        "subject": SUBJECT,
        "state": "played",
        "sent_at": "2026-09-21T14:13:20Z",
        "delivered_at": "2026-09-21T14:13:22Z",
        "read_at": "2026-09-21T14:13:25Z",
        "played_at": "2026-09-21T14:13:29Z",
        "failed_at": None,
        "errors": [],
        "pricing": free,
    }


def test_delivered_may_be_missing(engine: Engine) -> None:
    """A message that is read as it arrives is read; nobody makes up when it was delivered."""
    message = tell(engine, samples.status("sent"), samples.status("read", timestamp=at(1)))

    assert (message.state, message.delivered_at) == ("read", None)


@pytest.mark.parametrize("word", ["delivered", "read", "played"])
def test_what_arrived_beats_a_failure(engine: Engine, word: str) -> None:
    """In both orders; the failure stays there with its error."""
    failed, arrived = samples.failure(timestamp=at(1)), samples.status(word, timestamp=at(2))

    for order in ([failed, arrived], [arrived, failed]):
        message = tell(engine, samples.status("sent"), *order)
        assert message.state == word
        assert message.as_dict()["failed_at"] == "2026-09-21T14:13:21Z"
        assert message.as_dict()["errors"] == [samples.error(131026)]


def test_a_failure_beats_sent(engine: Engine) -> None:
    """In both orders; of several failures the first one gives the errors."""
    sent = samples.status("sent", timestamp=at(9))
    late, early = samples.failure(131000, timestamp=at(3)), samples.failure(timestamp=at(1))

    for order in ([sent, late, early], [early, sent, late], [late, early, sent]):
        message = tell(engine, *order)
        assert message.state == "failed"
        assert message.as_dict()["errors"] == [samples.error(131026)]


def test_a_status_without_a_time_counts_from_its_receipt(engine: Engine) -> None:
    """The time at which the router got it is the next best."""
    assert tell(engine, samples.status(timestamp="soon")).as_dict()["sent_at"] == (
        "2026-09-21T14:30:00Z"
    )


def test_unknown_statuses_are_kept_as_steps(engine: Engine) -> None:
    """A message of which nothing else is known has no state."""
    events = statuses(samples.status("deleted"), samples.status("in_orbit", 1))
    with handling(engine, events) as connection:
        assert [row.state for row in read_messages(connection)] == [None]
        assert [row.subtype for row in read_steps(connection)] == ["deleted", "in_orbit"]


def test_receipts_of_a_group_are_one_message(engine: Engine) -> None:
    """The first participant who reads it counts; each receipt is a step."""
    group = {"recipient_type": "group", "recipient_id": "group-7"}
    receipts = [
        samples.status("read", timestamp=at(5), recipient_participant_id="1", **group),
        samples.status("read", timestamp=at(3), recipient_participant_id="2", **group),
    ]
    with handling(engine, statuses(*receipts)) as connection:
        (message,) = map(make_message, read_messages(connection))
        assert message.subject == f"{samples.NUMBER}:group-7"
        assert message.as_dict()["read_at"] == "2026-09-21T14:13:23Z"
        assert len(read_steps(connection)) == 2


def test_two_channels_may_know_one_id(engine: Engine) -> None:
    """An id is unique at its channel; neither message takes from the other."""
    body = samples.as_body({"statuses": [samples.status()]})
    events = [*make_events(body, channel="+1"), *make_events(body, channel="+2")]
    with handling(engine, events) as connection:
        assert [row.channel for row in read_messages(connection)] == ["+1", "+2"]


def test_errors_may_be_odd(engine: Engine) -> None:
    """What cannot be stored as text everywhere is escaped; what is no list becomes one."""
    odd: list[object] = [{"code": 1, "title": "\ud800 and \0"}]
    assert tell(engine, samples.status("failed", errors=odd)).as_dict()["errors"] == odd
    assert tell(engine, samples.status("failed", errors="no")).as_dict()["errors"] == ["no"]
    assert tell(engine, samples.status("failed", errors=[])).as_dict()["errors"] == []
    deep: list[object] = []
    for _ in range(400):
        deep = [deep]
    assert tell(engine, samples.status("failed", errors=deep)).as_dict()["errors"] == deep


# What is kept of a conversation.


def test_a_conversation_is_what_happened_in_order(engine: Engine) -> None:
    """Messages, statuses and errors; On-Premises and Cloud alike."""
    for body in (samples.onprem_mixed(), samples.cloud_value(**samples.onprem_mixed())):
        with handling(engine, make_events(samples.as_body(body))) as connection:
            steps = [make_step(row) for row in read_steps(connection)]
            assert [(step.type, step.subtype, step.message_id) for step in steps] == [
                ("message", "text", "wamid.IN1"),
                ("read", "read", "wamid.OUT1"),
                ("error", "1015", None),
            ]
            assert [step.as_dict()["errors"] for step in steps] == [
                [],
                [],
                [samples.error(1015, details="Too many requests")],
            ]
            assert {step.subject.rpartition(":")[2] for step in steps} == {samples.CUSTOMER}
            assert len(read_messages(connection)) == 1


def test_a_message_may_hold_errors(engine: Engine) -> None:
    """That one cannot be shown is said in the message itself: it stays a message."""
    message = samples.text_message(type="unsupported", errors=[samples.error(131051)])
    body = samples.as_body(samples.cloud_value(messages=[message]))
    with handling(engine, make_events(body)) as connection:
        (step,) = map(make_step, read_steps(connection))
        assert json.loads(step.errors or "") == [samples.error(131051)]
        assert read_messages(connection) == []


@pytest.mark.parametrize(
    "body",
    [
        samples.calls(),
        samples.cloud_field("account_update", event="DISABLED_UPDATE"),
        samples.cloud_field("smb_message_echoes", message_echoes=[samples.text_message(3)]),
        samples.cloud_value(statuses=["malformed"]),
        {"status": "unrecognised", "id": "1"},
    ],
)
def test_what_is_no_part_of_a_conversation_is_left_out(engine: Engine, body: object) -> None:
    """Calls, accounts and what cannot be read leave no trace."""
    with handling(engine, make_events(samples.as_body(body))) as connection:
        assert (read_messages(connection), read_steps(connection)) == ([], [])


def test_notifications_of_others_are_taken(corpus: Path, engine: Engine) -> None:
    """Every sample is handled: twice is once, and each status has a message."""
    assert corpus.is_dir()
    followed = 0
    for row in read_rows():
        if row.tokens[0].startswith("reject:"):
            continue
        events = make_events(row.body, channel="+1")
        with handling(engine, events) as connection:
            once = read_messages(connection), read_steps(connection)
            handle(connection, events)
            assert (read_messages(connection), read_steps(connection)) == once, row.file
            kept = [event for event in events if event.type != "other"]
            assert {event.position for event in kept} <= {step.position for step in once[1]}
            told = {event.external_id for event in kept if event.type not in ("message", "error")}
            assert told <= {message.message_id for message in once[0]}
            followed += len(once[0])
    assert followed > 20
