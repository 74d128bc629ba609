"""Tests of `router.verdicts`: what a failure means for its delivery and for those behind it."""

import logging

import pytest

from router.breaker import SUBJECTS
from router.events import Event
from router.failures import Failed
from router.options import Options, RetryOptions
from router.parking import Failure, Parked
from router.verdicts import make_parked
from tests.entries import append_messages
from tests.subscribers import make_subscription
from tests.workshop import MakeWorkshop, Workshop

# One engine is enough: what is tested is decided in Python.
pytestmark = pytest.mark.engines("sqlite")

RETRY = RetryOptions(first=10, factor=2, cap=3600, attempts=3, give_up_after=100, jitter=False)
OPTIONS = Options(start="beginning", retry=RETRY)


def open_shop(make_workshop: MakeWorkshop, options: Options = OPTIONS) -> tuple[Workshop, Event]:
    """Return a workshop and an event of ana's."""
    shop = make_workshop(make_subscription("crm", options, on_event=lambda event: None))
    append_messages(shop.log, ["ana"])
    return shop, shop.take()[0]


def fail(
    shop: Workshop, *, at: float = 0, after: float | None = None, is_final: bool = False
) -> Failed:
    """Return how a call failed that began so many seconds after the claim and took one."""
    micros = shop.clock.micros + round(at * 1_000_000)
    return Failed(Failure(micros, 1.0, "failed", "busy"), after, is_final)


def judge(shop: Workshop, event: Event, failed: Failed, *, attempts: int = 1) -> float | None:
    """Return in how many seconds after the claim the next attempt is due."""
    first = make_parked(event, fail(shop), lane=shop.ledger.lane, next_at=None)
    next_at = shop.verdicts.judge(failed, first, attempts=attempts, chance=0.25)
    return None if next_at is None else (next_at - shop.clock.micros) / 1_000_000


def test_the_next_attempt_counts_from_the_end_of_the_last(make_workshop: MakeWorkshop) -> None:
    """The delay grows with the attempts, until there are none left."""
    shop, event = open_shop(make_workshop)
    assert judge(shop, event, fail(shop)) == 11
    assert judge(shop, event, fail(shop), attempts=2) == 21
    assert judge(shop, event, fail(shop), attempts=3) is None


def test_chance_is_what_was_drawn(make_workshop: MakeWorkshop) -> None:
    """The same number gives the same verdict, whenever it is asked for."""
    options = Options(start="beginning", retry=RetryOptions(first=10, jitter=True))
    shop, event = open_shop(make_workshop, options)
    assert judge(shop, event, fail(shop)) == judge(shop, event, fail(shop)) == 3.5


def test_what_the_handler_asks_for_counts(make_workshop: MakeWorkshop) -> None:
    """A wish replaces the delay, not the limits; a refusal ends it all."""
    shop, event = open_shop(make_workshop)
    assert judge(shop, event, fail(shop, after=70)) == 71
    assert judge(shop, event, fail(shop, after=0), attempts=3) is None
    assert judge(shop, event, fail(shop, is_final=True, after=5)) is None


def test_a_delivery_is_given_up_after_its_time(make_workshop: MakeWorkshop) -> None:
    """At the first failure that ends so long after the first one began, not before."""
    shop, event = open_shop(make_workshop)
    assert judge(shop, event, fail(shop, at=98.999_999)) is not None
    assert judge(shop, event, fail(shop, at=99)) is None


def test_time_in_which_nobody_ran_the_lane_does_not_count(make_workshop: MakeWorkshop) -> None:
    """Only the lane's uptime since then does."""
    shop, event = open_shop(make_workshop)
    lane = shop.ledger.lane
    before = Parked(event.position, event.subject, 1, 0, None, uptime=lane.uptime - 40_000_000)
    for at, is_last in [(58.999_999, False), (59, True)]:
        verdict = shop.verdicts.judge(fail(shop, at=at), before, attempts=1, chance=0)
        assert (verdict is None) == is_last


@pytest.mark.parametrize(
    ("order", "on_dead", "waits"),
    [
        ("subject", "release", (True, False)),
        ("subject", "hold", (True, True)),
        ("none", "release", (False, False)),
        ("none", "hold", (False, False)),
    ],
)
def test_who_waits_behind_a_failure(
    make_workshop: MakeWorkshop, order: str, on_dead: str, waits: tuple[bool, bool]
) -> None:
    """Behind a retry all of its subject; behind a dead letter where it holds; else nobody."""
    options = Options(start="beginning", order=order, on_dead=on_dead)  # type: ignore[arg-type]
    shop, _ = open_shop(make_workshop, options)
    assert (shop.verdicts.must_wait(5), shop.verdicts.must_wait(None)) == waits


def test_a_retry_is_put_on_the_agenda(make_workshop: MakeWorkshop) -> None:
    """It waits there for its time, and its subject behind it."""
    shop, event = open_shop(make_workshop)
    due = shop.clock.micros + 5_000_000
    parked = make_parked(event, fail(shop), lane=shop.ledger.lane, next_at=due)
    assert shop.verdicts.pronounce(parked, event, fail(shop))
    assert list(shop.agenda.take_due(due)) == [parked]


def test_the_breaker_hears_how_calls_end(make_workshop: MakeWorkshop) -> None:
    """It opens by what is blamed, and closes by what is accepted."""
    shop, event = open_shop(make_workshop)
    for number in range(SUBJECTS - 1):
        shop.breaker.fail(f"other {number}")
    assert shop.changes == 0
    shop.verdicts.blame(event, fail(shop))
    assert shop.changes == 1
    shop.verdicts.accept()
    assert shop.changes == 2
    assert not shop.breaker.is_open


def test_a_dead_letter_is_told(
    make_workshop: MakeWorkshop, caplog: pytest.LogCaptureFixture
) -> None:
    """With its event and attempts; the log says nothing of what the handler said."""
    shop, event = open_shop(make_workshop)
    parked = make_parked(event, fail(shop), lane=shop.ledger.lane, next_at=None)
    with caplog.at_level(logging.WARNING, logger="router.delivery"):
        assert not shop.verdicts.pronounce(parked, event, fail(shop))
    assert (shop.dead, len(shop.agenda)) == ([(1, 1)], 0)
    assert [record.getMessage() for record in caplog.records] == [
        "crm: attempt 1 at 1 was the last"
    ]


def test_what_a_handler_refuses_is_no_outage(make_workshop: MakeWorkshop) -> None:
    """However many subjects fail besides, an event that is refused says nothing of the plugin."""
    shop, event = open_shop(make_workshop)
    for number in range(SUBJECTS - 1):
        shop.breaker.fail(f"other {number}")
    shop.verdicts.blame(event, fail(shop, is_final=True))
    assert not shop.breaker.is_open


@pytest.mark.parametrize(
    ("parked", "is_spent"),
    [
        (Parked(1, "s", 2, 0, 0), False),
        (Parked(1, "s", 3, 0, 0), True),
        (Parked(1, "s", 5, 0, 0, spent=3), False),
        (Parked(1, "s", 6, 0, 0, spent=3), True),
        (Parked(1, "s", 1, 0, 0, was_alone=True), True),
    ],
)
def test_no_attempt_is_left_when_all_are_made(
    make_workshop: MakeWorkshop,
    parked: Parked,
    is_spent: bool,  # noqa: FBT001
) -> None:
    """Those since the last redrive count; one that died while nothing else ran gets no other."""
    shop, _ = open_shop(make_workshop)
    assert shop.verdicts.is_spent(parked) == is_spent
