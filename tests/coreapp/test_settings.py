"""Settings of a Coreapp by name: nested and back, compared, and shown without credentials."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.coreapp.settings import (
    Change,
    find_changes,
    find_side_effects,
    flatten,
    has_switches,
    nest,
    show_all,
)

NAMES = st.text("abc_", min_size=1, max_size=4)
VALUES = st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3)
NESTED = st.recursive(
    VALUES, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=8
)


@given(st.dictionaries(NAMES, NESTED, max_size=4))
def test_what_is_flattened_can_be_nested_again(settings: dict[str, object]) -> None:
    """Names with dots stand for the very same nested settings, in their order."""
    flat = flatten(settings)

    assert nest(flat) == settings
    assert list(flat) == sorted(flat)
    assert not any(isinstance(value, dict) for value in flat.values())


def test_a_value_is_no_table() -> None:
    """One name cannot be a value and hold others."""
    with pytest.raises(TypeError, match="webhooks is a value and a table"):
        nest({"webhooks": 1, "webhooks.url": "x"})


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        (3000, "3000", False),  # documented as text, answered as number
        (3000, "5000", True),
        (True, True, False),
        (True, False, True),
        (None, False, True),
        (None, "", True),
        (1, True, True),
        ("a", "a", False),
    ],
)
def test_only_what_differs_is_changed(old: object, new: object, *, differs: bool) -> None:
    """Equal settings are no change, though one is written as text."""
    found = find_changes({"x": old, "y": 1}, {"x": new})

    assert found == ([Change(setting="x", old=old, new=new)] if differs else [])


def test_side_effects_are_found() -> None:
    """What became another unasked is told, be it lost, new or different."""
    before = {"asked": 1, "lost": 2, "other": 3, "same": 4}
    after = {"asked": 9, "new": 5, "other": 6, "same": "4"}

    found = find_side_effects(before, after, asked={"asked": 9})

    assert {(one.setting, one.old, one.new) for one in found} == {
        ("lost", 2, None),
        ("new", None, 5),
        ("other", 3, 6),
    }


def test_a_change_says_when_it_takes_effect() -> None:
    """Some settings need a restart, others do not."""
    restart = ["callback_persist", "pass_through", "webhooks.max_concurrent_requests"]

    for name in restart:
        assert Change(setting=name, old=1, new=2).effect == "after a restart"
    assert not Change(setting="webhooks.url", old="a", new="b").needs_restart


def test_a_change_shows_no_credentials() -> None:
    """Where only the credentials become others, that is said instead."""
    change = Change(
        setting="webhooks.url",
        old="https://u:one@router/webhooks/a",
        new="https://u:two@router/webhooks/a",
    )

    assert change.as_dict() == {
        "setting": "webhooks.url",
        "old": "https://***@router/webhooks/a",
        "new": "https://***@router/webhooks/a (other credentials)",
        "needs_restart": False,
    }
    assert show_all({"webhooks.url": "https://router/webhooks/a/secret", "n": 1}) == {
        "webhooks.url": "https://router/webhooks/a/***",
        "n": 1,
    }


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v2.41.2", True),
        ("2.53.1", True),
        ("v3.0", True),
        ("v2.41.1", False),
        ("v2.33.4", False),
        ("", False),
        ("next", False),
    ],
)
def test_switches_came_with_a_version(version: str, *, expected: bool) -> None:
    """The version tells, unless the settings themselves do."""
    assert has_switches(version, {}) is expected
    assert has_switches(version, {"webhooks.message.read": True})
