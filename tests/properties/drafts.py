"""Entries that meet again: in one batch, in the next one, and from another appender."""

from datetime import datetime

from hypothesis import strategies as st

from router.events import Draft, Entry, Notification
from tests.entries import NOON

Key = tuple[object, ...]

PATHS = ("$", "$.a", "$.b[0]")
BAD = ("bad",)  # the natural key of what cannot be stored, and therefore is never known

drafts = st.builds(
    Draft,
    path=st.sampled_from(PATHS),
    type=st.sampled_from(["message", "sent", "other"]),
    subtype=st.just("text"),
    conversation=st.sampled_from(["ana", "bo", "", "\u00e9\U0001f600"]),
    # Few, so that they meet again in this batch, in the next one, and in another body.
    natural_key=st.none() | st.tuples(st.sampled_from("xyz"), st.sampled_from("12")),
)
bad_drafts = st.builds(
    Draft,
    path=st.sampled_from(["$", "nowhere"]),
    type=st.just("other"),
    subtype=st.sampled_from(["text", "\ud800", "a\0b"]),
    # Where nothing else is wrong, it fails in the middle of the transaction: this time has no zone.
    occurred_at=st.just(datetime(2026, 1, 1)),
    natural_key=st.just(BAD),
)


def entries_of(found: st.SearchStrategy[Draft], *, least: int = 0) -> st.SearchStrategy[Entry]:
    """Return entries of such drafts, some in the same body."""
    notifications = st.builds(
        Notification,
        source=st.sampled_from(["wa", "other"]),
        received_at=st.just(NOON),
        headers=st.just({}),
        body=st.sampled_from([b'{"a": 1}', b'{"b": [2]}', b"\xff", b'"\\ud800"']),
    )
    return st.builds(Entry, notifications, st.lists(found, min_size=least, max_size=4))


def key_of(entry: Entry, draft: Draft) -> Key:
    """Return what tells an event from all others, in other words than the log's."""
    if draft.natural_key is None:
        return entry.notification.source, entry.notification.body, draft.path
    return entry.notification.source, draft.natural_key
