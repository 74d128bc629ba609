"""Properties of the splitter: whatever comes in, it answers, and always the same."""

from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from router import bodies, paths
from router.errors import Unreadable
from router.events import EVENT_TYPES, key_of
from router.plugins.whatsapp.split import split
from router.testing.strategies import json_values, mutated
from tests import samples
from tests.plugins.corpus import corpus_values


def assert_sound(body: bytes) -> None:
    """Split ``body`` and hold the result to everything that is promised of any body."""
    try:
        drafts = split(body, channel="+52")
    except Unreadable:
        return
    data = bodies.decode(body)
    assert drafts
    assert drafts == split(body, channel="+52")
    assert len({draft.path for draft in drafts}) == len(drafts)
    for draft in drafts:
        paths.find(data, draft.path)
        assert draft.type in EVENT_TYPES
        assert draft.subtype
        texts = [draft.subtype, draft.channel, draft.conversation, draft.external_id or ""]
        assert all(len(text.encode()) <= 512 and "\0" not in text for text in texts)
        assert draft.external_id != ""
        assert draft.occurred_at is None or draft.occurred_at.tzinfo is UTC
        assert len(key_of("wa", draft, body)) == 16


@given(st.binary())
def test_any_bytes(body: bytes) -> None:
    """Any bytes give events or are refused as unreadable."""
    assert_sound(body)


@given(json_values())
def test_any_json(value: object) -> None:
    """Any JSON value gives events whose paths, texts and times can be used."""
    assert_sound(samples.as_body(value))


@given(mutated(samples.all_samples() + corpus_values()))
def test_mutated_samples(body: bytes) -> None:
    """Our own samples and those of others, with anything at all in any place, do so too."""
    assert_sound(body)
