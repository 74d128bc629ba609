"""Tests of the checks for sources: our own adapter passes all, and each flaw is found."""

from collections.abc import Mapping

import pytest

from router.plugins.whatsapp import WhatsAppAdapter
from router.testing import notifications
from router.testing.conformance import SourceCase, source_cases
from router.testing.conformance.hostile import HOSTILE
from router.testing.conformance.sources import CHECKS
from tests.testing.conformance.flaws import find_flaws
from tests.testing.conformance.toy import SAMPLES, SETTINGS, ToyAdapter, Ways

WHATSAPP: Mapping[str, Mapping[str, object]] = {
    "signature": {"app_secrets": ["a-secret-of-the-app"], "verify_token": "a-token-of-the-app"},
    "basic": {
        "verification": "basic",
        "users": [{"username": "coreapp", "password": "a-password"}],
        "channel": "+15550001122",
    },
    "bearer": {"verification": "bearer", "tokens": ["a-token-of-the-sender"]},
    "path": {"verification": "path", "secrets": ["a-secret-in-the-path"]},
}
BODIES = [
    notifications.together(
        notifications.message(context={"id": "wamid.1"}),
        notifications.message(kind="order"),
        notifications.status("delivered"),
    ),
    notifications.together(
        notifications.message(shape="onprem"),
        notifications.status("failed", shape="onprem"),
        notifications.error(shape="onprem"),
    ),
    notifications.field("account_update"),
]
OURS = [
    pytest.param(case, id=f"{way}-{case}")
    for way, settings in WHATSAPP.items()
    for case in source_cases(WhatsAppAdapter(), settings=settings, samples=BODIES)
    if way == "signature" or case.name not in HOSTILE  # how it is proved makes no other events
]
FLAWS = dict(find_flaws())


@pytest.mark.parametrize("case", OURS)
def test_whatsapp_keeps_every_promise(case: SourceCase) -> None:
    """Our own adapter does what is asked of others, with each way to prove an origin."""
    case.check()


@pytest.mark.parametrize(
    "case", source_cases(ToyAdapter(), settings=SETTINGS, samples=SAMPLES), ids=str
)
def test_a_sound_adapter_keeps_every_promise(case: SourceCase) -> None:
    """An adapter of another provider, written as it should be, passes."""
    case.check()


@pytest.mark.parametrize(("name", "ways"), FLAWS.items(), ids=FLAWS)
def test_each_flaw_is_found(name: str, ways: Ways) -> None:
    """An adapter that breaks one promise fails the case of that name."""
    cases = source_cases(ToyAdapter(ways), settings=SETTINGS, samples=SAMPLES)
    (case,) = [one for one in cases if one.name == name]
    with pytest.raises(AssertionError):
        case.check()


def test_there_is_a_flaw_for_every_case() -> None:
    """No case is left that might never fail, and there are many of both kinds."""
    assert FLAWS.keys() == CHECKS.keys()
    assert len(FLAWS) >= 30


def test_a_case_says_what_it_is_about() -> None:
    """A case is called by its name, and knows its promise."""
    first, *_ = source_cases(ToyAdapter(), settings=SETTINGS, samples=SAMPLES)
    assert str(first) == "empty"
    assert first.promise.startswith("events, or Unreadable")


def test_samples_are_needed() -> None:
    """Without samples most promises would be kept by doing nothing: that is no pass."""
    cases = source_cases(ToyAdapter(), settings=SETTINGS, samples=[])
    (case,) = [one for one in cases if one.name == "samples-recognised"]
    with pytest.raises(AssertionError, match="there is no sample"):
        case.check()


def test_nothing_is_asked_of_proof_where_none_is_wanted() -> None:
    """A source that is open on purpose is not held to refuse anybody."""
    settings = {"verification": "none"}
    cases = source_cases(WhatsAppAdapter(), settings=settings, samples=BODIES, is_open=True)
    names = {case.name for case in cases}
    assert "unsigned" not in names
    assert {"empty", "order", "unknown-setting"} <= names
    for case in cases:
        if case.name not in HOSTILE:
            case.check()
