"""Tests of the splitter on notifications that others met: test suites and documentation."""

from pathlib import Path

import pytest

from router import bodies, paths
from router.errors import Unreadable
from router.plugins.whatsapp.split import split
from tests.plugins.corpus import Row, read_rows

ROWS = read_rows()

# Where the index calls the row a matter of policy and we decide otherwise.
DEVIATIONS = {
    # An entry without changes carries nothing, but what was sent is never dropped: it is kept raw.
    "cloud/weni_notchangesWAC.json": [("other", "unrecognised")],
}


def expected_kind(token: str) -> tuple[str, str]:
    """Return type and subtype that a token of the index stands for."""
    kind, _, detail = token.removesuffix("(dup)").partition(":")
    known = {
        "message": ("message", detail.partition(".")[0]),
        "sent": ("sent", "sent"),
        "delivered": ("delivered", "delivered"),
        "read": ("read", "read"),
        "failed": ("error", "failed"),
        "error": ("error", detail),
        "field": ("other", detail),
        "unknown-status": ("other", detail),
        "invalid": ("other", "malformed"),
    }
    return known.get(kind, ("other", kind))


def assert_detail(token: str, payload: object) -> None:
    """Check what a token says beyond the event's type and subtype."""
    kind, _, detail = token.removesuffix("(dup)").partition(":")
    if kind == "invalid":
        return
    assert isinstance(payload, dict)
    if kind == "failed":
        assert str(payload["errors"][0]["code"]) == detail
    if kind == "error":
        assert str(payload["code"]) == detail
    if kind == "field":
        assert payload["field"] == detail
    if kind == "message" and "." in detail:
        assert payload["interactive"]["type"] == detail.partition(".")[2]


def test_all_there(corpus: Path) -> None:
    """All samples of both shapes are looked at, and every deviation is about a matter of policy."""
    assert corpus.is_dir()
    assert len(ROWS) == 129
    assert DEVIATIONS.keys() <= {row.file for row in ROWS if row.kind == "edge"}


@pytest.mark.parametrize("row", ROWS, ids=[row.file for row in ROWS])
def test_expected_events(row: Row) -> None:
    """The sample gives the events that the index expects, each with a path that finds it."""
    if row.tokens[0].startswith("reject:"):
        with pytest.raises(Unreadable):
            split(row.body)
        return
    drafts = split(row.body)
    kinds = [(draft.type, draft.subtype) for draft in drafts]
    if row.file in DEVIATIONS:
        assert kinds == DEVIATIONS[row.file]
        return
    assert kinds == [expected_kind(token) for token in row.tokens]
    data = bodies.decode(row.body)
    for draft, token in zip(drafts, row.tokens, strict=True):
        payload = paths.find(data, draft.path)
        assert_detail(token, payload)
        if draft.external_id is not None and isinstance(payload, dict) and "id" in payload:
            assert draft.external_id == str(payload["id"])
        if token.endswith("(dup)"):
            assert draft.natural_key == drafts[0].natural_key
