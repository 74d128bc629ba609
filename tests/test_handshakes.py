"""Handshakes: a client is let in by the name in its certificate, and told of where it is not."""

import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from router.errors import ConfigError
from router.handshakes import PERIOD, read_names, watch
from router.testing.certificates import Made, make_certificate
from router.tls import ServerTls, trust
from tests.test_tls import shake_hands

META = "client.webhooks.fbclientcerts.com"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The certificate of the server."""
    return make_certificate(tmp_path_factory.mktemp("made"), "127.0.0.1")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The CA of clients."""
    return trustme.CA()


@pytest.fixture
def make_server(made: Made, authority: trustme.CA, tmp_path: Path) -> Callable[..., ServerTls]:
    """Makes a server that demands certificates of that CA, with one of some names."""
    authority.cert_pem.write_to_path(tmp_path / "clients.pem")

    def make(*names: str) -> ServerTls:
        return ServerTls(
            certfile=made.certfile,
            keyfile=made.keyfile,
            ca_certs=tmp_path / "clients.pem",
            client_names=names,
        )

    return make


def connect(server: ssl.SSLContext, made: Made, shown: trustme.LeafCert | None = None) -> None:
    """Let a client that shows a certificate shake hands with the server."""
    client = trust(made.ca)
    if shown is not None:
        shown.configure_cert(client)
    shake_hands(server, client)


def test_the_common_name_or_a_dns_name_lets_in(
    made: Made, authority: trustme.CA, make_server: Callable[..., ServerTls]
) -> None:
    """Either is enough, in whatever case it is written; one of several names is."""
    server = make_server(META.upper(), "probe.internal").make_context()

    connect(server, made, authority.issue_cert(common_name=META))
    connect(server, made, authority.issue_cert("probe.internal", common_name="somebody"))


def test_another_name_is_refused_and_told(
    made: Made,
    authority: trustme.CA,
    make_server: Callable[..., ServerTls],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A certificate of the CA for somebody else is of no use, nor one that only begins alike."""
    server = make_server(META).make_context()

    for name in ("other.example", f"{META}.evil.example", f"evil{META}"):
        with pytest.raises(ssl.SSLCertVerificationError, match=f"that of '{name}'"):
            connect(server, made, authority.issue_cert(name))
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(server, made, authority.issue_cert(name))
    connect(make_server().make_context(), made, authority.issue_cert("other.example"))

    assert len(caplog.messages) == 3  # each name is a reason of its own
    assert "that of 'other.example', which --ssl-client-name does not name" in caplog.text
    assert f"that of 'evil{META}', which --ssl-client-name does not name" in caplog.text


def test_names_without_end_do_not_fill_the_log(
    made: Made,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of all reasons so many are told, and remembered, in a minute; then others are."""
    monkeypatch.setattr("router.handshakes.MOST", 2)
    now = [0.0]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certfile, made.keyfile)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    watch(context, names=[META], monotonic=lambda: now[0])

    for now[0], name in [(0.0, "a"), (1.0, "b"), (2.0, "c"), (PERIOD, "d"), (PERIOD, "b")]:
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(context, made, authority.issue_cert(f"{name}.example"))

    assert [message.split("'")[1][0] for message in caplog.messages] == ["a", "b", "d"]


def test_who_is_refused_is_told_with_the_reason_once_a_minute(
    made: Made, authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """None, another CA's and an old certificate are three reasons; a flood of one is one line."""
    now = [0.0]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certfile, made.keyfile)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    watch(context, monotonic=lambda: now[0])
    yesterday = datetime.now(UTC) - timedelta(days=1)
    old = authority.issue_cert(META, not_after=yesterday)
    caplog.set_level(logging.WARNING)

    for _ in range(3):
        for shown in (None, trustme.CA().issue_cert(META), old):
            with pytest.raises(ssl.SSLError):
                connect(context, made, shown)
    reasons = [message.split(": ")[1].split(" (the like")[0] for message in caplog.messages]
    assert reasons == [
        "PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "unable to get local issuer certificate",
        "certificate has expired",
    ]

    now[0] = PERIOD
    with pytest.raises(ssl.SSLError):
        connect(context, made, old)
    assert len(caplog.messages) == 4


def test_names_without_certificates_are_an_error(made: Made) -> None:
    """Names alone would let everybody in: such a server is not made."""
    with pytest.raises(ConfigError, match="no certificate"):
        ServerTls(certfile=made.certfile, client_names=[META]).make_context()


def test_clients_of_an_authority_without_key_usage_are_taken(
    make_server: Callable[..., ServerTls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Python 3.13 on such CAs are refused by default; internal ones often are like that."""
    strict = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    monkeypatch.setattr(ssl, "create_default_context", lambda _purpose: strict)

    context = make_server().make_context()

    assert context is strict
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize(
    ("certificate", "names"),
    [
        ({}, []),
        ({"subject": ((("organizationName", "x"),), (("commonName", "a"),))}, ["a"]),
        ({"subjectAltName": (("IP Address", "::1"), ("DNS", "b"), ("DNS", "c"))}, ["b", "c"]),
    ],
)
def test_names_are_read(certificate: dict[str, object], names: list[str]) -> None:
    """Organisations and addresses are no names."""
    assert read_names(certificate) == names
