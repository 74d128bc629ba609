"""`router simulate`: it loads a receiver, or is a Coreapp, and sums up."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from router.log import EventLog
from router.store import Store
from router.testing.certificates import make_certificate
from router.testing.shop import identify
from tests import databases
from tests.cli.conftest import Result, Run, Start, command

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SECRET = "made-up"
SETTINGS = f"""\
[sources.wa]
adapter = "whatsapp"
app_secrets = ["{SECRET}"]

[sources.op]
adapter = "whatsapp"
verification = "basic"
users = [{{ username = "coreapp", password = "{SECRET}" }}]
channel = "+12005550100"
"""


@pytest.fixture(scope="module")
def folder(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the router is that all are sent to."""
    folder = tmp_path_factory.mktemp("served")
    databases.copy(empty_database, folder)
    (folder / "router.toml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[str]:
    """The address of that router."""
    port = find_port()
    with subprocess.Popen(
        command(["serve", "--port", str(port)]),
        cwd=folder,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("ROUTER_")},
        text=True,
    ) as process:
        for line in process.stderr or ():
            if "receiving at" in line:
                break
        drain(process)
        yield f"http://127.0.0.1:{port}/webhooks"
        process.kill()


@pytest.fixture
def served_log(served: str, folder: Path) -> Iterator[EventLog]:
    """Its log, which may hold what others have sent."""
    store = Store(f"sqlite:///{folder / 'router.db'}")
    yield EventLog(store)
    store.close()


def find_port() -> int:
    """Return a port of the loopback that is free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def drain(process: subprocess.Popen[str]) -> None:
    """Read on what a process says, lest it wait for a reader."""
    threading.Thread(target=lambda: list(process.stderr or ()), daemon=True).start()


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("wa", ["--secret", SECRET]),
        ("op", ["--shape", "onprem", "--user", f"coreapp:{SECRET}"]),
    ],
)
def test_a_router_has_what_the_ledger_says(
    served: str,
    served_log: EventLog,
    start: Start,
    tmp_path: Path,
    source: str,
    options: list[str],
) -> None:
    """All is acknowledged, and each event is in the log just once, copies or not."""
    head = served_log.head()
    words = ["--rate", "2000", "--max-notifications", "400", "--duplicates", "0.2", "--json"]
    with start("simulate", "--to", f"{served}/{source}", *options, *words, "--ledger", "l") as one:
        out, err = one.communicate(timeout=60)

    assert (one.returncode, err) == (0, "")
    found = json.loads(out)["data"]
    assert found["notifications"] == found["acknowledged"] == 400
    assert found["copies"] > 20
    lines = [json.loads(line) for line in (tmp_path / "l").read_text().splitlines()]
    sent = {event for line in lines for event in line["events"]}
    logged = Counter(
        identify(
            {
                "type": event.type,
                "subtype": event.subtype,
                "external_id": event.external_id,
                "payload": event.payload,
            }
        )
        for event in served_log.read(after=head)
    )
    assert set(logged) == sent
    assert logged.most_common(1)[0][1] == 1
    assert found["events"] == len(sent)


def test_a_seed_repeats_the_traffic(served: str, start: Start) -> None:
    """The same seed gives the same digest, and the log knows all of it; the seed is told."""
    digests = []
    for words in (["--seed", "7"], ["--seed", "7"], []):
        with start(
            *("simulate", "--to", f"{served}/wa", "--secret", SECRET, "--rate", "1000"),
            *("--max-notifications", "50", "--json", *words),
        ) as process:
            out, _ = process.communicate(timeout=60)
        found = json.loads(out)["data"]
        assert (found["seed"] == 7) is bool(words)
        digests.append(found["digest"])

    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("source", "status", "check"), [("wa", 401, "--secret"), ("none", 404, "/webhooks/NAME")]
)
def test_what_is_refused_is_told(
    served: str, start: Start, source: str, status: int, check: str
) -> None:
    """Where not all is acknowledged, it exits 3 and says why, and what to check."""
    with start(
        *("simulate", "--to", f"{served}/{source}", "--secret", "wrong"),
        *("--max-notifications", "5", "--grace", "0.5s"),
    ) as process:
        out, err = process.communicate(timeout=60)

    assert process.returncode == 3
    assert re.search(r"^waiting: +5$", out, re.MULTILINE)
    assert re.search(rf"^failures: +answered {status}: \d+$", out, re.MULTILINE)
    assert err.count("\n") == 1
    assert f"answered {status}: check " in err
    assert check in err


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_sums_up(served: str, start: Start, ending: signal.Signals) -> None:
    """Ctrl-C ends the traffic, as a closed terminal does; the last answers come, then the sums."""
    with start(
        "simulate", "--to", f"{served}/wa", "--secret", SECRET, "--json", "--ledger", "l"
    ) as process:
        while not Path("l").exists() or not Path("l").stat().st_size:
            assert process.poll() is None
        process.send_signal(ending)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    found = json.loads(out)["data"]
    assert found["notifications"] == found["acknowledged"] > 0


def test_where_nobody_is_it_fails(run: Run) -> None:
    """An address that nobody answers at is a failure, with what to do, before anything is made."""
    port = find_port()
    result = run("simulate", "--to", f"http://127.0.0.1:{port}/x", "--max-notifications", "1")

    assert (result.code, result.out) == (1, "")
    assert f"no connection to 127.0.0.1 port {port}: nothing answers: connection" in result.err


def test_a_ledger_takes_the_place_of_no_file(run: Run, tmp_path: Path) -> None:
    """A file that exists is refused and keeps what it holds, whoever listens."""
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("the proof of yesterday")
    result = run("simulate", "--to", f"http://127.0.0.1:{find_port()}", "--ledger", str(ledger))

    assert (result.code, result.out) == (1, "")
    assert f"{ledger} exists" in result.err
    assert ledger.read_text() == "the proof of yesterday"


def test_without_a_receiver_no_ledger_is_left(run: Run, tmp_path: Path) -> None:
    """Where nothing could be sent there is no file, so that the same command can be repeated."""
    ledger = tmp_path / "ledger.jsonl"
    for _ in range(2):
        result = run("simulate", "--to", f"http://127.0.0.1:{find_port()}", "--ledger", str(ledger))
        assert "nothing answers" in result.err

    assert not ledger.exists()


def test_a_ledger_that_cannot_be_written_is_told(run: Run, tmp_path: Path) -> None:
    """It is said before anything is sent, with the file."""
    ledger = tmp_path / "none" / "ledger.jsonl"
    result = run("simulate", "--to", f"http://127.0.0.1:{find_port()}", "--ledger", str(ledger))

    assert result.code == 1
    assert "the ledger cannot be written: " in result.err
    assert str(ledger) in result.err


@pytest.mark.parametrize("url", ["webhook.your-domain", "ftp://a/b", "http://", "http://a b/c"])
def test_what_is_no_url_is_refused(run: Run, url: str) -> None:
    """It says how a URL looks."""
    result = run("simulate", "--to", url)

    assert result.code == 1
    assert "is no URL" in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--to URL"),
        (["--to", "http://a", "--port", "1"], "--port PORT"),
        (["--to", "http://a", "--https"], "--https needs --port"),
        (["--port", "0", "--user", "a:b"], "--user needs --to"),
        (["--port", "0", "--keyfile", __file__], "--keyfile needs --certfile"),
        (["--to", "http://a", "--user", "a"], "--user is NAME:SECRET"),
        (["--to", "http://a", "--for", "soon"], "is not a duration"),
        (["--to", "http://a", "--rate", "0"], "0"),
        (["--to", "http://a", "--rate", "nan"], "nan is no finite number"),
        (["--to", "http://a", "--rate", "inf"], "inf is no finite number"),
        (["--to", "http://a", "--speed", "inf"], "inf is no finite number"),
        (["--to", "http://a", "--reorder", "nan"], "nan is no finite number"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, words: list[str], said: str) -> None:
    """Options that contradict each other, or have no effect, are errors of usage."""
    result = run("simulate", *words)

    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_it_is_a_coreapp(served: str, start: Start) -> None:
    """With --port it tells how to log in, sends once a callback is set, and SIGUSR1 restarts it."""
    with start(
        *("simulate", "--port", "0", "--https", "--allow-http", "--rate", "500"),
        *("--max-notifications", "30", "--json"),
    ) as process:
        said = ""
        while "Ctrl-C" not in said:
            said += process.stderr.readline()
        url = re.findall(r"https://\S+", said)[0]
        ca = re.findall(r"signed by (\S+)", said)[0]
        name, password = re.findall(r"log in as (\S+) with (\S+)", said)[0]
        pem = Path(ca).read_text()
        with trusting(pem, url) as http:
            login = http.post("/v1/users/login", auth=(name, password)).json()["users"][0]
            header = {"authorization": f"Bearer {login['token']}"}
            process.send_signal(signal.SIGUSR1)
            callback = served.replace("//", f"//coreapp:{SECRET}@") + "/op"
            patch = {"webhooks": {"url": callback}}
            answer = http.patch("/v1/settings/application", json=patch, headers=header)
        assert answer.status_code == 200
        out, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert json.loads(out)["data"]["acknowledged"] == 30


def test_a_closed_terminal_ends_a_coreapp(start: Start) -> None:
    """Without a terminal nobody could end it, so that it ends with that."""
    with start("simulate", "--port", "0") as process:
        while "Ctrl-C" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGHUP)
        out, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "notifications: " in out


def trusting(pem: str, url: str) -> httpx2.Client:
    """Return a client for a server whose authority is in ``pem``."""
    context = ssl.create_default_context(cadata=pem)
    return httpx2.Client(base_url=url, verify=context, trust_env=False)


def test_progress_is_for_terminals(served: str, start: Start, environ: dict[str, str]) -> None:
    """On a terminal it tells each second how far it is, on stderr alone."""
    ours, theirs = pty.openpty()
    words = ["--to", f"{served}/wa", "--secret", SECRET, "--rate", "20", "--for", "1.5s"]
    with subprocess.Popen(
        command(["simulate", *words]), stdout=subprocess.PIPE, stderr=theirs, env=environ
    ) as process:
        os.close(theirs)
        out, _ = process.communicate(timeout=60)
    shown = os.read(ours, 4096).decode()
    os.close(ours)

    assert re.search(r"\d+ sent, \d+ acknowledged, \d+ waiting", shown)
    assert b"notifications:" in out
    assert b"sent, " not in out


def test_a_callback_over_tls(tmp_path: Path, run: Run) -> None:
    """Of a receiver that nobody trusts it says so, and how it would be trusted."""
    made = make_certificate(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made.certfile, made.keyfile)
        port = listening.getsockname()[1]

        def answer() -> None:
            connection, _ = listening.accept()
            with contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        result = run("simulate", "--to", f"https://127.0.0.1:{port}/x")
        thread.join()

    assert result.code == 1
    assert "the certificate is not trusted" in result.err
    assert "--ca" in result.err


def test_a_locked_key_is_refused(on_terminal: Callable[..., Result], tmp_path: Path) -> None:
    """Nobody is asked for a pass phrase: the key is named, and what to do."""
    made = make_certificate(tmp_path)
    key = load_pem_private_key(made.keyfile.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"made up"))
    )
    words = ["--port", "0", "--certfile", str(made.certfile), "--keyfile", str(locked)]
    result = on_terminal("simulate", *words)

    assert result.code == 1
    assert f"no private key can be read from {locked}" in " ".join(result.out.split())


def test_a_ca_that_is_none_is_refused(run: Run, tmp_path: Path) -> None:
    """What holds no certificate is named, before anything is sent."""
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nbad\n")
    result = run("simulate", "--to", "https://127.0.0.1:1/x", "--ca", "bad.pem")

    assert (result.code, result.out) == (1, "")
    assert "bad.pem holds no certificate that can be read" in result.err


def test_the_help_shows_commands_as_they_are_typed(run: Run) -> None:
    """Each example stands on a line of its own."""
    lines = [line.strip() for line in run("simulate", "--help").out.splitlines()]

    assert "router simulate --port 9090 --allow-http" in lines
