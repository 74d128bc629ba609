"""Tests of `router send`: a file reaches a receiver as its provider would send it."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.log import EventLog
from tests import samples
from tests.cli.conftest import Run
from tests.cli.served import served

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SETTINGS = """
[sources.wa]
adapter = "whatsapp"
app_secrets = ["s3cret"]

[sources.inside]
adapter = "whatsapp"
verification = "path"
secrets = ["in-the-path"]

[sources.core]
adapter = "whatsapp"
verification = "basic"
users = [{ username = "core", password = "env:TEST_PASSWORD" }]
"""


@pytest.fixture
def url(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a router that serves these settings."""
    (tmp_path / "router.toml").write_text(SETTINGS)
    monkeypatch.setenv("TEST_PASSWORD", "hunter2")
    with served(environ | {"TEST_PASSWORD": "hunter2"}) as address:
        monkeypatch.setenv("ROUTER_URL", address)
        yield address


def test_a_file_is_signed_and_accepted(url: str, log: EventLog, run: Run, tmp_path: Path) -> None:
    """Each way of proving the origin is used as the source demands; bytes arrive as they were."""
    body = b'  {"messages": [] , "messages": []}\n'
    (tmp_path / "body.json").write_bytes(body)

    for source in ("wa", "inside", "core"):
        result = run("send", "body.json", "--source", source)
        assert (result.code, result.out, result.err) == (0, "200 OK\n", "")

    stored = [event.notification for event in log.read()]
    assert [(one.source, one.body) for one in stored] == [
        ("wa", body),
        ("inside", body),
        ("core", body),
    ]
    assert stored[0].headers["content-type"] == "application/json"


def test_a_refusal_is_told_in_the_receivers_words(url: str, run: Run, tmp_path: Path) -> None:
    """The status goes to stdout, the reason to stderr, and it exits 1."""
    unreadable = run("send", "-", "--source", "wa", "--url", f"{url}/", stdin=b"{")
    assert (unreadable.code, unreadable.out) == (1, "400 Bad Request\n")
    assert "not one JSON value" in unreadable.err

    text = SETTINGS.replace("s3cret", "another")
    (tmp_path / "other.toml").write_text(text)
    stranger = run("send", "-", "--source", "wa", "--config", "other.toml", stdin=b"{}")
    assert (stranger.code, stranger.out) == (1, "401 Unauthorized\n")
    assert "does not match the body" in stranger.err

    lost = run("send", "-", "--source", "wa", "--url", f"{url}/nowhere", stdin=b"{}")
    assert (lost.code, lost.out) == (1, "404 Not Found\n")


@pytest.fixture
def settings(run: Run, tmp_path: Path) -> Path:
    """The settings, and nobody who serves them."""
    file = tmp_path / "router.toml"
    file.write_text(SETTINGS)
    return file


def test_nobody_at_home_is_explained(settings: Path, run: Run) -> None:
    """Where nothing listens, the way to start it is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    result = run("send", "-", "--source", "wa", "--url", f"http://127.0.0.1:{port}", stdin=b"{}")

    assert (result.code, result.out) == (1, "")
    assert f"nothing answers at http://127.0.0.1:{port}" in result.err
    assert "start it with `router serve`" in result.err


@pytest.mark.parametrize("url", ["nowhere", "http://", "http://a:b", "ftp://127.0.0.1"])
def test_a_url_that_is_none_is_explained(settings: Path, run: Run, url: str) -> None:
    """It is named, and nothing is raised."""
    result = run("send", "-", "--source", "wa", "--url", url, stdin=b"{}")

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"Error: {url} gave no answer: ")


def test_an_unknown_source_is_told_with_a_guess(settings: Path, run: Run) -> None:
    """It exits 1 and says what was perhaps meant, and where one would be configured."""
    result = run("send", "-", "--source", "insid", stdin=samples.as_body({}))

    assert (result.code, result.out) == (1, "")
    assert "the source 'insid' is unknown: did you mean inside?" in result.err
    assert str(settings) in result.err


def test_settings_that_are_not_found_are_told(run: Run) -> None:
    """Where there are none no source is known: it says so, and how to name the file."""
    result = run("send", "-", "--source", "wa", stdin=b"{}")

    assert (result.code, result.out) == (1, "")
    assert "no settings were read: there is no router.toml" in result.err
    assert "--config or ROUTER_CONFIG" in result.err


def test_secrets_of_other_sources_are_left_alone(settings: Path, run: Run) -> None:
    """A password that is not set disturbs nobody but its own source."""
    port = ("--url", "http://127.0.0.1:1")

    assert "nothing answers" in run("send", "-", "--source", "wa", *port).err
    assert "env:TEST_PASSWORD" in run("send", "-", "--source", "core", *port).err
