"""`--metrics`: a receiver and a worker show what they do, apart from the webhooks."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from router.cli.metrics import Place, PlaceType
from router.cli.serve import find_port
from tests.cli.conftest import Run, command
from tests.cli.served import served
from tests.scraping import read_samples

# One engine is enough: what is tested is the command.
pytestmark = pytest.mark.engines("sqlite")

SETTINGS = """
[sources.wa]
adapter = "whatsapp"
verification = "none"
"""

PLUGIN = """
from router import hookimpl

@hookimpl
def on_message(event):
    pass
"""


def get(url: str) -> httpx2.Response:
    """Ask for a page."""
    return httpx2.get(url, trust_env=False)


def test_a_receiver_shows_what_came_in(environ: Mapping[str, str], tmp_path: Path) -> None:
    """What was posted is counted at the port of the metrics, and the webhooks' port shows none."""
    (tmp_path / "router.toml").write_text(SETTINGS)
    port = find_port("127.0.0.1")

    with served(environ, "--metrics", str(port)) as address:
        posted = httpx2.post(f"{address}/webhooks/wa", content=b"{}", trust_env=False)
        answer = get(f"http://127.0.0.1:{port}/metrics")
        missing = get(f"{address}/metrics")

    samples = read_samples(answer.text)
    assert (posted.status_code, answer.status_code, missing.status_code) == (200, 200, 404)
    assert answer.headers["content-type"].startswith("text/plain")
    assert samples["router_notifications_appended_total", ("wa",)] == 1
    assert samples["router_database_up", ()] == 1
    assert samples["process_open_fds", ()] > 0


def test_a_worker_shows_how_subscriptions_stand(environ: Mapping[str, str], tmp_path: Path) -> None:
    """A worker has no other port; it says on stderr where the metrics are."""
    (tmp_path / "crm.py").write_text(PLUGIN)
    with subprocess.Popen(
        command(["worker", "--plugins-dir", str(tmp_path)]),
        env={**environ, "ROUTER_METRICS": "127.0.0.1:0"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        told = (re.search(r"metrics at (\S+)", line) for line in process.stderr)
        where = next(found[1] for found in told if found)
        next(line for line in process.stderr if "delivering" in line)
        samples = read_samples(get(where).text)
        process.terminate()
        assert process.wait() == 0

    assert samples["router_subscription_lag_events", ("crm",)] == 0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("10.0.0.1:9100", ("10.0.0.1", 9100)),
        ("[::1]:9100", ("::1", 9100)),
        ("metrics.internal:0", ("metrics.internal", 0)),
    ],
)
def test_a_place_is_a_port_or_a_host_and_a_port(text: str, place: tuple[str, int]) -> None:
    """Without a host it is this machine alone that may ask."""
    assert PlaceType().convert(text, None, None) == Place(*place)


@pytest.mark.parametrize("text", ["", "metrics", "9100:", "::1", "70000", "http://h:1"])
def test_what_is_no_place_is_a_matter_of_usage(text: str, run: Run) -> None:
    """Anything else is refused before anything starts."""
    refused = run("worker", f"--metrics={text}")

    assert (refused.code, "neither PORT nor HOST:PORT" in refused.err) == (2, True)
