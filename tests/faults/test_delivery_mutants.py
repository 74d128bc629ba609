"""Properties of delivery and replays and tests of contention kill each mutant, and nothing else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults import contention_mutants, delivery_mutants, replay_mutants
from tests.faults.delivery_mutants import Change, apply

ROOT = Path(__file__).parents[2]


class Suite(NamedTuple):
    """Properties, and the mutants that they kill by themselves."""

    files: Sequence[str]
    mutants: Mapping[str, Sequence[Change]]


ANSWERS = "tests/test_ledger.py::test_what_may_have_been_committed_is_not_done_again"
SUITES = {
    "delivery": Suite(
        ["tests/properties/test_wakeups.py", "tests/properties/test_delivery.py"],
        delivery_mutants.MUTANTS,
    ),
    "replays": Suite(["tests/properties/test_replay.py"], replay_mutants.MUTANTS),
    "contention": Suite(["tests/contention", ANSWERS], contention_mutants.MUTANTS),
}
SECONDS = 300  # in which the suite ends, found something or not

Run = subprocess.CompletedProcess[str]

pytestmark = pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "ci",
    reason="takes minutes: HYPOTHESIS_PROFILE=ci asks for it",
)


def run_properties(folder: Path, files: Sequence[str], changes: Sequence[Change]) -> Run:
    """Run the properties in ``files`` on a changed copy of the project, with the same seed."""
    for name in ("router", "plugins", "migrations", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    apply(changes, folder / "router")
    # What can be broken on either engine is found on the quicker one.
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-k", "not postgresql"]
    command += ["--hypothesis-seed=0", *files]
    return subprocess.run(
        command,
        cwd=folder,  # before all else on the path
        # One after another: the mutants themselves are tried side by side.
        env=os.environ
        | {"HYPOTHESIS_PROFILE": "mutants", "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Run]]]:
    """The runs on all mutants, and by the name of a suite that on the engine as it is.

    There are as many at a time as there are cores.
    """
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        runs = {
            name: executor.submit(
                run_properties, tmp_path_factory.mktemp("copy"), suite.files, changes
            )
            for of_suite, suite in SUITES.items()
            for name, changes in {**suite.mutants, of_suite: ()}.items()
        }
        yield runs
        for run in runs.values():
            run.cancel()


@pytest.mark.parametrize("name", [name for one in SUITES.values() for name in one.mutants])
def test_a_mutant_is_killed(runs: Mapping[str, Future[Run]], name: str) -> None:
    """One promise broken, the properties fail."""
    run = runs[name].result()
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    assert "1 failed" in run.stdout, run.stdout


@pytest.mark.parametrize("name", SUITES)
def test_the_engine_as_it_is_passes(runs: Mapping[str, Future[Run]], name: str) -> None:
    """Nothing changed, the same properties with the same seed pass."""
    run = runs[name].result()
    assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr
