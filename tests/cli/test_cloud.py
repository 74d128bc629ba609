"""`router cloud`: what is, what is to be, and whether it became so, with a router as callback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Result, Run
from tests.graph import ACCOUNT, CALLBACK, NUMBER, TOKEN, Graph
from tests.hosted import hosted, routing

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SETTINGS = """
[sources.wa]
adapter = "whatsapp"
app_secrets = ["s3cret"]
verify_token = "known"
"""


@pytest.fixture
def graph() -> Graph:
    """What the Graph API knows."""
    return Graph()


@pytest.fixture
def cloud(run: Run, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `router cloud` with a token, where this Graph API is."""
    with hosted(graph.make_app()) as url:
        monkeypatch.setenv("ROUTER_GRAPH_URL", url)
        monkeypatch.setenv("ROUTER_CLOUD_TOKEN", "env:TEST_TOKEN")
        monkeypatch.setenv("TEST_TOKEN", TOKEN)
        monkeypatch.setenv("TEST_VERIFY", "known")

        def cloud(*arguments: str) -> Result:
            return run("cloud", *arguments, "--allow-http")

        yield cloud


@pytest.fixture
def callback(environ: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The callback of a router that serves."""
    file = tmp_path / "router.toml"
    file.write_text(SETTINGS)
    with routing(file) as address:
        yield f"{address}/webhooks/wa"


def test_an_account_from_nothing_to_an_override(cloud: Run, graph: Graph, callback: str) -> None:
    """Subscribed, overridden and taken back, the router answering the challenge; each is shown."""
    account = ("--waba", ACCOUNT)
    override = ("--callback", callback, "--verify-token", "env:TEST_VERIFY")

    assert "No app is subscribed" in cloud("show", *account).err
    subscribed = cloud("subscribe", *account, "--yes")
    assert (subscribed.code, graph.accounts) == (0, {ACCOUNT: None})
    assert "go to the callback of the app" in subscribed.err

    overridden = cloud("subscribe", *account, *override, "--yes")
    assert (overridden.code, graph.accounts) == (0, {ACCOUNT: callback})
    assert callback in cloud("show", *account).out
    (app,) = cloud("show", *account, "--json").data["subscribed_apps"]
    assert app["override_callback_uri"] == callback

    lost = cloud("subscribe", *account, "--yes")
    assert (lost.code, graph.accounts) == (2, {ACCOUNT: callback})
    assert "add --no-callback" in lost.err
    assert cloud("subscribe", *account, "--no-callback", "--yes").code == 0
    assert graph.accounts == {ACCOUNT: None}


def test_a_number_is_overridden_once(cloud: Run, graph: Graph, callback: str) -> None:
    """Where it is so already, nothing is done; --no-callback takes it back."""
    number = ("--phone-number", NUMBER)
    override = ("--callback", callback, "--verify-token", "env:TEST_VERIFY")

    assert cloud("subscribe", *number, *override, "--yes").code == 0
    assert graph.numbers == {NUMBER: callback}
    again = cloud("subscribe", *number, *override)
    assert (again.code, "nothing to change" in again.err) == (0, True)
    shown = cloud("show", *number, "--json").data
    assert shown["callbacks"] == {
        "phone_number": callback,
        "whatsapp_business_account": None,
        "application": CALLBACK,
    }
    assert "phone_number" in cloud("show", *number).out

    assert cloud("subscribe", *number, "--no-callback", "--yes").code == 0
    assert graph.numbers == {NUMBER: None}


@pytest.mark.parametrize("which", [("--waba", ACCOUNT), ("--phone-number", NUMBER)])
def test_nothing_is_changed_unasked(cloud: Run, graph: Graph, which: tuple[str, str]) -> None:
    """A dry run only tells; without a terminal and --yes it exits 2."""
    graph.accounts[ACCOUNT] = graph.numbers[NUMBER] = "https://old.example"
    rest = ("--no-callback",)

    dry = cloud("subscribe", *which, *rest, "--dry-run")
    assert (dry.code, "https://old.example" in dry.out, "To be done" in dry.err) == (0, True, True)
    silent = cloud("subscribe", *which, *rest)
    assert (silent.code, "add --yes" in silent.err) == (2, True)
    assert graph.accounts[ACCOUNT] == graph.numbers[NUMBER] == "https://old.example"


@pytest.mark.parametrize("which", [("--waba", ACCOUNT), ("--phone-number", NUMBER)])
def test_what_does_not_read_back_is_told(
    cloud: Run, graph: Graph, callback: str, which: tuple[str, str]
) -> None:
    """A success that changed nothing is none, and exits 1."""
    graph.accounts[ACCOUNT] = None
    graph.forgets = True

    told = cloud(
        "subscribe", *which, "--callback", callback, "--verify-token", "env:TEST_VERIFY", "--yes"
    )

    assert told.code == 1
    assert "look again with router cloud show" in told.err


def test_the_app_of_another_is_not_taken_for_ours(cloud: Run, graph: Graph) -> None:
    """Its override hinders nobody, and its row does not prove that ours is there."""
    graph.others["1"] = "https://other.example"
    assert cloud("subscribe", "--waba", ACCOUNT, "--yes").code == 0
    assert graph.accounts == {ACCOUNT: None}

    graph.accounts.clear()
    graph.others["1"] = None
    graph.forgets = True
    told = cloud("subscribe", "--waba", ACCOUNT, "--yes")
    assert (told.code, "reads back without it" in told.err) == (1, True)
    assert "Subscribed" not in told.err


def test_what_cannot_be_known_is_told(cloud: Run, graph: Graph) -> None:
    """Where the token's app is unknown, what changed proves it; where nothing did, nothing does."""
    graph.tells_app = False
    graph.others["1"] = None
    graph.forgets = True
    doubtful = cloud("subscribe", "--waba", ACCOUNT, "--yes")
    assert (doubtful.code, "Subscribed" in doubtful.err) == (0, False)
    assert "does not tell which app is the token's" in doubtful.err

    graph.forgets = False
    assert "Subscribed" in cloud("subscribe", "--waba", ACCOUNT, "--yes").err

    graph.others["1"] = "https://other.example"
    careful = cloud("subscribe", "--waba", ACCOUNT, "--yes")
    assert (careful.code, "may be that of another app" in careful.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show"], "Name one of --waba and --phone-number"),
        (["show", "--waba", "1", "--phone-number", "2"], "Name one of"),
        (["subscribe", "--phone-number", "1"], "needs --callback or --no-callback"),
        (["subscribe", "--waba", "1", "--callback", "https://a", "--no-callback"], "exclude"),
        (["subscribe", "--waba", "1", "--verify-token", "hunter2"], "env:NAME or file:PATH"),
    ],
)
def test_a_wrong_usage_is_told(cloud: Run, words: list[str], said: str) -> None:
    """It exits 2, says which option is wrong, and repeats no secret."""
    result = cloud(*words)

    assert result.code == 2
    assert said in result.err
    assert "hunter2" not in result.err


def test_failures_exit_1(cloud: Run, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage and a lost token are told, without the token."""
    graph.is_down = True
    assert "answered 503" in cloud("show", "--waba", ACCOUNT).err
    graph.is_down = False
    monkeypatch.setenv("TEST_TOKEN", "hunter2")
    expired = cloud("show", "--waba", ACCOUNT)
    assert (expired.code, "make another" in expired.err, "hunter2" in expired.err) == (
        1,
        True,
        False,
    )
