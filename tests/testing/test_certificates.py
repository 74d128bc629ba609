"""Certificates made on the spot."""

import ssl
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from router.errors import RouterError
from router.testing.certificates import make_certificate
from router.testing.coreapp import running_coreapp
from router.tls import ServerTls


def test_a_coreapp_speaks_https(tmp_path: Path) -> None:
    """Whoever trusts the authority reaches the API; whoever does not is warned off."""
    made = make_certificate(tmp_path)
    with running_coreapp(
        certificate=ServerTls(certfile=made.certfile, keyfile=made.keyfile)
    ) as coreapp:
        assert coreapp.url.startswith("https://127.0.0.1:")
        login = f"{coreapp.url}/v1/users/login"
        context = ssl.create_default_context(cafile=made.ca)
        with httpx2.Client(verify=context, trust_env=False) as http:
            assert http.post(login, auth=("admin", coreapp.password)).status_code == 200
        with httpx2.Client(trust_env=False) as http, pytest.raises(httpx2.ConnectError):
            http.post(login)


def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    """Nobody else may read the key."""
    made = make_certificate(tmp_path / "new", "shop.example")

    assert stat.S_IMODE(made.keyfile.stat().st_mode) == 0o600


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where trustme is missing, the message names the extra."""
    monkeypatch.setitem(sys.modules, "trustme", None)

    with pytest.raises(RouterError, match=r'its extra "testing"'):
        make_certificate(tmp_path)


def test_commands_do_without_the_extra() -> None:
    """Only making a certificate loads what makes it."""
    code = "import sys, router.cli.simulate; print({'trustme', 'cryptography'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout == "set()\n"


def test_a_certificate_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """A Coreapp does not start with it, and says why."""
    (tmp_path / "server.pem").write_text("nothing")

    with (
        pytest.raises(RouterError, match=r"server\.pem holds no certificate"),
        running_coreapp(certificate=ServerTls(certfile=tmp_path / "server.pem")),
    ):
        pass
