"""The page on sources keeps its word: its adapter is typed, passes its tests, and is served."""

import hmac
import re
from pathlib import Path

import pytest

from router import Router
from tests import databases
from tests.loops import in_loop
from tests.posting import ask
from tests.test_docs_testing import ROOT, run
from tests.typed import CACHE, if_typed

PAGE = (ROOT / "docs" / "how-to" / "a-source-of-your-own.md").read_text("utf-8")
FILE = re.compile(r"^```python\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def find_block(kind: str) -> str:
    """Return the one block of that kind."""
    [found] = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    files = {**dict(FILE.findall(PAGE)), "router.toml": find_block("toml")}
    assert files.keys() == {"handlers/pigeon.py", "tests/test_pigeon.py", "router.toml"}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


def test_its_promises_are_kept(project: Path) -> None:
    """All cases pass, as shown."""
    options = ("-q", "-W", "error", "-p", "no:cacheprovider")
    said = run(project, "pytest", *options, PYTHONPATH=str(project / "handlers"))
    assert re.search(r"^\d+ passed", said, re.MULTILINE), said


@pytest.mark.slow
@if_typed
def test_what_is_shown_is_typed(project: Path) -> None:
    """The strictest type check finds nothing."""
    (project / "installed").mkdir()
    (project / "installed" / "router").symlink_to(ROOT / "router")
    cached = ("--cache-dir", str(CACHE))
    paths = f"{project / 'installed'}:{project / 'handlers'}"
    run(project, "mypy", "--strict", *cached, "handlers", "tests", MYPYPATH=paths)


@in_loop
async def test_it_is_served(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Pigeon posts becomes events, and nobody else posts anything."""
    monkeypatch.chdir(project)
    databases.make_empty("sqlite:///router.db")
    monkeypatch.setenv("PIGEON_SECRET", "of the account")
    body = find_block("json").strip().encode()
    signature = hmac.digest(b"of the account", body, "sha256").hex()
    router = Router.from_config(project / "router.toml", delivers=False)
    async with router:
        path, proof = "/webhooks/gateway", ("x-pigeon-signature", signature)
        assert (await ask(router.asgi(), path, body=body)).status == 401
        assert (await ask(router.asgi(), path, body=body, headers=[proof])).status == 200
        [event] = router.log.read()
    assert (event.type, event.subject) == ("delivered", "+12025550199:+4915510000001")
