"""Tests of `router config`: the settings in force, and where each comes from."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SETTINGS = """
max_body = "1MiB"
[sources.wa]
adapter = "whatsapp"
app_secrets = ["top-secret", "env:WA_SECRET"]
"""


def test_every_setting_has_its_origin(run: Run, tmp_path: Path) -> None:
    """A flag, a variable, the file and the default are told apart."""
    file = tmp_path / "router.toml"
    file.write_text(SETTINGS)

    settings = run("config", "show", "--json").data

    assert settings["max_body"] == {"value": 1_048_576, "origin": str(file)}
    assert settings["dedupe"] == {"value": "30d", "origin": "default"}
    assert settings["database"]["origin"] == "ROUTER_DATABASE"
    flag = run("config", "show", "--json", "--database", "sqlite:///a.db").data["database"]
    assert flag == {"value": "sqlite:///a.db", "origin": "--database"}


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_secrets_are_not_shown(run: Run, tmp_path: Path, options: list[str]) -> None:
    """Neither a person nor a program sees one; where it is kept may be known."""
    (tmp_path / "router.toml").write_text(SETTINGS)

    shown = run("config", "show", *options)

    assert (shown.code, "top-secret" in shown.out) == (0, False)
    assert "env:WA_SECRET" in shown.out


def test_wrong_settings_are_explained(run: Run, tmp_path: Path) -> None:
    """A key that does not exist is named, with what was perhaps meant."""
    (tmp_path / "router.toml").write_text("databse = 'x'")

    result = run("config", "show")

    assert (result.code, result.out) == (1, "")
    assert "databse is unknown: did you mean database?" in result.err


def test_settings_of_plugins_in_the_environment_are_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are listed by their variables; what is private, and no reference, is masked."""
    monkeypatch.setenv("ROUTER_PLUGINS__CRM__URL", "https://user:hunter2@crm.internal")
    monkeypatch.setenv("ROUTER_PLUGINS__CRM__API_KEY", "hunter2")
    monkeypatch.setenv("ROUTER_PLUGINS__CRM__TOKEN", "env:CRM_TOKEN")
    monkeypatch.setenv("ROUTER_PLUGINS__CRM_TOKENS__RATE", "5")

    shown = run("config", "show", "--json").data
    assert "hunter2" not in run("config", "show").out
    assert {name: row["value"] for name, row in shown.items() if "CRM" in name} == {
        "ROUTER_PLUGINS__CRM__URL": "https://***@crm.internal",
        "ROUTER_PLUGINS__CRM__API_KEY": "***",
        "ROUTER_PLUGINS__CRM__TOKEN": "env:CRM_TOKEN",
        "ROUTER_PLUGINS__CRM_TOKENS__RATE": "5",
    }
    assert shown["ROUTER_PLUGINS__CRM__URL"]["origin"] == "environment"
