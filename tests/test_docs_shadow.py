"""The page on trying a plugin keeps its word: its plugins are tried by its commands."""

import json
import re
import shlex
from pathlib import Path

import pytest

from router import EventLog
from router.cli import main
from tests.entries import append, make_entry

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "try-a-plugin-on-history.md"
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.engines("sqlite")
def test_the_page_is_true(
    log: EventLog,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """Each command does its work; the comparison shows the one message with a voice."""
    append(log, *(make_entry(subtype=one) for one in ("text", "audio", "image")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROUTER_DATABASE", database)
    codes, printed = [], []
    for kind, text in BLOCK.findall(PAGE.read_text("utf-8")):
        if kind == "python":
            file = Path(text.partition("\n")[0].removeprefix("# "))
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
            continue
        for line in text.splitlines():
            words = [one for one in shlex.split(line)[2:] if one not in ("--since", "2d")]
            with pytest.raises(SystemExit) as stopped:  # our events are older than two days
                main(words)
            codes.append(stopped.value.code)
            printed.append(capfdbinary.readouterr().out.decode())
    report, for_programs, comparison = printed

    assert codes == [0, 0, 3]
    assert report.count("PUT     https://crm.example/messages/") == 3
    assert "none was sent" in report
    assert len(json.loads(for_programs)["data"]["calls"]) == 3
    assert comparison.count("\nevent ") == 1
    assert "event 2 (message, audio)" in comparison
