"""Tests of the strategies: what they draw is what they say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import Unreadable
from router.events import EVENT_TYPES, Event, EventType, position_in
from router.plugins.whatsapp.split import split
from router.testing import strategies
from router.testing.notifications import SHAPES, Shape


@given(st.data(), st.sampled_from(SHAPES))
def test_notifications_are_realistic(data: st.DataObject, shape: Shape) -> None:
    """Everything in a notification is recognised, and it is of the shape that is wanted."""
    body = data.draw(strategies.notifications(shape=shape))
    assert ("entry" in json.loads(body)) == (shape == "cloud")
    assert not {draft.subtype for draft in split(body)} & {"malformed", "unrecognised"}


@given(strategies.histories(most=5))
def test_histories_hold_at_least_one(history: list[bytes]) -> None:
    """A history has from one to as many notifications as are wanted."""
    assert 1 <= len(history) <= 5
    assert all(split(body) for body in history)


@pytest.mark.parametrize("type_", EVENT_TYPES)
@given(data=st.data())
def test_events_are_as_handlers_get_them(type_: EventType, data: st.DataObject) -> None:
    """An event of the wanted type has a payload, a subject, and an id with its position."""
    event = data.draw(strategies.events(type=type_))
    assert event.type == type_
    assert isinstance(event.payload, dict)
    assert event.parent is not None
    assert event.subject == f"{event.channel}:{event.subject.partition(':')[2]}"
    assert position_in(event.id) == event.position
    assert event.received_at.tzinfo is not None


@given(strategies.events(shape="onprem"))
def test_events_are_of_the_shape_that_is_wanted(event: Event) -> None:
    """An event of the On-Premises API stands at the top of its body."""
    assert event.path.startswith(("$.messages[0]", "$.statuses[0]", "$.errors[0]"))


@given(strategies.bodies())
def test_bodies_are_anything(body: bytes) -> None:
    """Whatever is posted gives events or is unreadable."""
    try:
        assert split(body)
    except Unreadable:
        return
