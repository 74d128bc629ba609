"""Tests of `router.stored`: each notification once, with the keys of what it brought along."""

import pytest

from router import stored
from router.events import key_of
from router.log import EventLog
from router.store import Store
from router.stored import read_stored
from tests.reparsed import fill, make_body, make_redelivered, make_stored, reparse, split_now


def ids(store: Store) -> list[list[int]]:
    """Return the ids of each page."""
    return [[one.id for one in page.notifications] for page in read_stored(store, "shop")]


@pytest.mark.parametrize(
    ("page", "found"), [(2, [[1, 2], [4]]), (3, [[1, 2, 4]]), (9, [[1, 2, 4]])]
)
def test_pages_follow_each_other(
    store: Store, log: EventLog, monkeypatch: pytest.MonkeyPatch, page: int, found: list[list[int]]
) -> None:
    """None is missed and none comes twice, whatever the size of a page."""
    log.append([make_stored(1), make_stored(2), make_stored(3, source="other"), make_stored(4)])
    monkeypatch.setattr(stored, "PAGE", page)

    assert ids(store) == found


def test_a_page_of_large_bodies_is_cut(
    store: Store, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least one is read."""
    fill(log, 3)
    monkeypatch.setattr(stored, "PAGE_BYTES", 1)

    assert [page for page in ids(store) if page] == [[1], [2], [3]]


def test_keys_are_those_of_the_events_that_follow(store: Store, log: EventLog) -> None:
    """With what was found later, if it stands there; without what others brought in between."""
    first, second = make_redelivered(1), make_stored(2, make_body(2, receipts=[3]))
    other = make_stored(3, source="other")
    log.append([first, other, second])
    reparse(log)

    [page] = read_stored(store, "shop")

    bodies = [first.notification.body, second.notification.body]
    assert [one.body for one in page.notifications] == bodies
    drafts = [*split_now(bodies[0]), *split_now(bodies[1])]
    assert page.keys == {key_of("shop", draft, b"") for draft in drafts}
