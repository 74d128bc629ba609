"""The recipe that reads the log: its figures are those of the log, and it cannot write."""

import csv
import hashlib
import io
import re
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from router import EventLog
from router.events import Entry, Notification
from router.filters import Filter
from router.plugins.whatsapp.split import split
from tests.recipes import EXAMPLES, require
from tests.recipes.kitchen import cooking
from tests.samples import as_body, cloud_value, error, failure, status

require("pandas")

TEN = datetime(2026, 9, 21, 10, tzinfo=UTC)
Script = Callable[..., dict[str, Any]]


@pytest.fixture
def script(database: str, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Runs a file of the recipe on the test's database, and returns the names in it."""
    monkeypatch.setenv("ROUTER_DATABASE", database)
    monkeypatch.syspath_prepend(EXAMPLES / "analysis")
    monkeypatch.delitem(sys.modules, "read_only", raising=False)

    def run(name: str, *arguments: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        found = runpy.run_path(str(EXAMPLES / "analysis" / name))
        engines = [one.store.engine for one in found.values() if isinstance(one, EventLog)]
        for engine in [*engines, *(one for one in found.values() if isinstance(one, Engine))]:
            engine.dispose()  # what the end of a process does for a script
        return found

    return run


def append(log: EventLog, minutes: float, **lists: object) -> None:
    """Append a notification that came so many minutes after ten."""
    body = as_body(cloud_value(**lists))
    notification = Notification("wa", TEN + timedelta(minutes=minutes), {}, body)
    log.append([Entry(notification, list(split(body)))])


def append_status(log: EventLog, word: str, number: int, *, minutes: float) -> None:
    """Append the news of a message of ours, which came a second after it happened."""
    moment = str(int(TEN.timestamp() + minutes * 60 - 1))
    append(log, minutes, statuses=[status(word, number, timestamp=moment)])


def read_rows(printed: str) -> list[dict[str, str]]:
    """The rows of a CSV."""
    return list(csv.DictReader(io.StringIO(printed)))


def test_figures_of_a_log_that_is_known(log: EventLog, script: Script) -> None:
    """Deliveries count in the hour in which they came, waits by the provider's clock."""
    for number, minutes in [(1, 1), (2, 59), (3, 61)]:
        append_status(log, "sent", number, minutes=minutes - 1)
        append_status(log, "delivered", number, minutes=minutes)
    append_status(log, "read", 1, minutes=10)
    append_status(log, "read", 3, minutes=90)
    append(log, 91, statuses=[failure(131026, 4), failure(131047, 5), status("failed", 7)])
    append(log, 92, statuses=[failure(131026, 6)], errors=[error(1015)])

    found = script("analysis.py")

    hours = {TEN: 2, TEN + timedelta(hours=1): 1}
    assert found["deliveries"].to_dict() == hours
    waits = found["waits"].to_dict()
    assert waits == {"wamid.OUT1": timedelta(minutes=10), "wamid.OUT3": timedelta(minutes=30)}
    assert found["codes"].to_dict() == {131026: 2, 131047: 1, 1015: 1}


def test_what_failed_lately_is_listed(
    log: EventLog, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each error is a row, of a message or out of band; what came before the time asked is not."""
    lately = (datetime.now(UTC) - TEN) / timedelta(minutes=1)
    append(log, 0, statuses=[failure(131026, 1)])
    failed = [failure(131047, 2), status("failed", 3, errors=[])]
    append(log, lately, statuses=failed, errors=[error(1015)])

    script("failures.py", "1")

    rows = read_rows(capsys.readouterr().out)
    codes = [(row["message"], row["code"]) for row in rows]
    assert codes == [("wamid.OUT2", "131047"), ("wamid.OUT3", ""), ("", "1015")]


@pytest.mark.parametrize("name", ["failures.py", "analysis.py"])
def test_an_empty_log_is_read(script: Script, name: str) -> None:
    """Where nothing has come yet, there is nothing to show, and nothing fails."""
    script(name)


@pytest.mark.parametrize("change", ["DELETE FROM event", "CREATE TABLE mine (x int)"])
def test_nothing_can_be_written(log: EventLog, script: Script, change: str) -> None:
    """The database refuses whatever changes it."""
    append_status(log, "sent", 1, minutes=1)
    engine = create_engine(script("read_only.py")["find_url"]())

    with engine.connect() as connection, pytest.raises(DBAPIError, match=r"read.?only"):
        connection.execute(text(change))
    engine.dispose()

    assert len(list(log.read())) == 1


def test_figures_beside_a_router_that_runs(tmp_path: Path) -> None:
    """As the README says, beside `router serve`: all that failed is there; a stopped log stays."""
    with cooking("analysis", tmp_path) as kitchen:
        kitchen.follow("analysis")
        (server,) = kitchen.servers
        server.stop()

        log = EventLog(f"sqlite:///{kitchen.folder / 'router.db'}")
        failed = list(log.read(matching=Filter(types=("error",))))
        rows = read_rows(kitchen.printed["failures.py 24"])
        assert [row["message"] for row in rows] == [event.external_id or "" for event in failed]
        codes = Counter(row["code"] for row in rows)
        assert len(codes) > 1
        for code, count in codes.items():
            assert re.search(rf"^{code} +{count}$", kitchen.printed["analysis.py"], re.MULTILINE)
        log.store.close()

        path = kitchen.folder / "router.db"
        before = hashlib.sha256(path.read_bytes()).digest()
        words = [sys.executable, "failures.py"]
        subprocess.run(words, cwd=kitchen.folder, env=kitchen.environ, check=True)
        assert hashlib.sha256(path.read_bytes()).digest() == before
