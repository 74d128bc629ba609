"""What the adapter yields is pinned by the golden set of its version: a change of meaning is seen.

Each file holds a body, the channel that its source is set to, and the events that are expected. A
test that fails here is no reason to change a file: whoever changes the meaning of what is stored
raises `WhatsAppAdapter.version` and adds a set, so that the change is looked at, and says in the
notes of the release whether stored notifications are to be reparsed. Sets of earlier versions stay.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from router.events import Entry, Notification, as_rfc3339
from router.log import EventLog
from router.plugins.whatsapp import WhatsApp, WhatsAppAdapter
from tests.entries import NOON

# One engine is enough: what is tested is the adapter.
pytestmark = pytest.mark.engines("sqlite")

VERSION = WhatsAppAdapter.version
SETS = Path(__file__).parent / "golden"
SET = SETS / f"whatsapp-{VERSION}"
FILES = sorted(SET.glob("*.json"))
STEP = re.compile(r"\.(\w+)|\[(\d+)\]")

golden = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])


def read(file: Path) -> tuple[WhatsApp, bytes, list[dict[str, Any]]]:
    """Return the source, the body and the events that a file holds."""
    sample = json.loads(file.read_text("utf-8"))
    source = WhatsApp("wa", verification="none", channel=sample["channel"])
    return source, json.dumps(sample["body"]).encode(), sample["events"]


def follow(value: Any, path: str) -> Any:  # noqa: ANN401 - JSON may be anything
    """Return what stands at ``path``, found without the router's help."""
    for name, index in STEP.findall(path):
        value = value[name] if name else value[int(index)]
    return value


def test_every_version_has_its_set() -> None:
    """A version is raised together with a set, and the sets of those before it are kept."""
    kept = {path.name for path in SETS.iterdir()}

    assert kept == {f"whatsapp-{number}" for number in range(1, VERSION + 1)}
    assert len(FILES) >= 20


def test_the_set_shows_every_kind() -> None:
    """All types, messages of both shapes, and what is set aside."""
    events = [(file.stem.split("-")[0], one) for file in FILES for one in read(file)[2]]

    types = {one["type"] for _, one in events}
    assert types == {"message", "sent", "delivered", "read", "error", "other"}
    assert {shape for shape, one in events if one["type"] == "message"} == {"cloud", "onprem"}
    subtypes = {one["subtype"] for _, one in events}
    assert {"malformed", "unrecognised", "failed", "calls", "history", "account_update"} <= subtypes


@golden
def test_the_adapter_yields_what_its_version_says(file: Path) -> None:
    """Path, type, subtype, channel, conversation, id, time and key of each event, in order."""
    source, body, expected = read(file)
    found = [
        {
            "path": draft.path,
            "type": draft.type,
            "subtype": draft.subtype,
            "channel": draft.channel,
            "conversation": draft.conversation,
            "external_id": draft.external_id,
            "occurred_at": as_rfc3339(draft.occurred_at),
            "natural_key": draft.natural_key and list(draft.natural_key),
        }
        for draft in source.split(body)
    ]

    assert found == expected, (
        f"the adapter yields other events than version {VERSION} did: if that is meant, raise "
        f"WhatsAppAdapter.version and add tests/plugins/golden/whatsapp-{VERSION + 1}, so that the "
        "change of meaning is seen in review"
    )


@golden
def test_a_stored_body_is_read_by_path(file: Path, log: EventLog) -> None:
    """The payload of each event, read back, is what its path says of the body."""
    source, body, expected = read(file)
    log.append([Entry(Notification("wa", NOON, {}, body), source.split(body))])

    payloads = [event.payload for event in log.read()]
    assert payloads == [follow(json.loads(body), one["path"]) for one in expected]
