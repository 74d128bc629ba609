"""Strategies of Hypothesis: notifications and events, realistic, odd, or anything at all.

They come with the extra ``testing``.
"""

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import islice

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from router.events import EVENT_TYPES, Event, EventType, Notification, from_micros, make_ids
from router.plugins.whatsapp.split import split
from router.rows import make_event
from router.testing import notifications as made
from router.testing.notifications import SHAPES, Shape
from router.testing.shop import Mix, Shop
from router.testing.shop.shop import START

__all__ = ["bodies", "events", "histories", "json_values", "mutated", "notifications"]

_WORDS = ["id", "type", "status", "from", "field", "value", "messages", "statuses", "errors"]
_WORDS += ["entry", "changes", "contacts", "metadata", "timestamp", "read", "failed", "code"]
_STATUSES: dict[EventType, str] = {"sent": "sent", "delivered": "delivered", "read": "read"}

Place = tuple[dict[str, object], str] | tuple[list[object], int]


def json_values() -> SearchStrategy[object]:
    """Return any JSON value, with lone surrogates, NUL, NaN, huge numbers and known words."""
    texts = st.text(st.characters()) | st.sampled_from(_WORDS)
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
    return st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=12
    )


def bodies() -> SearchStrategy[bytes]:
    """Return what anybody might post: bytes, JSON, notifications, and damaged ones."""
    values = json_values().map(lambda value: json.dumps(value).encode())
    return st.binary() | values | notifications() | notifications().flatmap(_damaged)


def _damaged(body: bytes) -> SearchStrategy[bytes]:
    return mutated([json.loads(body)])


def notifications(*, shape: Shape | None = None) -> SearchStrategy[bytes]:
    """Return notifications as they come: of any kind, of customers of a made-up shop.

    Args:
        shape: Of the Cloud API, or the On-Premises API; None for either.
    """
    return histories(shape=shape, most=1).map(lambda history: history[0])


@st.composite
def histories(draw: DrawFn, *, shape: Shape | None = None, most: int = 20) -> list[bytes]:
    """Return what a made-up shop is sent in a while: with batches, copies and late ones.

    Args:
        draw: Of Hypothesis.
        shape: Of the Cloud API, or the On-Premises API; None for either.
        most: How many notifications at most.
    """
    shop = Shop(
        shape=draw(st.sampled_from(SHAPES if shape is None else (shape,))),
        customers=draw(st.integers(4, 40)),
        seed=draw(st.integers(0, 2**32)),
        mix=Mix(duplicates=0.1, reorder=0.2, batch=0.3, batch_size=5),
    )
    count = draw(st.integers(1, most))
    return [posting.body for posting in islice(shop.draw(), count)]


@st.composite
def events(
    draw: DrawFn,
    *,
    type: EventType | None = None,  # noqa: A002 - the event's word
    shape: Shape | None = None,
) -> Event:
    """Return an event as a handler gets it, with the notification that holds it.

    Args:
        draw: Of Hypothesis.
        type: Of the event; None for any.
        shape: Of the Cloud API, or the On-Premises API; None for either.
    """
    wanted = draw(st.sampled_from(EVENT_TYPES if type is None else (type,)))
    body = draw(_bodies_of(wanted, draw(st.sampled_from(SHAPES if shape is None else (shape,)))))
    (draft,) = split(body, channel="+15550001122")
    position = draw(st.integers(1, 2**40 - 1))
    received_at = from_micros(START * 1_000_000 + draw(st.integers(0, 10**12)))
    notification = Notification("whatsapp", received_at, {}, body, position)
    return make_event(draft, notification, position=position, id=make_ids(position, 1)[0])


@st.composite
def _bodies_of(draw: DrawFn, type_: EventType, shape: Shape) -> bytes:
    number = f"1201555{draw(st.integers(100, 199)):04}"
    at = START + draw(st.integers(0, 10**6))
    id_ = f"wamid.{draw(st.integers(0, 2**64)):X}"
    if type_ == "message":
        kind = draw(st.sampled_from(made.kinds(shape)))
        text = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
        return made.message(text, kind=kind, sender=number, id=id_, at=at, shape=shape)
    if type_ == "error" and draw(st.booleans()):
        return made.error(draw(st.integers(1, 140_000)), at=at, shape=shape)
    word = "failed" if type_ == "error" else _STATUSES.get(type_, "deleted")
    return made.status(word, recipient=number, id=id_, at=at, shape=shape)


@st.composite
def mutated(draw: DrawFn, originals: Sequence[object]) -> bytes:
    """Return the body of one of ``originals`` with some of its places, and a byte, changed."""
    value = deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_find_places(value))
        if places:
            _change(draw, draw(st.sampled_from(places)))
    body = json.dumps(value).encode()
    at = draw(st.none() | st.integers(0, len(body)))
    return body if at is None else body[:at] + draw(st.binary(max_size=2)) + body[at + 1 :]


def _find_places(value: object) -> Iterator[Place]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _find_places(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from _find_places(inner)


def _change(draw: DrawFn, place: Place) -> None:
    holder, key = place
    kept = holder[key]  # type: ignore[index]  # they come as fitting pairs
    match draw(st.sampled_from(["replace", "remove", "wrap", "repeat"])):
        case "replace":
            made_up = draw(json_values())
        case "wrap":
            made_up = [kept]
        case "repeat":
            made_up = [kept, kept]
        case _:
            del holder[key]  # type: ignore[arg-type]
            return
    holder[key] = made_up  # type: ignore[index]
