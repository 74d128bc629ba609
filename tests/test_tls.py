"""TLS: files that are not what they should be are named, before anything is served with them."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from router.errors import ConfigError
from router.secrets import Secret
from router.testing.certificates import Made, make_certificate
from router.tls import ServerTls, read_authorities, trust


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A certificate, its key and its CA."""
    return make_certificate(tmp_path_factory.mktemp("made"), "127.0.0.1")


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, *, name: str = "127.0.0.1") -> None:
    """Let the two agree without a network, or raise why they do not."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_a_server_is_known_by_its_authority(made: Made) -> None:
    """Who trusts the CA takes the certificate, for its own name alone; who does not, refuses."""
    server = ServerTls(certfile=made.certfile, keyfile=made.keyfile).make_context()
    client = trust(made.ca)

    shake_hands(server, client)
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        shake_hands(server, client, name="127.0.0.2")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake_hands(server, ssl.create_default_context())


def test_clients_need_a_certificate_where_their_authority_is_given(
    made: Made, tmp_path: Path
) -> None:
    """One of that CA is let in; none, or one of another CA, is not."""
    other = make_certificate(tmp_path / "other", "client")
    server = ServerTls(
        certfile=made.certfile, keyfile=made.keyfile, ca_certs=other.ca
    ).make_context()
    client = trust(made.ca)

    with pytest.raises(ssl.SSLError, match="did not return a certificate"):
        shake_hands(server, client)
    client.load_cert_chain(made.certfile, made.keyfile)
    with pytest.raises(ssl.SSLError, match="verify failed"):
        shake_hands(server, client)
    client.load_cert_chain(other.certfile, other.keyfile)
    shake_hands(server, client)


def test_one_file_may_hold_both(made: Made, tmp_path: Path) -> None:
    """Certificate and key may stand in one file."""
    both = tmp_path / "both.pem"
    both.write_bytes(made.keyfile.read_bytes() + made.certfile.read_bytes())

    ServerTls(certfile=both).make_context()


def test_an_encrypted_key_needs_its_password(made: Made, tmp_path: Path) -> None:
    """The password opens the key; none, or a wrong one, is refused without asking a terminal."""
    locked, openssl = tmp_path / "locked.key", shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl, which encrypts the key, is not installed")
    command = [openssl, "rsa" if b"RSA" in made.keyfile.read_bytes() else "ec", "-aes256"]
    files = ["-passout", "pass:hunter2", "-in", str(made.keyfile), "-out", str(locked)]
    subprocess.run([*command, *files], check=True, capture_output=True)

    ServerTls(certfile=made.certfile, keyfile=locked, password=Secret("hunter2")).make_context()
    for password in (None, Secret("hunter3")):
        with pytest.raises(ConfigError, match=r"locked.key.*--ssl-keyfile-password") as refused:
            ServerTls(certfile=made.certfile, keyfile=locked, password=password).make_context()
        assert "hunter" not in str(refused.value)


def test_files_that_are_not_there_are_named(made: Made, tmp_path: Path) -> None:
    """Each of the three files is named where it cannot be read."""
    gone = tmp_path / "gone.pem"

    for tls in (
        ServerTls(certfile=gone, keyfile=made.keyfile),
        ServerTls(certfile=made.certfile, keyfile=gone),
        ServerTls(certfile=made.certfile, keyfile=made.keyfile, ca_certs=gone),
    ):
        with pytest.raises(ConfigError, match=r"gone.pem cannot be read: No such file"):
            tls.make_context()
    with pytest.raises(ConfigError, match=r"gone.pem cannot be read"):
        trust(gone)


def test_a_key_of_another_certificate_is_told(made: Made, tmp_path: Path) -> None:
    """Certificate and key that were not made together are both named."""
    other = make_certificate(tmp_path / "other")

    with pytest.raises(ConfigError, match=r"other/server.key is not that of .*server.pem"):
        ServerTls(certfile=made.certfile, keyfile=other.keyfile).make_context()


def test_files_without_a_certificate_are_named(made: Made, tmp_path: Path) -> None:
    """Something else in the place of a certificate is told, wherever it was named."""
    text = tmp_path / "text.pem"
    text.write_text("no certificate")

    for tls in (
        ServerTls(certfile=text, keyfile=made.keyfile),
        ServerTls(certfile=made.certfile, keyfile=made.keyfile, ca_certs=text),
    ):
        with pytest.raises(ConfigError, match=r"text.pem holds no certificate"):
            tls.make_context()
    with pytest.raises(ConfigError, match=r"text.pem: it must be PEM"):
        ServerTls(certfile=made.certfile, keyfile=text).make_context()
    with pytest.raises(ConfigError, match=r"text.pem holds no certificate"):
        read_authorities(text)


def test_no_private_key_leaves_with_an_authority(made: Made, tmp_path: Path) -> None:
    """What is to be uploaded is read as it is, and refused with a private key in it."""
    both = tmp_path / "both.pem"
    both.write_bytes(made.keyfile.read_bytes() + made.certfile.read_bytes())

    assert read_authorities(made.ca) == made.ca.read_bytes()
    with pytest.raises(ConfigError, match=r"both.pem holds a private key"):
        read_authorities(both)


def test_an_authority_made_as_documented_is_trusted(tmp_path: Path) -> None:
    """A self-signed certificate by the command of Meta's page, without key usage, is taken."""
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl, which the page tells to use, is not installed")
    certfile, keyfile = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = "req -newkey rsa:2048 -nodes -x509 -days 365 -subj /CN=router.internal"
    files = ["-keyout", str(keyfile), "-out", str(certfile)]
    subprocess.run([openssl, *words.split(), *files], check=True, capture_output=True)

    server = ServerTls(certfile=certfile, keyfile=keyfile).make_context()
    shake_hands(server, trust(certfile), name="router.internal")
