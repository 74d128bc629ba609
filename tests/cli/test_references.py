"""Secrets on a command line: named, or typed unseen at a terminal, never given."""

from pathlib import Path

import click
import pytest

from router.cli.references import REFERENCE, ask_secret


def test_a_reference_is_resolved_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path counts from the working directory, and nothing is read before it is used."""
    monkeypatch.chdir(tmp_path)
    secret = REFERENCE.convert("file:password", None, None)
    (tmp_path / "password").write_text("hunter2\n")

    assert secret.resolve() == "hunter2"
    assert REFERENCE.convert(secret, None, None) is secret


@pytest.mark.parametrize("given", ["hunter2", "", "ENV:X", 7])
def test_a_secret_itself_is_refused(given: object) -> None:
    """The refusal names the two ways, and does not repeat what was given."""
    with pytest.raises(click.BadParameter, match="env:NAME or file:PATH") as refused:
        REFERENCE.convert(given, None, None)

    assert "hunter2" not in str(refused.value)


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option that says where the secret is kept is named instead."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)

    with pytest.raises(click.UsageError, match="add --password env:NAME"):
        ask_secret("Password", option="--password")
