"""The settings API of a Coreapp, over HTTP."""

import json
import re
from datetime import datetime

import pytest

from tests.testing.coreapp.conftest import SETTINGS, Admin

# The example of the founding page, without its comments.
PAGE = b"""{
    "callback_persist": true,
    "sent_status": true,
    "webhooks": {
        "url": "webhook.your-domain",
        "message": {
            "sent": false,
            "delivered": true,
            "read": false
       },
    }
}"""
CONFIRMED = {"meta": {"version": "v2.53.1", "api_status": "stable"}}


def made(**arguments: object) -> pytest.MarkDecorator:
    """Give a test a Coreapp that is made like this."""
    return pytest.mark.parametrize("admin", [arguments], indirect=True)


def test_a_login_gives_a_token(admin: Admin) -> None:
    """Whoever knows the password gets a token, and is told until when it is good."""
    answer = admin.log_in()

    (user,) = answer.json()["users"]
    assert answer.status_code == 200
    assert set(user) == {"token", "expires_after"}
    assert datetime.fromisoformat(user["expires_after"]).utcoffset() is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", user["expires_after"])


@pytest.mark.parametrize(("username", "password"), [("admin", "wrong"), ("nobody", ""), ("", "")])
def test_a_wrong_password_is_refused(admin: Admin, username: str, password: str) -> None:
    """It is answered 401 with an error in Meta's form, and no token."""
    answer = admin.log_in(username, password)

    (error,) = answer.json()["errors"]
    assert answer.status_code == 401
    assert (error["code"], error["title"]) == (1005, "Access denied")
    assert "users" not in answer.json()


def test_a_password_is_changed_with_a_login(admin: Admin) -> None:
    """A login may name a new password; from then on the old one is refused."""
    credentials = ("admin", admin.coreapp.password)
    body = {"new_password": "Another-1!"}
    assert admin.http.post("/v1/users/login", auth=credentials, json=body).status_code == 200

    assert admin.log_in().status_code == 401
    assert admin.log_in(password="Another-1!").status_code == 200


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer unknown"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", SETTINGS), ("PATCH", SETTINGS), ("POST", "/v1/certificates/webhooks/ca")],
)
def test_strangers_are_refused(
    admin: Admin, method: str, path: str, header: dict[str, str]
) -> None:
    """Without a token that is known, nothing is read or changed."""
    answer = admin.http.request(method, path, headers=header, content=b"{}")

    assert answer.status_code == 401
    assert answer.json()["errors"][0]["code"] == 1005


def test_a_token_expires(admin: Admin) -> None:
    """A token that was good is refused once its time is over."""
    token = admin.get_token()
    assert admin.http.get(SETTINGS, headers=token).status_code == 200
    admin.coreapp.accounts.revoke()

    assert admin.http.get(SETTINGS, headers=token).status_code == 401


@made(token_lifetime=0)
def test_the_lifetime_of_tokens_is_a_setting(admin: Admin) -> None:
    """With a lifetime of nothing, a token is refused as soon as it is there."""
    assert admin.http.get(SETTINGS, headers=admin.get_token()).status_code == 401


def test_settings_are_for_the_admin(admin: Admin) -> None:
    """Somebody else who may log in is refused."""
    answer = admin.http.get(SETTINGS, headers=admin.get_token("care"))

    assert answer.status_code == 403
    assert "admin" in answer.json()["errors"][0]["details"]


@pytest.mark.parametrize(
    "body", [PAGE, json.dumps(json.loads(PAGE.replace(b"},\n ", b"}\n"))).encode()]
)
def test_the_example_of_the_page_is_taken(admin: Admin, body: bytes) -> None:
    """What the page sets, comma behind the last value included, reads back as it was set."""
    before = admin.read()
    answer = admin.http.patch(SETTINGS, content=body, headers=admin.get_token())

    after = admin.read()
    assert (answer.status_code, answer.json()) == (200, CONFIRMED)
    assert after["callback_persist"] is True
    assert after["sent_status"] is True
    assert after["webhooks"] == {
        "url": "webhook.your-domain",
        "max_concurrent_requests": 6,
        "message": {"sent": False, "delivered": True, "read": False},
    }
    assert {**after, "sent_status": False, "webhooks": before["webhooks"]} == before


@made(answers_null=True)
def test_a_change_may_be_confirmed_with_null(admin: Admin) -> None:
    """Success is 200 with null, or with an object: clients must take either."""
    answer = admin.change({"heartbeat_interval": 10})

    assert (answer.status_code, answer.content) == (200, b"null")
    assert admin.read()["heartbeat_interval"] == 10


@pytest.mark.parametrize(
    ("patch", "code", "named"),
    [
        ({"webhook": {}}, 1010, "webhook"),
        ({"webhooks": {"uri": "x"}}, 1010, "uri"),
        ({"callback_persist": "yes"}, 1009, "callback_persist"),
        ({"webhooks": {"max_concurrent_requests": 0}}, 1009, "max_concurrent_requests"),
        ({"callback_backoff_delay_ms": "soon"}, 1009, "callback_backoff_delay_ms"),
        ({"pass_through": True}, 1009, "pass_through"),
        ([], 1009, "object"),
    ],
)
def test_what_cannot_be_set_is_refused(admin: Admin, patch: object, code: int, named: str) -> None:
    """It is answered 400, names what is wrong, and changes nothing, not even the rest of it."""
    before = admin.read()
    whole = {**patch, "heartbeat_interval": 99} if isinstance(patch, dict) else patch
    answer = admin.change(whole)

    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["code"]) == (400, code)
    assert named in error["details"]
    assert admin.read() == before


@made(version="v2.39.4")
def test_an_old_coreapp_knows_no_switches(admin: Admin) -> None:
    """Before v2.41.2 there is sent_status alone, and the version is told with each answer."""
    assert "message" not in admin.read()["webhooks"]
    assert admin.change({"webhooks": {"message": {"sent": True}}}).status_code == 400
    answer = admin.change({"sent_status": True})
    assert answer.json()["meta"]["version"] == "v2.39.4"
    assert admin.coreapp.settings.in_force().statuses == {"sent", "delivered", "read", "failed"}


def test_a_reset_returns_to_the_defaults(admin: Admin) -> None:
    """DELETE takes back whatever was set."""
    before = admin.read()
    admin.change({"webhooks": {"url": "https://one.example"}, "callback_persist": False})
    assert admin.http.delete(SETTINGS, headers=admin.get_token()).status_code == 200

    assert admin.read() == before


@pytest.mark.parametrize("body", [b"", b"-----BEGIN CERTIFICATE-----", b"\xff"])
def test_what_is_no_certificate_is_refused(admin: Admin, body: bytes) -> None:
    """An upload that is no PEM is answered 400."""
    answer = admin.http.post(
        "/v1/certificates/webhooks/ca", content=body, headers=admin.get_token()
    )

    assert answer.status_code == 400
    assert admin.coreapp.trust.uploaded == ""


def test_troubles_come_as_often_as_asked(admin: Admin) -> None:
    """The API can be made to fail, and then works again."""
    admin.coreapp.troubles.answer(503, times=2, body="<h1>Sorry</h1>")

    assert [admin.http.get(SETTINGS).status_code for _ in range(3)] == [503, 503, 401]


def test_an_unknown_path_is_refused_in_the_same_form(admin: Admin) -> None:
    """There is nothing else, and whoever asks for it gets an error like all others."""
    answer = admin.http.get("/v1/health")

    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == 1006
