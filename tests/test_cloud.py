"""The client of the Graph API, against one that answers as Meta documents."""

from collections.abc import Iterator

import pytest

from router.cloud import NO_OVERRIDE, Callbacks, Cloud, Override, Subscribed
from router.errors import ConfigError, Refused, RouterError
from tests.graph import ACCOUNT, APP, CALLBACK, NUMBER, TOKEN, Graph
from tests.hosted import Parrot, hosted


@pytest.fixture
def graph() -> Graph:
    """What the Graph API knows."""
    return Graph()


@pytest.fixture
def url(graph: Graph) -> Iterator[str]:
    """Where it is."""
    with hosted(graph.make_app()) as url:
        yield url


@pytest.fixture
def cloud(url: str) -> Cloud:
    """A client with a token that is good."""
    return Cloud(TOKEN, base=url, allow_http=True)


@pytest.fixture
def callback() -> Iterator[str]:
    """A callback that answers every challenge as it must."""

    class Honest(Parrot):
        async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - those of ASGI
            query = dict(part.split("=") for part in scope["query_string"].decode().split("&"))
            known = query["hub.verify_token"] == "known"
            self.say_text(query["hub.challenge"], 200 if known else 403)
            await super().__call__(scope, receive, send)

    with hosted(Honest()) as url:
        yield f"{url}/webhooks/wa"


def test_an_app_is_subscribed_and_overridden(cloud: Cloud, callback: str) -> None:
    """Subscribe, send this account's notifications elsewhere, and take that back."""
    assert cloud.read_subscriptions(ACCOUNT) == []

    cloud.subscribe(ACCOUNT)
    app = Subscribed(id=APP, name="Lucky Shrub")
    assert cloud.read_subscriptions(ACCOUNT) == [app]

    cloud.subscribe(ACCOUNT, Override(callback=callback, verify_token="known"))
    (found,) = cloud.read_subscriptions(ACCOUNT)
    assert found.override_callback_uri == callback

    cloud.subscribe(ACCOUNT, NO_OVERRIDE)
    assert cloud.read_subscriptions(ACCOUNT) == [app]


def test_the_app_of_a_token_is_known_or_not(cloud: Cloud, graph: Graph) -> None:
    """Its id, and None where the API will not tell."""
    assert cloud.read_app() == APP
    graph.tells_app = False
    assert cloud.read_app() is None


def test_a_number_is_overridden(cloud: Cloud, callback: str) -> None:
    """Its own callback comes before that of its account and of the app, until it is taken back."""
    assert cloud.read_callbacks(NUMBER) == Callbacks(application=CALLBACK)

    cloud.override_number(NUMBER, Override(callback=callback, verify_token="known"))
    assert cloud.read_callbacks(NUMBER) == Callbacks(phone_number=callback, application=CALLBACK)

    cloud.override_number(NUMBER, NO_OVERRIDE)
    assert cloud.read_callbacks(NUMBER).phone_number is None


def test_an_override_needs_a_subscription(cloud: Cloud, callback: str) -> None:
    """Who has not subscribed first is told to."""
    with pytest.raises(Refused, match=r"must be subscribed.*router cloud subscribe --waba ID"):
        cloud.subscribe(ACCOUNT, Override(callback=callback, verify_token="known"))


def test_a_callback_that_does_not_answer_is_told(cloud: Cloud, callback: str) -> None:
    """The three things that must hold are named, and the token that was sent is not."""
    with pytest.raises(Refused, match=r"#2200.*Status Code = 403.*same verify_token") as refused:
        cloud.override_number(NUMBER, Override(callback=callback, verify_token="hunter2"))

    assert "hunter2" not in str(refused.value)


def test_an_expired_token_is_told(url: str) -> None:
    """Another is asked for; what the answer quotes of this one is hidden."""
    with pytest.raises(Refused, match=r"access token \*\*\*: .*expired.*make another") as refused:
        Cloud("EAA-hunter2", base=url, allow_http=True).read_subscriptions(ACCOUNT)

    assert refused.value.status == 401


def test_an_unknown_id_is_told(cloud: Cloud) -> None:
    """The id is in question."""
    with pytest.raises(Refused, match=r"check the id"):
        cloud.read_subscriptions("1")
    with pytest.raises(Refused, match=r"check the id"):
        cloud.read_callbacks("1")


def test_what_is_no_id_is_not_asked_for(cloud: Cloud) -> None:
    """Ids have digits alone, so that none leads elsewhere."""
    for name in ("", "../me", "1/2", "+15550100", "\N{FULLWIDTH DIGIT ONE}"):
        with pytest.raises(ConfigError, match="is no id of a"):
            cloud.read_subscriptions(name)
        with pytest.raises(ConfigError, match="is no id of a"):
            cloud.override_number(name, NO_OVERRIDE)


def test_an_outage_is_told(cloud: Cloud, graph: Graph) -> None:
    """An answer of the 500s is not ours to mend."""
    graph.is_down = True

    with pytest.raises(Refused, match=r"answered 503 .*try again later"):
        cloud.read_callbacks(NUMBER)


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (400, {"code": 200, "message": "(#200) Permissions error"}, "lacks a permission"),
        (403, {"code": 10, "message": "no", "error_data": {"details": "why"}}, "no why"),
        (400, {"code": 80008, "message": "limit"}, "wait a while"),
        (400, {"code": 999}, "see Meta's error codes"),
        (401, None, "make another"),
        (404, "nothing", "address of the Graph API"),
        (400, {"code": "x"}, "see Meta's error codes"),
    ],
)
def test_errors_say_what_to_do(status: int, error: object, advice: str) -> None:
    """By Meta's codes, or by the status where there is none."""
    parrot = Parrot()
    parrot.say({"error": error}, status)
    with hosted(parrot) as url, pytest.raises(Refused, match=advice):
        Cloud(TOKEN, base=url, allow_http=True).read_subscriptions(ACCOUNT)


def test_a_change_must_be_a_success() -> None:
    """An answer that does not say so is an error, and a page is one, too."""
    parrot = Parrot()
    with hosted(parrot) as url:
        cloud = Cloud(TOKEN, base=url, allow_http=True)
        answers: list[object] = [{"success": False}, {}, []]
        for data in answers:
            parrot.say(data)
            with pytest.raises(RouterError, match="without saying that it was a success"):
                cloud.subscribe(ACCOUNT)
        parrot.say_text("<html>")
        with pytest.raises(RouterError, match="instead of JSON"):
            cloud.subscribe(ACCOUNT)


def test_an_override_is_checked_before_it_is_asked_for() -> None:
    """It is HTTPS, has at most 200 characters, and a token."""
    cloud = Cloud(TOKEN)
    long = f"https://router.example/webhooks/{'x' * 168}"

    assert len(long) == 200
    assert cloud.check_override(long, verify_token="t").callback == long
    assert cloud.check_override("", verify_token="") is NO_OVERRIDE
    with pytest.raises(ConfigError, match="has 201 characters, of which the Graph API takes 200"):
        cloud.check_override(f"{long}x", verify_token="t")
    with pytest.raises(ConfigError, match="is not HTTPS"):
        cloud.check_override("http://router.example", verify_token="t")
    with pytest.raises(ConfigError, match="needs a verify token"):
        cloud.check_override(long, verify_token="")


def test_settings_of_the_client_are_checked() -> None:
    """A base without HTTPS, a version and a token that are none, are refused without being told."""
    with pytest.raises(ConfigError, match="the Graph API's URL http://graph is not HTTPS"):
        Cloud(TOKEN, base="http://graph")
    with pytest.raises(ConfigError, match="'25' is no version"):
        Cloud(TOKEN, version="25")
    with pytest.raises(ConfigError, match="access token holds characters") as refused:
        Cloud("hunter2\n")
    assert "hunter2" not in str(refused.value)


def test_no_token_is_shown() -> None:
    """Nothing that is printed of an override or a client holds a token."""
    override = Override(callback="https://me:pw@router/webhooks/wa/key", verify_token="hunter2")

    for text in (repr(override), str(override), repr(override.__rich_repr__()), repr(Cloud(TOKEN))):
        assert not any(secret in text for secret in ("hunter2", "pw@", "key", TOKEN))
