"""A Coreapp that behaves, and somebody at the command line who may be logged in to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from router.testing.certificates import Made, make_certificate
from router.testing.coreapp import RunningCoreapp, running_coreapp
from router.tls import ServerTls
from tests.cli.conftest import Result, Run


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who configures a Coreapp.

    Attributes:
        coreapp: The Coreapp.
        made: Its certificate.
        run: Runs a command.
    """

    coreapp: RunningCoreapp
    made: Made
    run: Run

    def log_in(self, *options: str, url: str | None = None) -> Result:
        """Log in, with the password in TEST_PASSWORD and the CA, if nothing else is said."""
        words = ["--url", url or self.coreapp.url, "--password", "env:TEST_PASSWORD"]
        return self.run("coreapp", "login", *words, "--cacert", str(self.made.ca), *options)

    def __call__(self, *words: str) -> Result:
        """Run `router coreapp` with these words."""
        return self.run("coreapp", *words)


@contextmanager
def operating(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, **arguments: object
) -> Iterator[Operator]:
    """Run a Coreapp, whose tokens are kept in ``folder``, while the block lasts."""
    made = make_certificate(folder / "coreapp")
    certificate = ServerTls(certfile=made.certfile, keyfile=made.keyfile)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    with running_coreapp(certificate=certificate, **arguments) as coreapp:
        monkeypatch.setenv("TEST_PASSWORD", coreapp.password)
        yield Operator(coreapp, made, run)
