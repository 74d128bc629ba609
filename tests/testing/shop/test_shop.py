"""The shop's traffic: a receiver finds in it what the shop says, and it is the same each time."""

import json
import re
from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.plugins.whatsapp.split import split
from router.testing.shop import LARGEST, Mix, Posting, Shop, identify
from router.testing.shop.contents import Contents
from router.testing.shop.facts import Shape

PLAIN = Mix(duplicates=0, reorder=0, batch=0)
SHAPES: tuple[Shape, ...] = ("cloud", "onprem")
both = pytest.mark.parametrize("shape", SHAPES)


def drawn(count: int, shop: Shop) -> list[Posting]:
    """The shop's first notifications."""
    return list(islice(shop.draw(), count))


@given(
    shape=st.sampled_from(SHAPES),
    seed=st.integers(0, 2**32),
    batch=st.sampled_from([0.0, 0.3, 1.0]),
    customers=st.sampled_from([1, 7, 500]),
)
def test_a_receiver_finds_what_the_shop_expects(
    shape: Shape, seed: int, batch: float, customers: int
) -> None:
    """The adapter splits every body into just the events that the shop names, in their order."""
    shop = Shop(shape=shape, seed=seed, customers=customers, mix=Mix(batch=batch, batch_size=30))
    for made in drawn(60, shop):
        found = split(made.body, channel="+12005550100")

        assert [(one.type, one.subtype, one.external_id, one.conversation) for one in found] == [
            (one.type, one.subtype, one.external_id, one.conversation) for one in made.expected
        ]


@both
def test_no_two_events_are_alike(shape: Shape) -> None:
    """Natural ids differ between all notifications but copies, so that a log can be compared."""
    made = drawn(5000, Shop(shape=shape, seed=4))
    ids = Counter(one.natural_id for each in made if each.copy_of is None for one in each.expected)

    assert ids.most_common(1)[0][1] == 1


@both
def test_an_exported_event_is_identified(shape: Shape) -> None:
    """From what `events export` prints of an event follows the natural id that the shop gave it."""
    for made in drawn(3000, Shop(shape=shape, seed=5)):
        body = json.loads(made.body)
        for expected, draft in zip(made.expected, split(made.body), strict=True):
            event = {
                "type": draft.type,
                "subtype": draft.subtype,
                "external_id": draft.external_id,
                "payload": follow(body, draft.path),
            }
            assert identify(event) == expected.natural_id


def follow(body: object, path: str) -> object:
    """Return what stands at a path such as ``$.entry[0]``."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        body = body[name] if name else body[int(index)]  # type: ignore[index]
    return body


@both
def test_all_kinds_of_things_happen(shape: Shape) -> None:
    """Every type of message, every status, errors and other fields are among a day's traffic."""
    made = drawn(8000, Shop(shape=shape, seed=6))
    found = {(one.type, one.subtype) for each in made for one in each.expected}
    others = {"cloud": {"played", "smb_message_echoes", "message_template_status_update"}}

    assert {subtype for type_, subtype in found if type_ == "message"} == Contents(shape).kinds
    assert {"sent", "delivered", "read", "error"} <= {type_ for type_, _ in found}
    assert ("error", "failed") in found
    assert len([one for one in found if one[0] == "error"]) == 3
    assert {subtype for type_, subtype in found if type_ == "other"} == others.get(
        shape, {"deleted", "warning"}
    )


@both
def test_a_groups_receipts_come_in_one_notification(shape: Shape) -> None:
    """Of one message, as many members as there are have it delivered, all told in one POST."""
    made = drawn(3000, Shop(shape=shape, seed=7, mix=PLAIN))
    groups = [each for each in made if len(each.expected) > 1]

    assert groups
    for each in groups:
        ids = {one.external_id for one in each.expected}
        members = {one.natural_id for one in each.expected}
        assert (len(ids), len(members)) == (1, 4)


@both
def test_equal_seeds_make_equal_traffic(shape: Shape) -> None:
    """The same arguments make the same bytes; another seed shares no event with them."""
    first, again = (drawn(500, Shop(shape=shape, seed=8)) for _ in range(2))
    other = drawn(500, Shop(shape=shape, seed=9))

    assert first == again
    assert not natural_ids(first) & natural_ids(other)


def natural_ids(made: list[Posting]) -> set[str]:
    """The natural ids in all of them."""
    return {one.natural_id for each in made for one in each.expected}


def test_duplicates_repeat_an_earlier_one() -> None:
    """At the rate that was asked for, one is sent again byte for byte, and says which."""
    made = drawn(4000, Shop(seed=10, mix=Mix(duplicates=0.1, reorder=0, batch=0)))
    copies = [each for each in made if each.copy_of is not None]

    assert 0.07 < len(copies) / len(made) < 0.11
    for each in copies:
        original = made[each.copy_of or 0]
        assert original.body == each.body
        assert 0 < each.number - original.number <= 40
        assert original.copy_of is None


def test_without_a_mix_everything_comes_alone_and_in_order() -> None:
    """Nothing is repeated, nothing late, nothing in a batch; with reordering, some statuses are."""
    plain = drawn(4000, Shop(seed=11, mix=PLAIN))
    mixed = drawn(4000, Shop(seed=11, mix=Mix(duplicates=0, reorder=0.2, batch=0)))

    assert all(each.copy_of is None for each in plain)
    assert count_overtaken(plain) == 0
    assert count_overtaken(mixed) > 0


def count_overtaken(made: list[Posting]) -> int:
    """How many notifications hold a time before that of the one before them."""
    times = [
        int(re.findall(rb'"timestamp":"(\d+)"', each.body)[0])
        for each in made
        if b'"timestamp' in each.body
    ]
    return sum(later < earlier for earlier, later in pairwise(times))


def test_batches_hold_several() -> None:
    """With a share of one, each notification holds from two to as many events as were allowed."""
    made = drawn(500, Shop(seed=12, mix=Mix(duplicates=0, reorder=0, batch=1, batch_size=40)))

    assert min(len(each.expected) for each in made) >= 2
    assert max(len(each.expected) for each in made) > 30


@both
@pytest.mark.parametrize("off", [{"sent"}, {"delivered", "read"}, {"sent", "delivered", "read"}])
def test_statuses_that_are_off_never_come(shape: Shape, off: set[str]) -> None:
    """They are left out, wherever they would have stood; all others come."""
    on = frozenset({"sent", "delivered", "read", "failed"} - off)
    made = islice(Shop(shape=shape, seed=13).draw(lambda: on), 3000)
    found = {one.subtype for each in made for one in each.expected}

    assert not found & off
    assert found >= on


def test_a_status_that_is_switched_off_stops_at_once() -> None:
    """Not even a copy, or one that was held back, comes after the switch."""
    statuses = {"sent", "delivered", "read", "failed"}
    flow = Shop(seed=14, mix=Mix(duplicates=0.5, reorder=0.5)).draw(lambda: frozenset(statuses))
    before = {one.type for each in islice(flow, 500) for one in each.expected}
    statuses.remove("read")
    after = {one.type for each in islice(flow, 500) for one in each.expected}

    assert "read" in before
    assert "read" not in after


@both
def test_nobody_real_is_in_it(shape: Shape) -> None:
    """All phone numbers are of 555-01xx, which is set aside for fiction."""
    made = drawn(2000, Shop(shape=shape, seed=15, customers=LARGEST))
    numbers = {one for each in made for one in re.findall(rb'(?<=")1[2-9]\d{9}(?=")', each.body)}
    times = {one for one in numbers if one.startswith(b"179000")}

    assert len(numbers) > 500
    assert all(re.fullmatch(rb"1\d{3}55501\d\d", one) for one in numbers - times)


def test_the_cloud_api_escapes() -> None:
    """Its bodies are ASCII with escaped slashes, so only their very bytes have the signature."""
    bodies = [each.body for each in drawn(500, Shop(seed=16))]

    assert all(body.isascii() for body in bodies)
    assert any(b"\\u" in body for body in bodies)
    assert not any(re.search(rb"(?<!\\)/", body) for body in bodies)
