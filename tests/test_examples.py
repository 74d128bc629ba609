"""The example files keep their word: units, image and settings fit the command as it is."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from configparser import ConfigParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import make_url

from router import postgresql
from router.assembly import make_sources, make_subscriptions
from router.config import load
from router.dispatcher import DRAIN, LAST_WRITE
from router.host import Host
from router.serving import GRACE
from tests.commands import require_command

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
UNITS = ("router-serve.service", "router-worker@.service")
# The longest stop: handlers, what became of them, alerts, and requests under way.
LONGEST_STOP = DRAIN + 2 * LAST_WRITE + GRACE
CONTAINERFILE = (EXAMPLES / "Containerfile").read_text("utf-8").replace("\\\n", " ")


def read_unit(name: str) -> ConfigParser:
    """What a unit says; a key that it says twice is an error."""
    unit = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys as they are written
    unit.read(EXAMPLES / name, encoding="utf-8")
    return unit


def read_environ() -> dict[str, str]:
    """The variables of the file of secrets."""
    lines = (EXAMPLES / "router.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def instructions(name: str) -> list[str]:
    """What follows each instruction ``name`` in the Containerfile."""
    return re.findall(rf"^{name} +(.*)$", CONTAINERFILE, re.MULTILINE)


def seconds(span: str) -> float:
    """The seconds in a span such as ``60s``."""
    assert span.endswith("s")
    return float(span[:-1])


@pytest.mark.parametrize("name", UNITS)
def test_units_start_what_there_is_and_let_it_end(name: str) -> None:
    """A unit starts a command that exists, and kills it no sooner than a stop takes."""
    service = read_unit(name)["Service"]
    program, *words = shlex.split(service["ExecStart"])

    require_command([Path(program).name, *words])
    assert seconds(service["TimeoutStopSec"]) > LONGEST_STOP
    assert (service["KillSignal"], service["Restart"]) == ("SIGTERM", "always")
    assert service["User"] != "root"
    assert Path(service["EnvironmentFile"]).name == "router.env"


def test_units_of_receiver_and_worker_differ_in_the_command_alone() -> None:
    """What is taken away from one process is taken away from the other."""
    receiver, worker = (dict(read_unit(name)["Service"]) for name in UNITS)

    assert receiver.pop("ExecStart") != worker.pop("ExecStart")
    assert receiver == worker


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    """Systemd finds nothing wrong with a unit whose command is installed."""
    text = (EXAMPLES / name).read_text("utf-8")
    (tmp_path / name).write_text(text.replace("/opt/router/bin/router", sys.executable))

    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / name], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_settings_are_read_with_their_secrets(tmp_path: Path) -> None:
    """`router.toml` with the variables of `router.env` makes sources, plugins and an engine."""
    environ = read_environ()
    found = load(EXAMPLES / "router.toml", environ=environ, working=tmp_path, overrides={})
    host = Host.load(directories=found.plugins_dir, configured=found.plugins, entry_points=())
    host.require_sound()

    assert [one.name for one in make_subscriptions(host, found.subscriptions)] == ["crm"]
    assert found.subscriptions.keys() == {"crm"}
    postgresql.open_engine(make_url(found.database), create=False).dispose()


def test_settings_name_no_secret_that_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `env:NAME` of the settings is in the file of secrets."""
    environ = read_environ()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = load(EXAMPLES / "router.toml", environ=environ, working=EXAMPLES, overrides={})

    sources = make_sources(found, Host.load(directories=found.plugins_dir))

    assert [source.name for source in sources] == ["wa"]
    text = (EXAMPLES / "router.toml").read_text("utf-8")
    assert set(re.findall(r'"env:(\w+)"', text)) <= environ.keys()


def test_the_image_runs_a_command_that_there_is_as_somebody_without_rights() -> None:
    """The last stage copies what exists, has a user of its own, and ends in a command."""
    require_command(json.loads(instructions("CMD")[-1]))
    assert instructions("USER") == ["10001"]
    assert "--uid 10001" in CONTAINERFILE
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    copied = [line.split()[:-1] for line in instructions("COPY")]
    missing = [
        path
        for paths in copied
        if not paths[0].startswith("--from")
        for path in paths
        if not (ROOT / path).exists()
    ]
    assert missing == []
    assert "postgres" in CONTAINERFILE.split("/src[")[1].split("]")[0]


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_probe_of_the_image_tells_alive_from_not(status: int, code: int) -> None:
    """Its command exits 0 if `/livez` answers 200, else 1."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    probe: Sequence[str] = json.loads(CONTAINERFILE.split("CMD", 1)[1].splitlines()[0])
    words = [word.replace(":8000", f":{server.server_port}") for word in probe[1:]]

    done = subprocess.run([sys.executable, *words], capture_output=True, check=False)
    server.shutdown()
    server.server_close()

    assert (done.returncode, asked) == (code, ["/livez"])


def test_services_of_containers_run_commands_that_there_are() -> None:
    """Each command of `compose.yaml` is taken, and its time to stop is long enough."""
    text = (EXAMPLES / "compose.yaml").read_text("utf-8")
    commands = [json.loads(found) for found in re.findall(r"^ +command: (.*)$", text, re.MULTILINE)]
    grace = re.findall(r"stop_grace_period: (\S+)", text)

    assert [words[1] for words in commands] == ["db", "serve", "worker"]
    for words in commands:
        require_command(words)
    assert [seconds(span) > LONGEST_STOP for span in grace] == [True]


def test_the_pooler_is_one_that_the_router_can_live_with() -> None:
    """`pgbouncer.ini` hands out connections by transaction, and resets none of them always."""
    pooler = ConfigParser(interpolation=None, comment_prefixes=(";",))
    pooler.read(EXAMPLES / "pgbouncer.ini", encoding="utf-8")

    assert pooler["pgbouncer"]["pool_mode"] == "transaction"
    assert "server_reset_query_always" not in pooler["pgbouncer"]
    assert pooler["databases"].keys() == {"events"}


@pytest.mark.parametrize("name", ["compose.yaml", "alerts.yml"])
def test_yaml_is_read(name: str) -> None:
    """Each is one document with the parts that whoever reads it looks for."""
    yaml = pytest.importorskip("yaml", reason="the group docs is not installed")
    found = yaml.safe_load((EXAMPLES / name).read_text("utf-8"))

    if name == "alerts.yml":
        [group] = found["groups"]
        assert all({"alert", "expr"} <= rule.keys() for rule in group["rules"])
        return
    services = found["services"]
    assert services.keys() == {"upgrade", "receiver", "worker"}
    assert all(one["read_only"] and one["cap_drop"] == ["ALL"] for one in services.values())
    waits = {"upgrade": {"condition": "service_completed_successfully"}}
    assert [one.get("depends_on") for one in services.values()] == [None, waits, waits]
