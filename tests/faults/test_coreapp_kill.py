"""A router that a Coreapp sends to over TLS is killed again and again: the ledger is borne out.

With ROUTER_TEST_SIZE=full there are 20,000 notifications, which takes minutes.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from router.testing.coreapp import Entry, Ledger
from router.testing.shop import identify
from tests.faults import mutants
from tests.faults.installation import Installation, installing

pytestmark = pytest.mark.slow

IS_FULL = os.environ.get("ROUTER_TEST_SIZE") == "full"
NOTIFICATIONS, KILLS = (20_000, 20) if IS_FULL else (1_500, 3)
RATE = 500  # a second; what has waited for a router to start comes as fast as it can take it
SECONDS = 300 if IS_FULL else 60  # that the last ones may take: far more than they need
LIVES, BATCH = (
    (10, 1_000) if IS_FULL else (1, 400)
)  # of a router beside a Coreapp that keeps nothing, and what is sent in each


@pytest.fixture
def installation(tmp_path: Path, empty_database: Path) -> Iterator[Installation]:
    """A router with an empty log and a Coreapp, which know each other."""
    shutil.copy(empty_database, tmp_path / "router.db")
    with installing(tmp_path) as found:
        yield found


@pytest.fixture
def chance() -> Random:
    """Decides when the router is killed, each time alike."""
    return Random(4)  # noqa: S311  # chance, not secrecy


def draw_moments(chance: Random) -> list[int]:
    """Return after how many acknowledgements the router is killed, each time."""
    return sorted(chance.sample(range(20, NOTIFICATIONS - 200), KILLS))


def test_all_arrives_once_whenever_the_router_is_killed(
    installation: Installation, chance: Random
) -> None:
    """What is acknowledged is in the log once, all else comes by retry, nothing that is off."""
    coreapp = installation.coreapp
    first, *others = draw_moments(chance)
    restarts = 0
    with ThreadPoolExecutor(1) as threads:
        with installation.serve() as server:
            flow = threads.submit(coreapp.play, rate=RATE, most=NOTIFICATIONS)
            installation.kill(server, after=first)
        for moment in others:
            if chance.random() < 0.5:  # the Coreapp is restarted, too: it has kept all on disk
                restarts += 1
                coreapp.restart()
            with installation.serve() as server:
                installation.kill(server, after=moment)
        with installation.serve() as server:
            flow.result()
            coreapp.settle(seconds=SECONDS)
            server.stop()

    exported = installation.export()
    check(coreapp.ledger, exported)
    summary = coreapp.ledger.summarise()
    assert summary.notifications == summary.acknowledged == NOTIFICATIONS
    assert summary.retried > 0
    types = Counter(event["type"] for event in exported)
    assert "read" not in types
    assert min(types[name] for name in ("message", "sent", "delivered", "error")) > 0
    unanswered = sum(entry.unanswered > 0 for entry in coreapp.ledger.entries.values())
    print(  # noqa: T201  # for whoever runs it with -s
        f"\n{KILLS} kills of the router, {restarts} restarts of the Coreapp:"
        f" {summary.notifications} notifications, {summary.copies} of them copies;"
        f" {summary.retried} came by retry, {unanswered} of which had been sent and not answered;"
        f" {summary.attempts} attempts; {len(exported)} events in the log;"
        f" {dict(summary.failures)}"
    )


def test_what_a_coreapp_forgets_is_what_its_ledger_says(
    installation: Installation, chance: Random
) -> None:
    """Restarted without persistence, it loses what was waiting; the log bears its ledger out.

    Of what is lost, the ledger knows what was never sent: that is not in the log. What was sent
    and not answered may be there or not, since the router may have been killed before the commit
    or after it.
    """
    coreapp = installation.coreapp
    installation.configure("--no-callback-persist")
    coreapp.restart()
    for life in range(LIVES):
        after = installation.acknowledged + chance.randrange(20, BATCH // 2)
        with installation.serve() as server:
            coreapp.submit(BATCH)
            installation.kill(server, after=after)
        coreapp.restart()
        assert coreapp.ledger.count().waiting == 0, f"life {life}"
    with installation.serve() as server:
        coreapp.submit(BATCH)
        coreapp.settle(seconds=SECONDS)
        server.stop()

    exported = installation.export()
    check(coreapp.ledger, exported)
    assert coreapp.ledger.count().waiting == 0
    lost = coreapp.ledger.find("lost")
    doubtful = [entry for entry in lost if entry.unanswered]
    logged = {identify(event) for event in exported}
    arrived = [entry for entry in doubtful if logged.issuperset(entry.events)]
    print(  # noqa: T201  # for whoever runs it with -s
        f"\n{LIVES} restarts without persistence: {coreapp.ledger.count()},"
        f" {len(lost)} lost, {len(doubtful)} of which may be in the log, and {len(arrived)} are"
    )
    assert len(lost) > len(doubtful)


def test_a_router_that_answers_first_is_found_out(installation: Installation) -> None:
    """With the 200 before the commit one kill is enough for the log to belie the ledger."""
    with installation.serve(program=mutants.ANSWERS_FIRST) as server:
        installation.coreapp.submit(200)
        installation.kill(server, after=50)

    with pytest.raises(AssertionError, match="acknowledged and missing"):
        check(installation.coreapp.ledger, installation.export())


def check(ledger: Ledger, exported: Iterable[dict[str, object]]) -> None:
    """Check the log against the ledger."""
    logged = Counter(identify(event) for event in exported)
    acknowledged = find_events(ledger.find("acknowledged"))
    doubtful = find_events(entry for entry in ledger.entries.values() if entry.unanswered)
    assert [event for event, times in logged.items() if times > 1] == [], "in the log twice"
    assert acknowledged - logged.keys() == set(), "acknowledged and missing"
    assert logged.keys() - acknowledged - doubtful == set(), "never sent, and yet in the log"


def find_events(entries: Iterable[Entry]) -> set[str]:
    """Return the natural ids of the events in these notifications."""
    return {event for entry in entries for event in entry.events}
