"""Tests of `router events reparse`: counted, asked about, appended, told; and nothing else."""

from pathlib import Path

import pytest
from sqlalchemy import select

from router.log import EventLog
from router.reparsing import BATCH
from tests.cli.conftest import Run
from tests.reparsed import fill, make_body, make_stored, read_flags

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

PLUGIN = """
from router import hookimpl
from tests.posting import StubSource
from tests.reparsed import split_now
class Adapter:
    version = 2
    def make_source(self, name, settings, *, folder=None):
        return StubSource(name, splits={split})
    def split(self, body):
        return split_now(body)
@hookimpl
def sources():
    return {{"shop": Adapter()}}
"""
REPARSE = ("events", "reparse", "--source", "shop")
ROOT = str(Path(__file__).parents[2])  # where the plugin finds the shop
SETTINGS = '[sources.shop]\nadapter = "shop"\n'


@pytest.fixture
def full(log: EventLog, environ: dict[str, str], tmp_path: Path) -> EventLog:
    """A log of three messages and their three receipts that were missed."""
    fill(log, 3)
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "shop.py").write_text(PLUGIN.format(split="split_now"))
    (tmp_path / "router.toml").write_text('plugins_dir = ["handlers"]\n' + SETTINGS)
    return log


def test_a_dry_run_counts(full: EventLog, run: Run) -> None:
    """It tells in all and by type, asks nobody, and changes nothing."""
    result = run(*REPARSE, "--dry-run", "--json")

    assert result.code == 0
    assert result.data == {"total": 3, "by_type": {"read": 3}, "failed": 0}
    assert result.err == "Splitting with the adapter shop, version 2.\n"
    assert full.head() == 3
    shown = run(*REPARSE, "--dry-run").out
    assert shown == "3 events would be appended\nTYPE  EVENTS\nread  3\n"


def test_what_was_counted_is_appended(full: EventLog, run: Run) -> None:
    """Live subscriptions pass over it, the range is told, and how to replay it."""
    result = run(*REPARSE, "--yes", "--json")

    assert result.data == {"total": 3, "by_type": {"read": 3}, "failed": 0, "first": 4, "last": 6}
    assert "router replay start NAME --reparsed --from 4" in result.err
    assert read_flags(full) == dict.fromkeys((4, 5, 6), (True, True))
    listed = run("events", "list", "--reparsed", "--json").data
    assert [event["external_id"] for event in listed] == ["r1", "r2", "r3"]

    again = run(*REPARSE, "--json")
    assert (again.code, again.data["total"], again.data["first"]) == (0, 0, None)
    assert "The log knows all events of the source 'shop'." in again.err


def test_what_is_delivered_is_asked_for(full: EventLog, run: Run) -> None:
    """The question says so, with the exact count."""
    asked = run(*REPARSE, "--deliver")

    assert (asked.code, asked.out, full.head()) == (2, "", 3)
    question = "Append 3 events of the source 'shop', for live subscriptions and replays?"
    assert question in asked.err
    assert run(*REPARSE, "--deliver", "--yes").out == "3 events appended\nTYPE  EVENTS\nread  3\n"
    assert read_flags(full) == dict.fromkeys((4, 5, 6), (True, False))


def test_a_person_is_asked_and_told(full: EventLog, on_terminal: Run) -> None:
    """On a terminal progress is shown, the count is asked about, and no is no."""
    question = "Append 3 events of the source 'shop', for replays alone? [y/N]"
    refused = on_terminal(*REPARSE, typed="n\n", prompt="[y/N]", PYTHONPATH=ROOT)
    assert (refused.code, full.head()) == (1, 3)
    assert "3 notifications split" in refused.out
    assert question in refused.out

    agreed = on_terminal(*REPARSE, typed="y\n", prompt="[y/N]", PYTHONPATH=ROOT)
    assert (agreed.code, full.head()) == (0, 6)
    assert "3 events appended" in agreed.out


@pytest.mark.parametrize(
    ("options", "total"),
    [
        (["--since", "2026-01-01T14:00:00Z"], 2),
        (["--until", "2026-01-01T14:00:00Z"], 1),
        (["--since", "1h"], 0),
    ],
)
def test_a_time_chooses(full: EventLog, run: Run, options: list[str], total: int) -> None:
    """Of when it was received; the beginning is within, the end is not."""
    assert run(*REPARSE, "--dry-run", "--json", *options).data["total"] == total


def test_who_did_it_is_written_down(full: EventLog, run: Run) -> None:
    """With the count."""
    run(*REPARSE, "--yes")

    with full.store.reading() as connection:
        [row] = connection.execute(select(full.store.tables.audit)).all()
    assert (row.action, row.target, "@" in row.actor) == ("events reparse", "shop", True)
    assert '"total": 3' in row.detail


def test_a_source_must_be_configured(full: EventLog, run: Run, tmp_path: Path) -> None:
    """Without its table nothing says how it is split, whatever the log holds of it."""
    (tmp_path / "router.toml").write_text(SETTINGS.replace("sources.shop", "sources.store"))

    result = run(*REPARSE, "--dry-run")

    assert (result.code, result.out) == (1, "")
    assert "the source 'shop' is unknown" in result.err
    assert "[sources.shop]" in result.err
    assert run("events", "reparse", "--dry-run").code == 2


def test_the_adapter_must_be_there(full: EventLog, run: Run, tmp_path: Path) -> None:
    """Why a plugin cannot be loaded is said."""
    (tmp_path / "handlers" / "shop.py").write_text("import nothing_of_that_name")

    result = run(*REPARSE, "--dry-run")

    assert result.code == 1
    assert "plugin 'shop' cannot be used: " in result.err
    assert "[sources.shop].adapter 'shop' is unknown" in result.err


def test_other_sources_need_not_be_complete(full: EventLog, run: Run, tmp_path: Path) -> None:
    """Their secrets may be known to the service alone."""
    (tmp_path / "router.toml").write_text(
        'plugins_dir = ["handlers"]\n'
        + SETTINGS
        + '[sources.wa]\nadapter = "whatsapp"\napp_secrets = ["env:NOT_HERE"]\n'
    )

    assert run(*REPARSE, "--dry-run", "--json").data["total"] == 3


def test_an_adapter_that_fails_is_a_problem(full: EventLog, run: Run, tmp_path: Path) -> None:
    """The rest is appended; it exits 3, says how many, and quotes nothing of them."""
    full.append([make_stored(4)])
    failing = PLUGIN.format(split="lambda body: split_now(body) if b'm4' not in body else 1 / 0")
    (tmp_path / "handlers" / "shop.py").write_text(failing)

    result = run(*REPARSE, "--yes", "--json")

    assert (result.code, result.data["total"], result.data["failed"]) == (3, 3, 1)
    assert "could not split 1 notifications" in result.err
    assert "notification 4: " in result.err
    assert "ZeroDivisionError" in result.err


def test_the_settings_of_the_source_count(log: EventLog, run: Run, tmp_path: Path) -> None:
    """What the body does not say, such as the channel, comes from its table."""
    body = b'{"messages": [{"id": "wamid.1", "from": "1", "type": "text"}]}'
    log.append([make_stored(1, source="wa", body=make_body(1))])
    with log.store.writing() as connection:
        connection.execute(log.store.tables.notification.update().values(body=body))
    (tmp_path / "router.toml").write_text(
        '[sources.wa]\nadapter = "whatsapp"\nverification = "none"\nchannel = "49"\n'
    )

    assert run("events", "reparse", "--source", "wa", "--yes", "--json").data["total"] == 1
    [event] = run("events", "list", "--reparsed", "--json").data
    assert (event["subject"], event["external_id"]) == ("49:1", "wamid.1")


def test_an_interrupt_leaves_a_sound_log(
    full: EventLog, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was appended stays, a word says how to go on, and the next run does."""
    fill_more(full, BATCH)
    told: list[int] = []

    def interrupt(_what: str, count: int) -> None:
        told.append(count)
        if _what == "events appended":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("router.cli.reparse._tell", interrupt)
        result = run(*REPARSE, "--yes")

    assert (result.code, result.out) == (130, "")
    assert "run it again for the rest" in result.err
    assert len(read_flags(full)) == BATCH
    assert run(*REPARSE, "--yes", "--json").data["total"] == 3


def fill_more(log: EventLog, count: int) -> None:
    """Append so many more notifications whose receipts were missed."""
    log.append([make_stored(number) for number in range(4, count + 4)])
