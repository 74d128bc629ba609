"""The page on tracing keeps its word: its code runs, and its table holds all that spans say."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from router import Reject, Retry, conventions
from router.context import Context
from router.events import Event
from router.log import EventLog
from router.opentelemetry import Spans
from router.traced import TracedCaller
from tests import databases
from tests.entries import append_messages
from tests.spans import Collected, attributes_of
from tests.subscribers import make_subscription

PAGE = (Path(__file__).parents[1] / "docs" / "how-to" / "tracing.md").read_text("utf-8")
FILE = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SQL = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \|", re.MULTILINE)
TRACE = "0af7651916cd43dd8448eb211c80319c"

RUN = """
import asyncio, hmac, json, sys
import app
from tests.posting import ask

BODY = json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [
    {"field": "messages", "value": {"metadata": {"phone_number_id": "42"}, "messages": [
        {"from": "12025550123", "id": "wamid.1", "timestamp": "1763800000", "type": "text",
         "text": {"body": "Hello"}}]}}]}]}).encode()
HEADERS = [
    ("x-hub-signature-256", "sha256=" + hmac.digest(b"hush", BODY, "sha256").hex()),
    ("traceparent", f"00-{sys.argv[1]}-b7ad6b7169203331-01"),
]

async def main():
    async with app.router:
        answer = await ask(app.app, "/webhooks/wa", body=BODY, headers=HEADERS)
        assert answer.status == 200
        await app.router.catch_up()

asyncio.run(main())
app.provider.shutdown()
"""


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the application of the page has printed after a notification came in."""
    monkeypatch.chdir(tmp_path)
    databases.make_empty("sqlite:///router.db")
    files = dict(FILE.findall(PAGE))
    assert files.keys() == {"app.py", "crm.py"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    root = Path(__file__).parents[1]
    for name, value in (("WA_SECRET", "hush"), ("WA_TOKEN", "t"), ("PYTHONPATH", str(root))):
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [sys.executable, "-c", RUN, TRACE], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    return done.stdout


def test_the_application_shows_its_spans(shown: str) -> None:
    """Its three spans are on the console, and the page's query finds the notification."""
    told = shown.split("\n", 1)
    assert told[0] == "1"  # by the handler
    decoder, spans, rest = json.JSONDecoder(), [], told[1].strip()
    while rest:
        span, end = decoder.raw_decode(rest)
        spans.append(span)
        rest = rest[end:].strip()

    assert sorted(span["name"] for span in spans) == ["append wa", "process crm", "receive wa"]
    assert {span["resource"]["attributes"]["service.name"] for span in spans} == {"webhooks"}
    [query] = SQL.findall(PAGE)
    with sqlite3.connect("router.db") as connection:
        assert connection.execute(query).fetchall() == [(1, "wa")]
    connection.close()


def test_the_table_holds_all_attributes() -> None:
    """Each has a row, and each row is of one that there is."""
    told = {name for row in ROW.findall(PAGE) for name in re.findall("`([a-z_.]+)`", row)}
    names = {
        value
        for name, value in vars(conventions).items()
        if name.isupper() and "." in value and not value.startswith("https:")
    }

    assert told == names
    assert f"semantic conventions {conventions.SCHEMA.rpartition('/')[2]}" in PAGE


@pytest.mark.engines("sqlite")
def test_the_table_holds_all_outcomes(log: EventLog) -> None:
    """Each that a request, an append or a call can have is named, and no other."""
    collected = Collected()
    spans = Spans(collected.provider)
    for status in (200, 401, 503):
        with spans.receive("wa", []) as answered:
            answered(status)
    for positions in ([1], [], None):
        with spans.append("wa") as stored:
            stored(positions)
    for span in (spans.receive("wa", []), spans.append("wa")):
        with suppress(ValueError), span:
            raise ValueError
    append_messages(log, ["ana"])
    [event] = log.read()
    ends = [None, Retry("later"), Reject("never"), TimeoutError(), ValueError()]

    def handle(event: Event, context: Context) -> None:
        if error := ends[context.attempt]:
            raise error

    caller = TracedCaller(make_subscription("crm", on_event=handle), log=log, tracing=spans)
    for attempt in range(len(ends)):
        caller.call_plain(event, attempt=attempt)
    caller.close()

    found: dict[str, set[str]] = {}
    for one in collected.all():
        outcomes = found.setdefault(one.name.split()[0], set())
        outcomes.add(attributes_of(one)[conventions.OUTCOME])

    [row] = re.findall(r"^\| `router.outcome` \| all \| (.*) \|$", PAGE, re.MULTILINE)
    told = {
        kind: set(re.findall("`(.*?)`", names))
        for kind, names in (part.split(": ") for part in row.split("; "))
    }
    shared = told.pop("all")
    assert {kind: names | shared for kind, names in told.items()} == found
