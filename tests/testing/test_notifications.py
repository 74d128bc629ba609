"""Tests of the notifications that tests are made of: an adapter finds in them what they say."""

import pytest

from router.events import EVENT_TYPES
from router.plugins.whatsapp.split import split
from router.testing import notifications
from router.testing.notifications import CUSTOMER, SHAPES, Shape, kinds

BOTH = pytest.mark.parametrize("shape", SHAPES)


@pytest.mark.parametrize(("shape", "kind"), [(one, kind) for one in SHAPES for kind in kinds(one)])
def test_every_kind_of_message_is_one(shape: Shape, kind: str) -> None:
    """A message of each kind becomes an event of that subtype, of its sender."""
    (draft,) = split(notifications.message(kind=kind, id="m.1", shape=shape))
    assert (draft.type, draft.subtype) == ("message", kind)
    assert (draft.external_id, draft.conversation) == ("m.1", CUSTOMER)


@BOTH
@pytest.mark.parametrize(
    ("word", "type_"),
    [
        ("sent", "sent"),
        ("delivered", "delivered"),
        ("read", "read"),
        ("failed", "error"),
        ("played", "other"),
        ("deleted", "other"),
        ("a-new-word", "other"),
    ],
)
def test_every_status_is_one(shape: Shape, word: str, type_: str) -> None:
    """A status becomes an event of its type, about that message and its recipient."""
    body = notifications.status(
        word, id="m.1", recipient="12015550199", at=1_800_000_000, shape=shape
    )
    (draft,) = split(body)
    assert (draft.type, draft.subtype) == (type_, word)
    assert (draft.external_id, draft.conversation) == ("m.1", "12015550199")
    assert draft.occurred_at is not None
    assert draft.occurred_at.timestamp() == 1_800_000_000


@BOTH
def test_errors_have_the_code_that_is_wanted(shape: Shape) -> None:
    """An error by itself, and a failed message, tell the code."""
    (alone,) = split(notifications.error(131053, shape=shape))
    assert (alone.type, alone.subtype, alone.external_id) == ("error", "131053", None)
    assert b"131026" in notifications.status("failed", code=131026, shape=shape)
    (other,) = split(notifications.error(shape=shape))
    assert other.type == "error"


def test_a_field_of_the_cloud_is_an_event_of_its_own() -> None:
    """A change of another field is of type other, and is called by the field's name."""
    (draft,) = split(notifications.field("account_update", {"event": "ACCOUNT_DELETED"}))
    assert (draft.type, draft.subtype) == ("other", "account_update")


@BOTH
def test_several_come_together(shape: Shape) -> None:
    """One body holds the events of all, and each contact once."""
    body = notifications.together(
        notifications.message("One", id="m.1", shape=shape),
        notifications.message("Two", id="m.2", shape=shape),
        notifications.status("read", id="m.3", shape=shape),
        notifications.error(shape=shape),
    )
    drafts = split(body)
    assert [draft.type for draft in drafts] == ["message", "message", "read", "error"]
    assert len({draft.natural_key for draft in drafts[:3]}) == 3


def test_both_shapes_do_not_come_together() -> None:
    """A notification is of one shape."""
    mixed = [notifications.message(shape=shape) for shape in SHAPES]
    with pytest.raises(ValueError, match="of one shape"):
        notifications.together(*mixed)
    with pytest.raises(ValueError, match="holds something"):
        notifications.together()


@BOTH
def test_ids_are_new_each_time(shape: Shape) -> None:
    """Two that are made alike are two events, so that the log does not drop the second."""
    for make in (notifications.message, lambda shape: notifications.status("sent", shape=shape)):
        (first,), (second,) = split(make(shape=shape)), split(make(shape=shape))
        assert first.natural_key != second.natural_key
    assert notifications.error(shape=shape) != notifications.error(shape=shape)


@BOTH
def test_what_is_given_is_in_it(shape: Shape) -> None:
    """Text, group and anything else can be chosen; a kind that does not exist is refused."""
    body = notifications.message("¿Sí?", group="g-1", context={"id": "m.0"}, shape=shape)
    (draft,) = split(body)
    assert draft.conversation == "g-1"
    assert b'"context":{"id":"m.0"}' in body
    with pytest.raises(ValueError, match=r"known are .*text"):
        notifications.message(kind="txt", shape=shape)


def test_there_is_one_of_every_type() -> None:
    """No type of event is left out."""
    made = [
        notifications.message(),
        *map(notifications.status, ("sent", "delivered", "read", "played")),
        notifications.error(),
    ]
    assert {draft.type for body in made for draft in split(body)} == set(EVENT_TYPES)
