"""`router coreapp test`: each thing that can stand between a Coreapp and the log is found."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from router.cli.arrival import Waiting, prove
from router.coreapp import Coreapp, read_login
from router.log import EventLog
from router.testing.certificates import Made, make_certificate
from router.tls import ServerTls
from tests.cli.conftest import Run
from tests.cli.coreapps import Operator, operating
from tests.hosted import Parrot, hosted, routing

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SETTINGS = """
[sources.core]
adapter = "whatsapp"
verification = "basic"
users = [{ username = "me", password = "env:TEST_BASIC" }]

[sources.other]
adapter = "whatsapp"
verification = "none"
"""


@pytest.fixture
def operator(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """Somebody who is logged in, beside a router's settings."""
    (tmp_path / "router.toml").write_text(SETTINGS)
    monkeypatch.setenv("TEST_BASIC", "p@ss")
    with operating(run, tmp_path, monkeypatch) as operator:
        operator.log_in()
        yield operator


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """The certificate of the router."""
    return make_certificate(tmp_path / "router", "127.0.0.1")


@pytest.fixture
def address(operator: Operator, tmp_path: Path, made: Made) -> Iterator[str]:
    """Where the router serves, over HTTPS."""
    tls = ServerTls(certfile=made.certfile, keyfile=made.keyfile)
    with routing(tmp_path / "router.toml", tls=tls) as address:
        yield address


def test_from_nothing_to_proof(operator: Operator, address: str, made: Made, log: EventLog) -> None:
    """No callback, an unknown CA, missing credentials: each is found; then all is well."""
    nothing = operator("test")
    assert (nothing.code, "no callback is set" in nothing.out) == (3, True)

    source = ("--router-url", address, "--source", "core", "--yes")
    operator("configure", *source)
    unknown = operator("test")
    assert (unknown.code, "is not trusted" in unknown.out) == (3, True)
    assert "router coreapp configure --webhook-ca FILE" in unknown.out

    operator("configure", "--webhook-ca", str(made.ca), "--yes")
    proved = operator("test")
    assert proved.code == 0
    assert [line.split()[:2] for line in proved.out.splitlines()] == [
        ["ok", "settings"],
        ["ok", "callback"],
        ["ok", "log"],
    ]
    assert "Not proved: that the Coreapp itself reaches the callback" in proved.err
    assert "p%40ss" not in proved.out
    (event,) = log.read()
    assert (event.type, event.notification.source) == ("other", "core")

    operator("configure", "--webhook-url", f"{address}/webhooks/core", "--yes")
    stranger = operator("test")
    assert (stranger.code, "it answers 401" in stranger.out) == (3, True)
    operator("configure", "--webhook-url", f"{address}/webhooks/cor", "--yes")
    assert "it answers 404" in operator("test").out
    assert len(list(log.read())) == 1


def test_a_callback_without_a_scheme_is_https(operator: Operator, address: str, made: Made) -> None:
    """Meta's example names none, and HTTPS is what is demanded."""
    operator.coreapp.settings.change(
        {"webhooks": {"url": f"{address.removeprefix('https://')}/webhooks/other"}}
    )
    operator.coreapp.trust.uploaded = made.ca.read_text()

    assert operator("test").code == 0


def test_another_database_is_found(
    operator: Operator, address: str, made: Made, empty_database: Path, tmp_path: Path
) -> None:
    """An answer of 200 proves nothing about a log in which the event is not."""
    operator.coreapp.trust.uploaded = made.ca.read_text()
    operator("configure", "--webhook-url", f"{address}/webhooks/other", "--yes")
    other = shutil.copy(empty_database, tmp_path / "other.db")

    result = operator("test", "--database", f"sqlite:///{other}", "--json")

    assert result.code == 3
    assert [(one["name"], one["passed"]) for one in result.data["checks"]] == [
        ("settings", True),
        ("callback", True),
        ("log", False),
    ]
    assert "--database" in result.data["checks"][-1]["said"]


def test_nobody_at_home_is_told(operator: Operator) -> None:
    """A callback that does not answer is a finding, not a failure of the command."""
    operator("configure", "--webhook-url", "https://127.0.0.1:1/webhooks/core", "--yes")

    result = operator("test")

    assert (result.code, "nothing answers at" in result.out) == (3, True)


def test_a_coreapp_that_fails_is_a_finding(operator: Operator) -> None:
    """A login that is lost, and an outage at the settings or the CA, each are a line and exit 3."""

    def check() -> tuple[int, list[tuple[str, bool]], str]:
        result = operator("test", "--json")
        checks = result.data["checks"]
        return result.code, [(one["name"], one["passed"]) for one in checks], checks[-1]["said"]

    operator("configure", "--webhook-url", "https://127.0.0.1:1/webhooks/core", "--yes")
    application = {"settings": {"application": operator.coreapp.application}}
    operator.coreapp.troubles.answer(200, body=json.dumps(application))
    operator.coreapp.troubles.answer(503)
    code, checks, said = check()
    assert (code, checks) == (3, [("settings", True), ("callback", False)])
    assert "answered 503" in said

    operator.coreapp.accounts.revoke()
    code, checks, said = check()
    assert (code, checks) == (3, [("settings", False)])
    assert "log in again" in said


@pytest.mark.parametrize("secret", ["hunter2", "h%2Fu n"])
def test_an_answer_is_quoted_without_secrets(operator: Operator, secret: str) -> None:
    """A callback that repeats what opens it does not bring that onto the screen."""
    parrot = Parrot()
    with hosted(parrot) as url:
        for address in (
            f"{url}/webhooks/core/{quote(secret)}",
            f"{url}/webhooks/core?token={quote(secret)}",
            f"{url.replace('//', f'//me:{quote(secret)}@')}/webhooks/core",
        ):
            operator.coreapp.settings.change({"webhooks": {"url": address}})
            parrot.say_text(f"no \x1b[2J {secret} {quote(secret)} at {address}", 403)
            result = operator("test")
            assert (result.code, "it answers 403" in result.out) == (3, True)
            assert secret not in result.out
            assert quote(secret) not in result.out


@pytest.fixture
def logged_in(operator: Operator, address: str, made: Made, tmp_path: Path) -> Coreapp:
    """A client, whose callback works."""
    operator.coreapp.trust.uploaded = made.ca.read_text()
    operator("configure", "--webhook-url", f"{address}/webhooks/other", "--yes")
    login = read_login(tmp_path / "state" / "notification-router" / "coreapp.token.json")
    return Coreapp(login.url, token=login.token, authorities=operator.made.ca)


def ticking(seconds: float, *, then: Callable[[], object] = lambda: None) -> Waiting:
    """A time in which each sleep takes what it says, and ``then`` happens in the first one."""
    now = [0.0]

    def sleep(wanted: float) -> None:
        if not now[0]:
            then()
        now[0] += wanted

    return Waiting(seconds=seconds, clock=lambda: now[0], sleep=sleep)


def test_it_waits_for_a_notification(
    logged_in: Coreapp, operator: Operator, address: str, made: Made, log: EventLog
) -> None:
    """The next one of the same source is the proof; neither its own, nor that of another, is."""

    def send(source: str) -> None:
        words = ("--source", source, "--url", address, "--cacert", str(made.ca))
        assert operator.run("send", "-", *words, stdin=b'{"n": 1}').code == 0

    def check(source: str) -> tuple[str, bool, str]:
        waiting = ticking(3, then=lambda: send(source))
        last = list(prove(logged_in, log, waiting=waiting))[-1]
        return last.name, last.passed, last.said

    assert check("core")[:2] == ("arrival", False)
    name, passed, said = check("other")
    assert (name, passed) == ("arrival", True)
    assert said.startswith("event 4, other/")


def test_it_waits_no_longer_than_told(logged_in: Coreapp, log: EventLog) -> None:
    """Where none comes, that is said, with what may be the reason."""
    checks = list(prove(logged_in, log, waiting=ticking(2)))

    assert [check.passed for check in checks] == [True, True, True, False]
    assert "none came in 2 s" in checks[-1].said


def test_waiting_is_an_option(operator: Operator, logged_in: Coreapp) -> None:
    """--wait exits 3 where nothing came."""
    result = operator("test", "--wait", "1ms")

    assert (result.code, "none came in 0.001 s" in result.out) == (3, True)
    assert "send a WhatsApp message to the number now" in result.err
