"""`router serve` over HTTPS, as a process: who may connect, and what it says of wrong files."""

from pathlib import Path

import httpx2
import pytest

from router.log import EventLog
from router.testing.certificates import Made, make_certificate
from router.tls import trust
from tests.cli.conftest import Run
from tests.cli.served import served

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

SETTINGS = """
[sources.wa]
adapter = "whatsapp"
app_secrets = ["s3cret"]
"""


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """The certificate of the router."""
    (tmp_path / "router.toml").write_text(SETTINGS)
    return make_certificate(tmp_path / "made", "127.0.0.1")


def options(made: Made) -> tuple[str, ...]:
    """What `router serve` is given of it."""
    return ("--ssl-certfile", str(made.certfile), "--ssl-keyfile", str(made.keyfile))


def test_notifications_arrive_over_https(
    environ: dict[str, str], log: EventLog, run: Run, made: Made
) -> None:
    """The address says https; `router send` trusts the CA that it is given, and no other."""
    with served(environ, *options(made)) as address:
        assert address.startswith("https://127.0.0.1:")
        send = ("send", "-", "--source", "wa", "--url", address)
        refused = run(*send, stdin=b"{}")
        accepted = run(*send, "--cacert", str(made.ca), stdin=b"{}")

    assert (refused.code, refused.out) == (1, "")
    assert "is not trusted" in refused.err
    assert "--cacert FILE" in refused.err
    assert (accepted.code, accepted.out, accepted.err) == (0, "200 OK\n", "")
    assert len(list(log.read())) == 1


def test_certificates_may_stand_in_the_environment(environ: dict[str, str], made: Made) -> None:
    """ROUTER_SSL_CERTFILE and ROUTER_SSL_KEYFILE do what the options do."""
    names = {"ROUTER_SSL_CERTFILE": str(made.certfile), "ROUTER_SSL_KEYFILE": str(made.keyfile)}

    with served(environ | names) as address:
        answer = httpx2.get(f"{address}/livez", verify=trust(made.ca), trust_env=False)

    assert answer.status_code == 200


def test_clients_without_a_certificate_are_kept_out(
    environ: dict[str, str], made: Made, tmp_path: Path
) -> None:
    """With --ssl-ca-certs a client shows one of these CAs, whatever it asks for."""
    theirs = make_certificate(tmp_path / "theirs", "client.example")

    with served(environ, *options(made), "--ssl-ca-certs", str(theirs.ca)) as address:
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"{address}/livez", verify=trust(made.ca), trust_env=False)
        known = trust(made.ca)
        known.load_cert_chain(theirs.certfile, theirs.keyfile)
        answer = httpx2.get(f"{address}/livez", verify=known, trust_env=False)

    assert answer.status_code == 200


def test_wrong_files_are_told_before_anything_starts(run: Run, made: Made) -> None:
    """A missing file and a foreign key are named; what makes no sense is a matter of usage."""
    key = ("--ssl-keyfile", str(made.keyfile))

    gone = run("serve", "--port", "0", "--ssl-certfile", "gone.pem", *key)
    assert (gone.code, "gone.pem cannot be read" in gone.err) == (1, True)
    foreign = run("serve", "--port", "0", "--ssl-certfile", str(made.ca), *key)
    assert (foreign.code, "is not that of the certificate" in foreign.err) == (1, True)
    alone = run("serve", "--port", "0", *key)
    assert (alone.code, "add --ssl-certfile FILE" in alone.err) == (2, True)
    bare = run("serve", *options(made), "--ssl-keyfile-password", "hunter2")
    assert (bare.code, "hunter2" in bare.err) == (2, False)
    assert "receiving" not in gone.err + foreign.err + alone.err + bare.err
