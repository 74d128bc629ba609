"""Tests of the samples that others wrote, through the command and through the receiver."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from router import Router
from router.cli import router as command
from router.log import EventLog
from router.plugins.whatsapp import WhatsApp
from router.store import Store
from tests.plugins.corpus import FOLDER, Row, read_rows
from tests.plugins.test_whatsapp_corpus import DEVIATIONS, expected_kind
from tests.posting import ask

# One engine is enough: what is tested is the adapter.
pytestmark = pytest.mark.engines("sqlite")

ROWS = read_rows()
MALFORMED = ("other", "malformed")
# What the log assigns, and only the log.
ASSIGNED = ("position", "id", "source", "received_at", "notification_id")


@pytest.mark.parametrize("row", ROWS, ids=[row.file for row in ROWS])
def test_parse(row: Row) -> None:
    """`router parse --json` prints the expected events, and its exit code tells malformed ones."""
    done = CliRunner().invoke(
        command, ["parse", str(FOLDER / row.file), "--adapter", "whatsapp", "--json"]
    )
    if row.tokens[0].startswith("reject:"):
        assert done.exit_code == 1
        assert done.stdout == ""
        return
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [(event["type"], event["subtype"]) for event in events]
    expected = [expected_kind(token) for token in row.tokens]
    assert kinds == DEVIATIONS.get(row.file, expected)
    assert done.exit_code == (3 if MALFORMED in kinds else 0)
    assert all(event[name] is None for event in events for name in ASSIGNED)


def test_receive(corpus: object, store: Store, database: str) -> None:
    """What is answered 200 is stored byte for byte, and each path finds its element in it."""
    assert corpus
    # A source for each, since samples share ids and the dedupe memory is a source's own.
    sources = {f"s{at}": row for at, row in enumerate(ROWS)}
    router = Router(database, sources=[WhatsApp(name, verification="none") for name in sources])

    async def post_all() -> dict[str, int]:
        async with router:
            app = router.asgi()
            return {
                name: (await ask(app, f"/webhooks/{name}", body=row.body)).status
                for name, row in sources.items()
            }

    statuses = asyncio.run(post_all())
    rejected = {name for name, row in sources.items() if row.tokens[0].startswith("reject:")}
    assert {name for name, status in statuses.items() if status != 200} == rejected
    kept: dict[str, list[tuple[str, str]]] = {}
    for event in EventLog(store).read():
        assert event.notification.body == sources[event.source].body
        assert event.path == "$" or event.payload is not None
        kept.setdefault(event.source, []).append((event.type, event.subtype))
    for name, row in sources.items():
        once = [expected_kind(token) for token in row.tokens if not token.endswith("(dup)")]
        assert kept.get(name, []) == ([] if name in rejected else DEVIATIONS.get(row.file, once))
