"""Tests of `router replay start --shadow`: history is tried, nothing is sent, nothing is kept."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from router.events import Entry
from router.log import EventLog
from router.store import Store
from tests.cli.conftest import Result, Run
from tests.entries import append, make_entry
from tests.hosted import Parrot, hosted
from tests.sizes import choose

SHADOW = ("replay", "start", "crm", "--shadow", "--plugins-dir", "handlers")
AGAINST = ("--plugin", "new.py", "--against", "live")
MANY = choose(1_000, ci=10_000)

HANDLERS = """
from router import AsyncContext, Event, Reject, hookimpl

URL = {url!r}

@hookimpl
def subscription_options():
    return {{"calls_out": "context.http"}}

@hookimpl
async def on_message(event: Event, context: AsyncContext) -> None:
    if event.subtype == "sticker":
        raise Reject("no stickers")
    told = event.subtype{upper}
    await context.http.post(f"{{URL}}/messages?token=tea", json={{"kind": told}})
    if event.subtype == "image":
        await context.http.get(f"{{URL}}/images/{{event.position}}")
"""


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The same, with a folder for the plugin that is loaded."""
    (tmp_path / "handlers").mkdir()
    return environ


def write(path: str, *, url: str = "https://crm.example", upper: str = "", more: str = "") -> None:
    """Write down a version of the plugin."""
    Path(path).write_text(HANDLERS.format(url=url, upper=upper) + more, encoding="utf-8")


def fill(log: EventLog, *subtypes: str) -> None:
    """Append a message of each subtype."""
    append(log, *(make_entry(f"c{n % 50}", subtype=one) for n, one in enumerate(subtypes)))


def count_rows(store: Store) -> dict[str, int]:
    """Return how many rows each table has."""
    with store.reading() as connection:
        return {
            name: connection.scalars(select(func.count()).select_from(table)).one()
            for name, table in store.tables.metadata.tables.items()
        }


def find_calls(result: Result) -> list[tuple[int, str, str, int]]:
    """Return the calls that a report names."""
    return [
        (row["position"], row["method"], row["url"], row["count"]) for row in result.data["calls"]
    ]


@pytest.mark.engines("sqlite")
def test_many_events_send_nothing(log: EventLog, run: Run) -> None:
    """A server that listens hears nothing, no row is left, and each call is named."""
    entries: list[Entry] = [
        make_entry(f"c{n % 50}", subtype="image" if n % 10 == 0 else "text") for n in range(MANY)
    ]
    for first in range(0, MANY, 1_000):
        append(log, *entries[first : first + 1_000])
    parrot = Parrot()
    with hosted(parrot) as url:
        write("handlers/crm.py", url=url)
        Path("router.toml").write_text('[http]\nallow = ["127.0.0.1"]\n', encoding="utf-8")
        before = count_rows(log.store)
        result = run(*SHADOW, "--json")

    assert (result.code, parrot.asked) == (0, [])
    assert count_rows(log.store) == before
    assert result.data["outcomes"] == {"message": {"done": MANY}}
    expected = []
    for position in range(1, MANY + 1):
        expected.append((position, "POST", f"{url}/messages?token=***", 1))
        if position % 10 == 1:
            expected.append((position, "GET", f"{url}/images/{position}", 1))
    assert find_calls(result) == expected
    assert f"{MANY} of {MANY} events" in result.err


def test_the_report_for_people(log: EventLog, run: Run) -> None:
    """Events by outcome, each call, and each failure; no secret of a URL."""
    fill(log, "text", "sticker", "image")
    write("handlers/crm.py")

    result = run(*SHADOW)

    assert result.code == 0
    assert result.out.splitlines() == [
        "3 events from 1 to before 4 were tried: 3 HTTP requests, none was sent; nothing was "
        "written",
        "TYPE     DONE  REJECTED",
        "message  2     1",
        "",
        "POSITION  METHOD  URL                                     COUNT",
        "1         POST    https://crm.example/messages?token=***  1",
        "3         POST    https://crm.example/messages?token=***  1",
        "3         GET     https://crm.example/images/3            1",
        "",
        "POSITION  OUTCOME   ERROR",
        "2         rejected  no stickers",
    ]


def test_versions_that_differ_in_one_subtype(log: EventLog, run: Run) -> None:
    """Exactly the events of that subtype are shown, with what each version does."""
    fill(log, *["text", "image", "audio", "text", "audio", "sticker"] * 20)
    write("handlers/crm.py")
    write("new.py", upper='.replace("audio", "voice")')

    result = run(*SHADOW, *AGAINST, "--json")
    shown = run(*SHADOW, *AGAINST, "--to", "4")

    audio = [event.position for event in log.read() if event.subtype == "audio"]
    assert (result.code, shown.code) == (3, 3)
    assert [one["position"] for one in result.data["differences"]] == audio
    first = result.data["differences"][0]
    assert {first["live"]["calls"][0]["body"], first["new"]["calls"][0]["body"]} == {
        '{"kind":"audio"}',
        '{"kind":"voice"}',
    }
    assert shown.out.splitlines()[3:] == [
        "events that differ: 1",
        "",
        "event 3 (message, audio)",
        "  live: done",
        '    POST https://crm.example/messages?token=*** {"kind":"audio"}',
        "  new: done",
        '    POST https://crm.example/messages?token=*** {"kind":"voice"}',
    ]


@pytest.mark.engines("sqlite")
def test_what_only_one_version_handles_differs(log: EventLog, run: Run) -> None:
    """Also events of a type that the other one has no handler for."""
    fill(log, "text")
    append(log, make_entry(type_="read", subtype="read"))
    write("handlers/crm.py")
    write("new.py", more="\n@hookimpl\ndef on_read(event: Event) -> None:\n    pass\n")

    (difference,) = run(*SHADOW, *AGAINST, "--json").data["differences"]

    assert (difference["position"], difference["type"]) == (2, "read")
    assert difference["live"]["outcome"] == "not handled"
    assert difference["new"]["outcome"] == "done"


@pytest.mark.engines("sqlite")
def test_versions_that_do_the_same(log: EventLog, run: Run) -> None:
    """Nothing differs, though both call out and fail, and the exit code is 0."""
    fill(log, "text", "sticker")
    write("handlers/crm.py")
    write("new.py")

    result = run(*SHADOW, *AGAINST, "--json")

    assert (result.code, result.data["differences"]) == (0, [])
    assert result.data["plugin"].endswith("new.py")


@pytest.mark.engines("sqlite")
def test_a_version_alone_needs_none_in_service(log: EventLog, run: Run) -> None:
    """A plugin that is not loaded yet is tried by its file, on the events that are chosen."""
    fill(log, "text", "image", "text")
    write("new.py")

    chosen = ("--subtype", "text", "--from", "2")
    result = run("replay", "start", "crm", "--shadow", "--plugin", "new.py", *chosen, "--json")

    assert (result.code, result.data["total"]) == (0, 1)
    assert find_calls(result) == [(3, "POST", "https://crm.example/messages?token=***", 1)]


@pytest.mark.engines("sqlite")
def test_whoever_declares_nothing_is_refused(log: EventLog, run: Run) -> None:
    """Before anything is called, and with what to declare; of two versions, both must."""
    fill(log, "text")
    write("new.py")
    undeclared = "from router import hookimpl\n@hookimpl\ndef on_message(event):\n    1 / 0\n"
    Path("handlers/crm.py").write_text(undeclared, encoding="utf-8")

    for options in ((), AGAINST):
        result = run(*SHADOW, *options)
        assert (result.code, result.out) == (1, "")
        assert 'subscription_options() return {"calls_out": "context.http"}' in result.err


@pytest.mark.engines("sqlite")
def test_a_handler_that_refuses_replays_is_not_called(log: EventLog, run: Run) -> None:
    """Not even in shadow: what cannot be told apart from a replay is left alone."""
    fill(log, "text")
    more = '\n@hookimpl(replay="refuse")\ndef on_sent(event: Event) -> None:\n    1 / 0\n'
    append(log, make_entry(type_="sent", subtype="sent"))
    write("handlers/crm.py", more=more)

    result = run(*SHADOW)

    assert (result.code, result.out) == (1, "")
    assert "refuse replays" in result.err
    assert run(*SHADOW, "--type", "message").code == 0


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--plugin", "new.py"), "for --shadow alone"),
        (("--against", "live"), "for --shadow alone"),
        (("--shadow", "--against", "live"), "name the other with --plugin"),
        (("--shadow", "--wait", "--rate", "3"), "does not go with --rate, --wait"),
        (("--shadow", "--dry-run"), "does not go with --dry-run"),
    ],
)
def test_options_that_do_not_go_together(run: Run, options: tuple[str, ...], words: str) -> None:
    """They are a mistake in usage, said before anything is looked at."""
    result = run("replay", "start", "crm", *options)

    assert (result.code, result.out) == (2, "")
    assert words in result.err


@pytest.mark.engines("sqlite")
@pytest.mark.parametrize(
    ("text", "words"),
    [("1 / 0", "ZeroDivisionError"), ("x = 1", "no plugin 'crm' that handles events")],
)
def test_a_file_that_is_no_plugin(log: EventLog, run: Run, text: str, words: str) -> None:
    """It fails with the reason."""
    Path("new.py").write_text(text, encoding="utf-8")

    result = run("replay", "start", "crm", "--shadow", "--plugin", "new.py")

    assert (result.code, result.out) == (1, "")
    assert words in result.err


@pytest.mark.engines("sqlite")
def test_what_forward_would_send(log: EventLog, run: Run) -> None:
    """The plugin that comes with the router can be tried, and so can a version of it."""
    fill(log, "text", "image")
    settings = '[plugins.forward]\nurl = "https://orders.example/events"\nsecret = "whsec_{}"\n'
    Path("router.toml").write_text(settings.format("c2hh" * 10), encoding="utf-8")
    Path("new.py").write_text("from router.plugins.forward import *\n", encoding="utf-8")

    result = run("replay", "start", "forward", "--shadow", *AGAINST, "--json")

    assert (result.code, result.data["differences"], result.data["failures"]) == (0, [], [])
    url = "https://orders.example/events"
    assert find_calls(result) == [(1, "POST", url, 1), (2, "POST", url, 1)]
