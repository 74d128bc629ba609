"""The client of a Coreapp: what it asks of it, and what it says where that fails."""

import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from router import coreapp as public
from router.coreapp import Coreapp
from router.errors import ConfigError, Refused, RouterError
from router.testing.certificates import Made, make_certificate
from router.testing.coreapp import RunningCoreapp, running_coreapp
from router.tls import ServerTls
from tests.hosted import Parrot, hosted

PASSWORD = "Made-up-1!"
PAGE = {
    "callback_persist": True,
    "sent_status": True,
    "webhooks": {
        "url": "webhook.your-domain",
        "message": {"sent": False, "delivered": True, "read": False},
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The certificate of the Coreapp."""
    return make_certificate(tmp_path_factory.mktemp("made"))


@pytest.fixture
def running(made: Made) -> Iterator[RunningCoreapp]:
    """A Coreapp that behaves, over HTTPS."""
    with running_coreapp(
        certificate=ServerTls(certfile=made.certfile, keyfile=made.keyfile), password=PASSWORD
    ) as running:
        yield running


@pytest.fixture
def admin(running: RunningCoreapp, made: Made) -> Coreapp:
    """A client that is logged in."""
    login = Coreapp(running.url, authorities=made.ca).login("admin", PASSWORD)
    return Coreapp(login.url, token=login.token, authorities=made.ca)


def test_public_names() -> None:
    """What the package offers is there."""
    for name in public.__all__:
        assert getattr(public, name)


def test_a_login_gives_a_token(running: RunningCoreapp, made: Made) -> None:
    """It says whose it is, until when, and by which CA the Coreapp was trusted."""
    login = Coreapp(f"{running.url}/", authorities=made.ca).login("admin", PASSWORD)

    assert (login.url, login.user, login.authorities) == (running.url, "admin", str(made.ca))
    assert login.token
    assert login.expires is not None
    assert login.expires > datetime.now(UTC)


def test_a_login_may_change_the_password(running: RunningCoreapp, made: Made) -> None:
    """The new one is good from then on, the old one is not."""
    client = Coreapp(running.url, authorities=made.ca)
    client.login("admin", PASSWORD, new_password="Another-1!")

    assert client.login("admin", "Another-1!").token
    with pytest.raises(Refused, match=r"does not accept the name 'admin' with this password"):
        client.login("admin", PASSWORD)


def test_a_wrong_password_is_told(running: RunningCoreapp, made: Made) -> None:
    """It is refused with its status; the password is nowhere in what was raised."""
    client = Coreapp(running.url, authorities=made.ca)

    with pytest.raises(Refused, match=r"answered 401 .*Invalid credentials.*check both") as refused:
        client.login("admin", "hunter2")

    assert refused.value.status == 401
    told = "".join(traceback.format_exception(refused.value))
    assert "hunter2" not in told.replace('client.login("admin", "hunter2")', "")
    assert refused.value.__cause__ is None


def test_a_colon_ends_a_name(running: RunningCoreapp, made: Made) -> None:
    """A name that HTTP cannot hold is refused before it is sent."""
    with pytest.raises(ConfigError, match="holds a colon"):
        Coreapp(running.url, authorities=made.ca).login("ad:min", PASSWORD)


def test_the_first_login_needs_a_new_password() -> None:
    """Where a Coreapp asks for one, the way to give it is named, and the rules for it."""
    parrot = Parrot()
    details = "Please provide new_password to change the default password"
    parrot.say({"errors": [{"code": 1005, "title": "Access denied", "details": details}]}, 401)
    with hosted(parrot) as url:
        client = Coreapp(url, allow_http=True)
        with pytest.raises(Refused, match=r"first login: add --new-password .*8 to 64"):
            client.login("admin", "secret")
        parrot.say({"users": [{"token": "abc"}]})
        assert client.login("admin", "secret", new_password="New-1234").expires is None

    assert [asked[3] for asked in parrot.asked] == [b"", b'{"new_password":"New-1234"}']
    assert parrot.asked[0][:2] == ("POST", "/v1/users/login")


@pytest.mark.parametrize("token", [None, "", 7, "a\nb", "ü"])
def test_a_token_that_is_none_is_told(token: object) -> None:
    """An answer without a token that HTTP can hold is no login."""
    parrot = Parrot()
    parrot.say({"users": [{"token": token}]})
    with hosted(parrot) as url, pytest.raises(RouterError, match="gave no token"):
        Coreapp(url, allow_http=True).login("admin", "x")


def test_settings_are_read_by_name(admin: Coreapp) -> None:
    """Nested settings are found by names with dots, and the version beside them."""
    settings = admin.read_settings()

    assert settings.values["webhooks.max_concurrent_requests"] == 6
    assert settings.values["callback_persist"] is True
    assert settings.version.startswith("v2.")


@pytest.mark.parametrize("answers_null", [True, False])
def test_the_example_of_the_page_is_taken(*, answers_null: bool) -> None:
    """Meta's own PATCH is accepted, be the answer null or an object, and reads back."""
    with running_coreapp(answers_null=answers_null) as running:
        client = Coreapp(running.url, allow_http=True)
        login = client.login("admin", running.password)
        admin = Coreapp(running.url, token=login.token, allow_http=True)

        admin.change_settings(PAGE)

        values = admin.read_settings().values
    assert values.items() >= public.flatten(PAGE).items()


def test_an_authority_is_uploaded_and_read_back(admin: Coreapp, made: Made) -> None:
    """There is none at first; then it is the one that was uploaded."""
    assert admin.read_webhook_ca() is None

    admin.upload_webhook_ca(made.ca.read_bytes())

    assert admin.read_webhook_ca() == made.ca.read_bytes()
    with pytest.raises(Refused, match="not a certificate in PEM"):
        admin.upload_webhook_ca(b"nothing")


def test_an_expired_token_is_told(admin: Coreapp, running: RunningCoreapp) -> None:
    """Each method then tells to log in again."""
    running.accounts.revoke()

    for call in (
        admin.read_settings,
        admin.read_webhook_ca,
        lambda: admin.change_settings({}),
        lambda: admin.upload_webhook_ca(b""),
    ):
        with pytest.raises(Refused, match=r"log in again: router coreapp login"):
            call()


def test_only_the_administrator_may(running: RunningCoreapp, made: Made) -> None:
    """Another account's token is refused with the reason."""
    login = Coreapp(running.url, authorities=made.ca).login("care", PASSWORD)

    with pytest.raises(Refused, match="only its administrator may") as refused:
        Coreapp(running.url, token=login.token, authorities=made.ca).read_settings()
    assert refused.value.status == 403


def test_a_refused_value_is_told_in_its_words(admin: Coreapp) -> None:
    """Which setting is wrong, by code, title and details, and that nothing was changed."""
    with pytest.raises(Refused, match=r"1009 Parameter value is not valid .*nothing was changed"):
        admin.change_settings({"callback_persist": "perhaps"})


@pytest.mark.parametrize(
    ("status", "advice"),
    [(500, "fails by itself"), (503, "try again later"), (429, "wait a while"), (404, "address")],
)
def test_other_failures_are_told(
    admin: Coreapp, running: RunningCoreapp, status: int, advice: str
) -> None:
    """Whatever stands before the Coreapp, its status is said, and what to do."""
    running.troubles.answer(status, body="<html>Oh no")

    with pytest.raises(Refused, match=rf"answered {status} .*{advice}"):
        admin.read_settings()


@pytest.mark.parametrize("body", ["<html>Welcome", "", "[]", "{}", '{"settings": {}}'])
def test_what_is_no_coreapp_is_told(admin: Coreapp, running: RunningCoreapp, body: str) -> None:
    """An answer without settings raises doubts about the address."""
    running.troubles.answer(200, body=body)

    with pytest.raises(RouterError, match="is this the address of the API"):
        admin.read_settings()


def test_a_page_confirms_nothing(admin: Coreapp, running: RunningCoreapp) -> None:
    """A change that is answered with HTML is an error, though the status is 200."""
    running.troubles.answer(200, body="<html>OK", times=2)

    with pytest.raises(RouterError, match="instead of JSON"):
        admin.change_settings({"callback_persist": False})
    with pytest.raises(RouterError, match="instead of JSON"):
        admin.upload_webhook_ca(b"x")


def test_a_url_is_checked_before_it_is_asked(tmp_path: Path) -> None:
    """HTTP, credentials in the URL, and a CA that is none, are refused at once."""
    with pytest.raises(ConfigError, match=r"the Coreapp's URL .* is not HTTPS"):
        Coreapp("http://coreapp:9090")
    with pytest.raises(ConfigError, match="holds credentials") as refused:
        Coreapp("https://admin:hunter2@coreapp:9090")
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"gone.pem cannot be read"):
        Coreapp("https://coreapp:9090", authorities=tmp_path / "gone.pem")


def test_errors_of_any_shape_are_quoted_or_left_out() -> None:
    """Answers that only resemble errors raise nothing else."""
    parrot = Parrot()
    with hosted(parrot) as url:
        client = Coreapp(url, allow_http=True)
        answers: list[object] = [None, [], {"errors": None}, {"errors": [1, {"title": None}]}]
        for data in answers:
            parrot.say(data, 400)
            with pytest.raises(Refused, match=r"answered 400 Bad Request"):
                client.read_settings()
        parrot.say({"errors": [{"title": "One"}, {"details": "Two"}]}, 400)
        with pytest.raises(Refused, match=r"\(One; Two\)"):
            client.read_settings()
