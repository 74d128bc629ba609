"""A router that serves, in a process of its own."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.cli.conftest import command


@contextmanager
def served(environ: Mapping[str, str], *options: str) -> Iterator[str]:
    """Serve what the working directory configures while the block lasts; yields the address."""
    with subprocess.Popen(
        command(["serve", "--port", "0", "--no-worker", *options]),
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        told = (re.search(r"receiving at (\S+)/webhooks/", line) for line in process.stderr)
        try:
            yield next(found[1] for found in told if found)
        finally:  # else a test that fails would wait for it for ever
            process.terminate()
        assert process.wait() == 0
