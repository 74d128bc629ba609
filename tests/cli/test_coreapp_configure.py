"""`router coreapp configure`: the difference, the change, and a look whether it is so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.coreapp import find_changes, flatten
from router.testing.certificates import make_certificate
from tests.cli.conftest import Run
from tests.cli.coreapps import Operator, operating

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SETTINGS = """
[sources.core]
adapter = "whatsapp"
verification = "path"
secrets = ["s3cret-1"]

[sources.signed]
adapter = "whatsapp"
app_secrets = ["s3cret-2"]
"""
URL = "https://router.internal/webhooks/core"


@pytest.fixture
def operator(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Operator]:
    """Somebody who is logged in; an indirect parameter holds what the Coreapp is made with."""
    (tmp_path / "router.toml").write_text(SETTINGS)
    with operating(run, tmp_path, monkeypatch, **getattr(request, "param", {})) as operator:
        operator.log_in()
        yield operator


def webhooks(operator: Operator) -> Any:  # noqa: ANN401 - JSON
    """What the Coreapp has set about its callback."""
    return operator.coreapp.application["webhooks"]


def test_all_settings_are_changed_and_read_back(operator: Operator) -> None:
    """The difference is a row each; what needs a restart is said; then nothing is left to do."""
    words = [
        *("configure", "--webhook-url", URL, "--sent", "--no-delivered", "--no-read"),
        *("--no-callback-persist", "--max-concurrent-requests", "12", "--sent-status"),
        *("--backoff-delay", "5s", "--max-backoff-delay", "10m"),
    ]
    result = operator(*words, "--yes")

    assert result.code == 0
    found = operator.coreapp.application
    assert webhooks(operator) == {
        "url": URL,
        "max_concurrent_requests": 12,
        "message": {"sent": True, "delivered": False, "read": False},
    }
    assert (found["callback_persist"], found["sent_status"]) == (False, True)
    assert (found["callback_backoff_delay_ms"], found["max_callback_backoff_delay_ms"]) == (
        "5000",
        "600000",
    )
    rows = [line.split() for line in result.out.splitlines()]
    assert rows[0] == ["SETTING", "OLD", "NEW", "TAKES", "EFFECT"]
    assert ["webhooks.max_concurrent_requests", "6", "12", "after", "a", "restart"] in rows
    assert ["webhooks.message.sent", "no", "yes", "at", "once"] in rows
    assert "Changed 9 settings" in result.err
    assert "Restart all nodes of the Coreapp, for: callback_persist, webhooks.max" in result.err

    again = operator(*words)
    assert (again.code, again.out) == (0, "")
    assert "There is nothing to change" in again.err


def test_only_what_differs_is_sent(operator: Operator) -> None:
    """What is so already is not shown; what is not named stays."""
    before = operator.coreapp.application

    result = operator("configure", "--read", "--callback-persist", "--no-delivered", "--yes")

    assert [line.split()[0] for line in result.out.splitlines()[1:]] == [
        "webhooks.message.delivered"
    ]
    assert "Changed 1 setting " in result.err
    assert "Restart" not in result.err
    differing = find_changes(flatten(before), flatten(operator.coreapp.application))
    assert [change.setting for change in differing] == ["webhooks.message.delivered"]


def test_nothing_is_changed_unasked(operator: Operator) -> None:
    """A dry run shows and exits 0; without a terminal and --yes it exits 2."""
    before = operator.coreapp.application

    dry = operator("configure", "--webhook-url", URL, "--dry-run")
    assert (dry.code, URL in dry.out) == (0, True)
    silent = operator("configure", "--webhook-url", URL)
    assert (silent.code, URL in silent.out, "add --yes" in silent.err) == (2, True, True)
    assert operator.coreapp.application == before


def test_programs_get_the_difference_as_json(operator: Operator) -> None:
    """How many settings, and of each the old, the new, and whether it needs a restart."""
    options = ("--max-concurrent-requests", "9", "--dry-run", "--json")

    assert operator("configure", *options).data == {
        "total": 1,
        "changes": [
            {
                "setting": "webhooks.max_concurrent_requests",
                "old": 6,
                "new": 9,
                "needs_restart": True,
            }
        ],
    }


def test_a_source_makes_the_callback(operator: Operator) -> None:
    """Path and secret come from the settings, and the secret is not shown."""
    result = operator(
        "configure", "--router-url", "https://router.internal:8443", "--source", "core", "--yes"
    )

    assert result.code == 0
    assert webhooks(operator)["url"] == "https://router.internal:8443/webhooks/core/s3cret-1"
    assert "https://router.internal:8443/webhooks/core/***" in result.out
    assert "s3cret" not in result.out + result.err
    signed = operator("configure", "--router-url", "https://r", "--source", "signed", "--yes")
    assert (signed.code, '"path" or "basic"' in signed.err) == (1, True)


def test_a_callback_with_credentials_is_named(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be kept where secrets are; that the password became another is said without it."""
    for password in ("hunter2", "hunter3"):
        monkeypatch.setenv("TEST_URL", f"https://me:{password}@router/webhooks/core")
        result = operator("configure", "--webhook-url", "env:TEST_URL", "--yes")
        assert (result.code, "hunter" in result.out + result.err) == (0, False)

    assert "(other credentials)" in result.out
    assert "other processes see" not in result.err
    bare = operator("configure", "--webhook-url", "https://me:hunter4@router/a", "--dry-run")
    assert ("other processes see" in bare.err, "hunter4" in bare.err + bare.out) == (True, False)
    assert webhooks(operator)["url"] == "https://me:hunter3@router/webhooks/core"


def test_http_is_refused(operator: Operator) -> None:
    """A callback without HTTPS is told from the start, unless it is allowed; so is none at all."""
    url = "http://router.internal/webhooks/core"

    refused = operator("configure", "--webhook-url", url, "--yes")
    assert (refused.code, "is not HTTPS" in refused.err) == (1, True)
    none = operator("configure", "--webhook-url", "webhook.your-domain", "--yes")
    assert (none.code, "write it in full" in none.err) == (1, True)
    assert webhooks(operator)["url"] == ""
    assert operator("configure", "--webhook-url", url, "--yes", "--allow-http").code == 0
    assert webhooks(operator)["url"] == url


def test_an_authority_is_uploaded_once(operator: Operator, tmp_path: Path) -> None:
    """It is a change that needs a restart; the same one again is none; another is."""
    ca, other = (make_certificate(tmp_path / name).ca for name in ("one", "other"))

    first = operator("configure", "--webhook-ca", str(ca), "--yes")
    assert (first.code, operator.coreapp.trust.uploaded) == (0, ca.read_text())
    assert "certificates.webhooks.ca" in first.out
    assert "Restart all nodes of the Coreapp, for: certificates.webhooks.ca" in first.err
    again = operator("configure", "--webhook-ca", str(ca))
    assert (again.code, "nothing to change" in again.err) == (0, True)
    assert operator("configure", "--webhook-ca", str(other), "--yes").code == 0
    assert operator.coreapp.trust.uploaded == other.read_text()


@pytest.mark.parametrize("found", ["", "another"])
def test_an_authority_that_does_not_read_back_is_told(
    operator: Operator, tmp_path: Path, found: str
) -> None:
    """An upload that was confirmed, but is not there, exits 1; the callback stays as it was."""
    ca = make_certificate(tmp_path / "one").ca
    before = json.dumps({"settings": {"application": operator.coreapp.application}})
    for status, body in ((200, before), (404, ""), (200, "null"), (200 if found else 404, found)):
        operator.coreapp.troubles.answer(status, body=body, media_type="application/json")

    result = operator("configure", "--webhook-url", URL, "--webhook-ca", str(ca), "--yes")

    assert result.code == 1
    assert "took the CA, but reads back otherwise: certificates.webhooks.ca is" in result.err
    assert "Changed" not in result.err
    assert webhooks(operator)["url"] == ""


@pytest.mark.parametrize("operator", [{"version": "v2.33.4"}], indirect=True)
def test_an_old_coreapp_is_known(operator: Operator) -> None:
    """Before v2.41.2 there is sent_status alone, which is named instead of the switches."""
    refused = operator("configure", "--sent", "--yes")
    assert (refused.code, "v2.33.4, which has no webhooks.message.sent" in refused.err) == (1, True)
    assert "--sent-status" in refused.err

    assert operator("configure", "--sent-status", "--yes").code == 0
    assert operator.coreapp.application["sent_status"] is True


def test_what_does_not_read_back_is_told(operator: Operator) -> None:
    """A change that was confirmed, but is not there, exits 1 and names what is there instead."""
    before = json.dumps({"settings": {"application": operator.coreapp.application}})
    for body in (before, "null", before):
        operator.coreapp.troubles.answer(200, body=body, media_type="application/json")

    result = operator("configure", "--webhook-url", URL, "--no-read", "--yes")

    assert result.code == 1
    assert "reads back otherwise: webhooks.url is -, webhooks.message.read is yes" in result.err


def test_what_became_another_unasked_is_told(operator: Operator) -> None:
    """Where the Coreapp changes more than it was told, that is noted."""
    before = operator.coreapp.application
    after = before | {"callback_persist": False, "sent_status": True}
    for found in (before, None, after):
        data = found and {"settings": {"application": found}}
        body = json.dumps(data)
        operator.coreapp.troubles.answer(200, body=body, media_type="application/json")

    result = operator("configure", "--sent-status", "--yes")

    assert (result.code, "callback_persist became no, too; it was yes" in result.err) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Nothing is named"),
        (["--router-url", "https://r"], "--router-url and --source together"),
        (["--source", "core"], "--router-url and --source together"),
        (["--source", "core", "--router-url", "https://r", "--webhook-url", URL], "Name"),
        (["--max-concurrent-requests", "0"], "--max-concurrent-requests"),
        (["--backoff-delay", "soon"], "--backoff-delay"),
    ],
)
def test_a_wrong_usage_is_told(operator: Operator, words: list[str], said: str) -> None:
    """It exits 2 and says which option is wrong."""
    result = operator("configure", *words, "--yes")

    assert (result.code, said in result.err) == (2, True)


def test_a_private_key_is_not_uploaded(operator: Operator) -> None:
    """A file with one in it is refused, and so is one without a certificate."""
    key, made = operator.made.keyfile, operator.made
    both = key.with_name("both.pem")
    both.write_bytes(key.read_bytes() + made.certfile.read_bytes())

    for file, said in ((both, "holds a private key"), (key, "holds no certificate")):
        result = operator("configure", "--webhook-ca", str(file), "--yes")
        assert (result.code, said in result.err) == (1, True)
    assert operator.coreapp.trust.uploaded == ""
