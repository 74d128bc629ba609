"""The story: what is posted, and that each of it is what the text says it is."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from router.demo.project import NUMBER
from router.demo.story import COUNTER, ONLINE, Post, make_story
from router.errors import Unreadable
from router.events import EVENT_TYPES, Draft
from router.plugins.whatsapp.split import split

NOW = 1_700_000_000
POSTS = [post for step in make_story(now=NOW) for post in step.posts]


def split_post(post: Post) -> list[Draft]:
    """The events inside one request, as its source would find them."""
    return split(post.body, channel=NUMBER if post.source == COUNTER else "")


def types_of(name: str) -> list[tuple[str, str]]:
    """Type and subtype of the events in the body of that name."""
    post = next(post for post in POSTS if post.name == name)
    return [(draft.type, draft.subtype) for draft in split_post(post)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("message", [("message", "text")]),
        ("sent", [("sent", "sent")]),
        ("delivered", [("delivered", "delivered")]),
        ("read", [("read", "read")]),
        ("errors", [("error", "400")]),
        (
            "batch",
            [
                ("message", "text"),
                ("delivered", "delivered"),
                ("message", "order"),
                ("error", "failed"),
                ("other", "account_update"),
            ],
        ),
        ("damaged", [("message", "text"), ("other", "malformed"), ("message", "text")]),
    ],
)
def test_bodies_hold_what_the_story_says(name: str, expected: list[tuple[str, str]]) -> None:
    """Each body splits into the events that its step speaks of."""
    assert types_of(name) == expected


def test_the_story_has_every_type_of_event() -> None:
    """Whoever watches has seen each of the six types once at least."""
    taken = [post for post in POSTS if post.status == 200]

    assert {draft.type for post in taken for draft in split_post(post)} == set(EVENT_TYPES)


def test_the_receipts_name_their_price() -> None:
    """Pricing comes with sent and delivered, as the On-Premises API sends it."""
    priced = {post.name for post in POSTS if b'"pricing"' in post.body and post.source == COUNTER}

    assert priced == {"sent", "delivered"}


def test_one_body_comes_twice() -> None:
    """The redelivery is the same request to the byte, and the only one that is repeated."""
    assert Counter(post.name for post in POSTS) - Counter({post.name for post in POSTS}) == {
        "batch": 1
    }


def test_half_a_body_is_unreadable() -> None:
    """What breaks off is no JSON, and is meant to be answered 400."""
    half = next(post for post in POSTS if post.name == "half")

    assert half.status == 400
    with pytest.raises(Unreadable):
        split_post(half)


def test_the_forgery_would_pass_but_for_its_signature() -> None:
    """What keeps the made-up message out is its signature alone."""
    forged = next(post for post in POSTS if post.is_forged)

    assert (forged.source, forged.status) == (ONLINE, 401)
    assert types_of("forged") == [("message", "text")]


def test_nothing_happens_in_the_future() -> None:
    """The provider's times lie shortly before the moment at which the story is told."""
    times = [draft.occurred_at for post in POSTS[:-1] for draft in split_post(post)]
    now = datetime.fromtimestamp(NOW, UTC)

    assert all(0 <= (now - time).total_seconds() < 120 for time in times if time)
