"""`router serve` over HTTPS, as a process: who may connect, and what it says of wrong files."""

import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
import trustme

from router.cli.serve import find_port
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


def get(address: str, made: Made, shown: trustme.LeafCert | None = None) -> int:
    """The status of the answer to a probe, by a client that shows a certificate or none."""
    known = trust(made.ca)
    if shown is not None:
        shown.configure_cert(known)
    return httpx2.get(f"{address}/livez", verify=known, trust_env=False).status_code


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """The CA of clients, whose certificate is in `clients.pem`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "clients.pem")
    return authority


def test_clients_need_a_certificate_that_counts(
    environ: dict[str, str], made: Made, authority: trustme.CA
) -> None:
    """With --ssl-ca-certs, on every path: none, another CA's and an old one are refused."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    refused = [
        None,
        trustme.CA().issue_cert("client.example"),
        authority.issue_cert("client.example", not_after=yesterday),
    ]

    with served(environ, *options(made), "--ssl-ca-certs", "clients.pem") as address:
        for shown in refused:
            with pytest.raises(httpx2.TransportError):
                get(address, made, shown)
        assert get(address, made, authority.issue_cert("client.example")) == 200


def test_clients_need_the_name_that_is_demanded(
    environ: dict[str, str], log: EventLog, made: Made, authority: trustme.CA
) -> None:
    """With --ssl-client-name the CA's certificate for somebody else is of no use."""
    meta = "client.webhooks.fbclientcerts.com"
    names = ("--ssl-client-name", meta, "--ssl-client-name", "probe.internal")
    body, known = b'{"entry": []}', trust(made.ca)
    signature = hmac.digest(b"s3cret", body, "sha256").hex()
    authority.issue_cert(common_name=meta).configure_cert(known)

    with served(environ, *options(made), "--ssl-ca-certs", "clients.pem", *names) as address:
        with pytest.raises(httpx2.TransportError):
            get(address, made, authority.issue_cert(common_name="ads.example"))
        assert get(address, made, authority.issue_cert("probe.internal")) == 200
        answer = httpx2.post(
            f"{address}/webhooks/wa",
            content=body,
            headers={"x-hub-signature-256": f"sha256={signature}"},
            verify=known,
            trust_env=False,
        )

    assert answer.status_code == 200
    assert len(list(log.read())) == 1


def test_names_may_stand_in_the_environment(
    environ: dict[str, str], made: Made, authority: trustme.CA
) -> None:
    """ROUTER_SSL_CLIENT_NAME holds one name or several, with spaces between them."""
    variables = {
        "ROUTER_SSL_CA_CERTS": "clients.pem",
        "ROUTER_SSL_CLIENT_NAME": "a.example b.example",
    }

    with served(environ | variables, *options(made)) as address:
        assert get(address, made, authority.issue_cert("b.example")) == 200
        with pytest.raises(httpx2.TransportError):
            get(address, made, authority.issue_cert("c.example"))


def test_the_port_of_the_metrics_needs_no_certificate(
    environ: dict[str, str], made: Made, authority: trustme.CA
) -> None:
    """Who has none may probe there, on this machine."""
    port = find_port("127.0.0.1")
    demands = ("--ssl-ca-certs", "clients.pem", "--metrics", str(port))

    with served(environ, *options(made), *demands):
        answer = httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)

    assert "router_database_up 1.0" in answer.text


def test_wrong_files_are_told_before_anything_starts(run: Run, made: Made) -> None:
    """A missing file and a foreign key are named; what makes no sense is a matter of usage."""
    key = ("--ssl-keyfile", str(made.keyfile))

    gone = run("serve", "--port", "0", "--ssl-certfile", "gone.pem", *key)
    assert (gone.code, "gone.pem cannot be read" in gone.err) == (1, True)
    foreign = run("serve", "--port", "0", "--ssl-certfile", str(made.ca), *key)
    assert (foreign.code, "is not that of the certificate" in foreign.err) == (1, True)
    alone = run("serve", "--port", "0", *key)
    assert (alone.code, "add --ssl-certfile FILE" in alone.err) == (2, True)
    nameless = run("serve", *options(made), "--ssl-client-name", "a.example")
    assert (nameless.code, "add --ssl-ca-certs FILE" in nameless.err) == (2, True)
    bare = run("serve", *options(made), "--ssl-keyfile-password", "hunter2")
    assert (bare.code, "hunter2" in bare.err) == (2, False)
    assert "receiving" not in gone.err + foreign.err + alone.err + bare.err
