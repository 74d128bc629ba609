"""The ledger: its figures, its file and its digest."""

import io
import json
from pathlib import Path

import pytest

from router.testing.coreapp import Ledger
from router.testing.coreapp.outbox import Outbox
from router.testing.shop import Expected, Posting

EVENT = Expected("sent", "sent", "wamid.1", "12015550101", "sent wamid.1")


def fill(ledger: Ledger) -> None:
    """Enter one notification of each fate, the second a copy of the first."""
    bodies = [b"{}", b"{}", b"[1]", b"[2]", b"[3]"]
    made = [
        Posting(number, body, (EVENT,), 0 if number == 1 else None)
        for number, body in enumerate(bodies)
    ]
    taken, late, expired, lost, _waiting = [ledger.open(one, due=10.0) for one in made]
    for entry in (taken, late, late, expired):
        ledger.try_(entry)
    ledger.acknowledge(taken, now=10.5)
    ledger.fail(late, "answered 503")
    ledger.acknowledge(late, now=14.0)
    ledger.fail(expired, "time-out")
    ledger.expire(expired)
    ledger.lose(lost)


def test_figures_add_up() -> None:
    """Each notification is counted in just one state; events of copies are not counted again."""
    ledger = Ledger()
    fill(ledger)
    found = ledger.summarise()

    assert (found.notifications, found.copies, found.events) == (5, 1, 4)
    assert (found.acknowledged, found.expired, found.lost, found.waiting) == (2, 1, 1, 1)
    assert (found.attempts, found.retried) == (4, 1)
    assert found.failures == {"answered 503": 1, "time-out": 1}
    assert (found.latency_ms.p50, found.latency_ms.max) == (500.0, 4000.0)
    assert found.bytes == 13
    assert ledger.count() == (5, 2, 1)


def test_a_file_holds_each_notification_once() -> None:
    """A line is written when a notification is settled, and for the rest in the end."""
    file = io.BytesIO()
    ledger = Ledger(file, keeps=False)
    fill(ledger)
    before = len(file.getvalue().splitlines())
    ledger.close()

    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert before == 4
    assert [(line["number"], line["state"]) for line in lines] == [
        (0, "acknowledged"),
        (1, "acknowledged"),
        (2, "expired"),
        (3, "lost"),
        (4, "waiting"),
    ]
    assert lines[1]["copy_of"] == 0
    assert lines[0]["body_hash"] == lines[1]["body_hash"] != lines[2]["body_hash"]
    assert lines[1]["reasons"] == {"answered 503": 1}
    assert lines[0]["events"] == ["sent wamid.1"]
    assert len(ledger.entries) == 1


@pytest.mark.parametrize("body", [b"{}", b"[1] "])
def test_a_digest_tells_traffic_apart(body: bytes) -> None:
    """It depends on the bytes and the numbers, not on what became of them."""
    one, two = Ledger(), Ledger()
    fill(one)
    for number, sent in enumerate([b"{}", b"{}", b"[1]", b"[2]", b"[3]"]):
        two.open(Posting(number, sent, ()), due=0.0)
    three = Ledger()
    three.open(Posting(0, body, ()), due=0.0)

    assert one.summarise().digest == two.summarise().digest
    assert three.summarise().digest != two.summarise().digest


def test_an_empty_ledger_has_no_latency() -> None:
    """Where nothing was acknowledged there is nothing to measure."""
    found = Ledger().summarise()

    assert found.latency_ms.p50 is None
    assert found.notifications == 0


def test_an_outbox_is_a_file(tmp_path: Path) -> None:
    """What was put there is found there by whoever opens the file next, in order."""
    outbox = Outbox(tmp_path / "callbacks.db")
    for number in (5, 3, 4):
        outbox.put(Posting(number, b"{}", (EVENT,), 1))
    outbox.note(3, failures=2)
    outbox.drop(4)
    outbox.close()
    again = Outbox(tmp_path / "callbacks.db")
    kept = list(again.load())

    assert [(one.posting.number, one.failures) for one in kept] == [(3, 2), (5, 0)]
    assert kept[1].posting == Posting(5, b"{}", (EVENT,), 1)
    assert again.find_last() == 5
    again.close()
