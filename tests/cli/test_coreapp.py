"""`router coreapp login` and `show`, as somebody types them, against a Coreapp over HTTPS."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Result, Run
from tests.cli.coreapps import Operator, operating

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def operator(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """Somebody who is not logged in yet."""
    with operating(run, tmp_path, monkeypatch) as operator:
        yield operator


def test_a_login_is_kept_and_not_shown(operator: Operator, tmp_path: Path) -> None:
    """The token goes into a file of mode 600 among the user's own state, and nowhere else."""
    result = operator.log_in()

    file = tmp_path / "state" / "notification-router" / "coreapp.token.json"
    token = file.read_text().split('"token":"')[1].split('"')[0]
    assert (result.code, result.out) == (0, "")
    assert f"Logged in to {operator.coreapp.url} as admin, until " in result.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token not in result.err
    assert token not in operator("show").out


def test_the_place_of_the_token_can_be_chosen(operator: Operator, tmp_path: Path) -> None:
    """--token-file keeps it elsewhere, for one of several Coreapps."""
    file = str(tmp_path / "other.json")
    assert operator.log_in("--token-file", file).code == 0

    assert operator("show", "--token-file", file).code == 0
    assert operator("show").code == 1


def test_settings_are_shown(operator: Operator) -> None:
    """A table for people, an object for programs; the CA of the login is remembered."""
    operator.coreapp.settings.change({"webhooks": {"url": "https://me:hunter2@r/webhooks/a/key"}})
    operator.log_in()

    table = operator("show")
    assert (table.code, "version v2." in table.err) == (0, True)
    rows = {line.split()[0]: line for line in table.out.splitlines()}
    assert "6" in rows["webhooks.max_concurrent_requests"]
    assert "after a restart" in rows["callback_persist"]
    assert "https://***@r/webhooks/a/***" in rows["webhooks.url"]

    data = operator("show", "--json").data
    assert list(data) == ["url", "version", "settings"]
    assert data["settings"]["webhooks"]["url"] == "https://***@r/webhooks/a/***"
    assert data["settings"]["callback_persist"] is True


def test_the_password_is_asked_for_unseen(
    operator: Operator, on_terminal: Callable[..., Result], tmp_path: Path
) -> None:
    """On a terminal it is typed, and not echoed."""
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    words = ("coreapp", "login", "--url", operator.coreapp.url, "--cacert", str(operator.made.ca))

    typed = f"{operator.coreapp.password}\n"
    result = on_terminal(*words, typed=typed, prompt="Password of", **state)

    assert result.code == 0
    assert f"Password of admin at {operator.coreapp.url}: " in result.out
    assert "Logged in to" in result.out
    assert operator.coreapp.password not in result.out


def test_nobody_is_asked_without_a_terminal(operator: Operator) -> None:
    """It exits 2 and names the option; a bare password is refused, and not repeated."""
    silent = operator("login", "--url", operator.coreapp.url)
    assert (silent.code, "add --password env:NAME" in silent.err) == (2, True)

    bare = operator("login", "--url", operator.coreapp.url, "--password", "hunter2")
    assert (bare.code, "hunter2" in bare.err) == (2, False)


def test_a_wrong_password_is_told(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """It exits 1, says what to check, and keeps nothing."""
    monkeypatch.setenv("TEST_PASSWORD", "hunter2")

    result = operator.log_in()

    assert (result.code, result.out) == (1, "")
    assert "does not accept the name 'admin'" in result.err
    assert "hunter2" not in result.err
    assert operator("show").code == 1


def test_no_password_is_changed_where_no_token_can_be_kept(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is tried before the Coreapp is asked; the old password is good as before."""
    monkeypatch.setenv("TEST_NEW", "Another-1!")
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "token.json"):
        result = operator.log_in("--new-password", "env:TEST_NEW", "--token-file", str(place))
        assert (result.code, "cannot be kept in" in result.err) == (1, True)
        assert "IS changed" not in result.err

    assert operator.log_in().code == 0


def test_a_changed_password_is_told_where_its_token_is_lost(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the place fail after all, the new password is the one to log in with."""

    def fail(file: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("TEST_NEW", "Another-1!")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        assert "IS changed" not in operator.log_in().err
        lost = operator.log_in("--new-password", "env:TEST_NEW")
    assert (lost.code, "the password of admin IS changed" in lost.err) == (1, True)
    assert "log in with the new one, without --new-password" in lost.err

    again = operator.log_in("--new-password", "env:TEST_NEW")
    assert (again.code, "if the password was changed before" in again.err) == (1, True)
    assert "add --new-password" not in again.err
    monkeypatch.setenv("TEST_PASSWORD", "Another-1!")
    assert operator.log_in().code == 0


def test_an_unknown_certificate_is_told(operator: Operator, run: Run) -> None:
    """Without the CA nothing is sent, and the way to name it is said."""
    words = ("--url", operator.coreapp.url, "--password", "env:TEST_PASSWORD")
    result = run("coreapp", "login", *words)

    assert (result.code, "name the CA that has signed it with --cacert" in result.err) == (1, True)


def test_http_is_refused(operator: Operator) -> None:
    """A password does not travel readable, unless that is allowed."""
    url = operator.coreapp.url.replace("https", "http")

    refused = operator.log_in(url=url)
    assert (refused.code, "is not HTTPS" in refused.err) == (1, True)
    allowed = operator.log_in("--allow-http", url=url)
    assert (allowed.code, "does it take HTTPS alone?" in allowed.err) == (1, True)


def test_a_lost_login_is_told(operator: Operator, tmp_path: Path) -> None:
    """Nobody logged in, a token that the Coreapp has forgotten, one that has expired by itself."""
    nobody = operator("show")
    assert (nobody.code, "nobody is logged in" in nobody.err) == (1, True)

    operator.log_in()
    operator.coreapp.accounts.revoke()
    forgotten = operator("show")
    assert (forgotten.code, "answered 401" in forgotten.err) == (1, True)
    assert "log in again: router coreapp login" in forgotten.err

    (file,) = (tmp_path / "state" / "notification-router").iterdir()
    text = file.read_text()
    until = text.split('"expires":"')[1].split('"')[0]
    file.write_text(text.replace(until, "2020-01-01T00:00:00Z"))
    expired = operator("show")
    assert (expired.code, "expired at 2020-01-01T00:00:00" in expired.err) == (1, True)
    assert f"router coreapp login --url {operator.coreapp.url} --user admin" in expired.err


def test_a_lost_authority_is_told(operator: Operator) -> None:
    """The CA of the login may be named at another place, or by another login."""
    operator.log_in()
    moved = operator.made.ca.rename(operator.made.ca.with_name("moved.pem"))

    lost = operator("show")
    assert (lost.code, "cannot be read: No such file" in lost.err) == (1, True)
    assert "name it with --cacert FILE, or log in again" in lost.err
    assert operator("show", "--cacert", str(moved)).code == 0


@pytest.mark.parametrize(
    ("status", "said"), [(503, "answered 503"), (200, "text/html instead of JSON")]
)
def test_other_answers_are_told(operator: Operator, status: int, said: str) -> None:
    """An outage, and a page where JSON was due, exit 1."""
    operator.log_in()
    operator.coreapp.troubles.answer(status, body="<html>")

    result = operator("show")

    assert (result.code, result.out, said in result.err) == (1, "", True)


def test_silence_is_told(operator: Operator) -> None:
    """A Coreapp that does not answer in time exits 1."""
    operator.log_in()
    operator.coreapp.troubles.stall(60)

    result = operator("show", "--timeout", "50ms")

    assert (result.code, "gave no answer within 0.05 s" in result.err) == (1, True)


def test_the_default_place_is_in_the_home(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without XDG_STATE_HOME, or with one that is relative, it is ~/.local/state."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")

    assert operator.log_in().code == 0

    assert os.listdir(tmp_path / "home/.local/state/notification-router") == ["coreapp.token.json"]
