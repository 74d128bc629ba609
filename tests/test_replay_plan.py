"""Tests of `router.replay_plan`: what a replay would do, and why it must not."""

from collections.abc import Mapping

import pytest

from router.filters import Filter
from router.hookspecs import ReplayPolicy
from router.replay_plan import Plan, Refused, find_objection

COUNTS = {"message": 4, "sent": 2}


def make_plan(
    declared: Mapping[str, ReplayPolicy],
    by_type: Mapping[str, int] = COUNTS,
    *,
    include_effects: bool = False,
) -> Plan:
    """Return a plan for handlers that want this."""
    return Plan(
        subscription="crm",
        first=1,
        end=10,
        matching=Filter(),
        by_type=by_type,
        declared=declared,
        include_effects=include_effects,
    )


def test_what_is_skipped_is_not_counted() -> None:
    """The total is what handlers will be called with, of the types that allow it."""
    plan = make_plan({"message": "allow", "sent": "skip"})
    assert (plan.total, plan.count("skip"), plan.effects) == (4, 2, 0)
    assert plan.types == ("message",)


def test_effects_are_counted_apart() -> None:
    """With them included those are called that would be skipped; who refuses still does."""
    declared: dict[str, ReplayPolicy] = {"message": "allow", "sent": "skip", "read": "refuse"}
    plan = make_plan(declared, include_effects=True)
    assert (plan.total, plan.count("skip"), plan.effects) == (6, 0, 2)
    assert plan.types == ("message", "sent")
    assert plan.policies == {"message": "allow", "sent": "allow", "read": "refuse"}
    plan.require_allowed()


def test_who_includes_effects_where_there_are_none_has_none() -> None:
    """Handlers that allow replays anyway are no reason to ask."""
    assert make_plan({"message": "allow", "sent": "allow"}, include_effects=True).effects == 0


@pytest.mark.parametrize(
    ("declared", "by_type", "why"),
    [
        (
            {"message": "refuse", "sent": "refuse"},
            COUNTS,
            "the handlers of 'crm' for message, sent refuse replays: leave those types out with "
            "--type",
        ),
        ({}, {}, "'crm' handles none of the types asked for"),
        (
            {"message": "skip", "sent": "skip"},
            COUNTS,
            "all 6 matching events would be skipped: the handlers of 'crm' may have effects "
            "outside the database. Allow them for this replay with --include-effects, for all "
            'with replay = "allow" in [subscriptions.crm], or in code with '
            '@hookimpl(replay="allow")',
        ),
    ],
)
def test_what_must_not_be_is_refused(
    declared: Mapping[str, ReplayPolicy], by_type: Mapping[str, int], why: str
) -> None:
    """And it is said why, and what helps."""
    with pytest.raises(Refused) as error:
        make_plan(declared, by_type).require_allowed()
    assert str(error.value) == why


@pytest.mark.parametrize(
    ("declared", "by_type"),
    [
        ({"message": "allow", "sent": "refuse"}, {"message": 1}),
        ({"message": "allow", "sent": "skip"}, COUNTS),
        ({"message": "allow"}, {}),
    ],
    ids=["none that refuse", "some", "none at all"],
)
def test_what_may_be_is_allowed(
    declared: Mapping[str, ReplayPolicy], by_type: Mapping[str, int]
) -> None:
    """A handler stands in the way only where there is an event for it."""
    make_plan(declared, by_type).require_allowed()


@pytest.mark.parametrize(
    ("policies", "include_effects", "why"),
    [
        ({"message": "allow", "sent": "allow"}, False, None),
        ({"message": "allow", "sent": "skip"}, True, None),
        ({"message": "allow", "sent": "allow", "read": "refuse"}, False, None),
        (
            {"message": "allow", "sent": "skip"},
            False,
            "the handler for sent may have effects outside the database by now: if they are "
            "wanted, start another replay with --include-effects",
        ),
        (
            {"message": "refuse", "sent": "allow"},
            True,
            "the handler for message refuses replays by now",
        ),
        ({"message": "allow"}, True, "the plugin has no handler for sent any more"),
    ],
)
def test_a_plan_that_was_allowed_is_looked_at_again(
    policies: Mapping[str, ReplayPolicy], *, include_effects: bool, why: str | None
) -> None:
    """Plugins and options change: what each handler wants by now is what counts."""
    found = find_objection(policies, ["message", "sent"], include_effects=include_effects)
    assert found == why
