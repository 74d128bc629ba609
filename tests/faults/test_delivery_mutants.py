"""Properties of delivery and replays and tests of contention kill each mutant, and nothing else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clusters import Server
from tests.faults import contention_mutants, delivery_mutants, replay_mutants
from tests.faults.delivery_mutants import Change, apply

ROOT = Path(__file__).parents[2]

MUTANTS = {**delivery_mutants.MUTANTS, **replay_mutants.MUTANTS, **contention_mutants.MUTANTS}
KILLERS = sorted({mutant.killer for mutant in MUTANTS.values()})
AS_IT_IS = "the engine as it is"
SECONDS = 300  # in which a killer ends, found something or not

Run = subprocess.CompletedProcess[str]

pytestmark = pytest.mark.slow


def run_killers(
    folder: Path, killers: Sequence[str], changes: Sequence[Change], *, profile: str, postgres: str
) -> Run:
    """Run tests on a changed copy of the project, with the same seed."""
    for name in ("router", "plugins", "migrations", "tests"):  # what is compiled in them, too:
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    apply(changes, folder / "router")  # a file that is changed is newer than that
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist"]
    # What can be broken on either engine is found on the quicker one.
    command += ["--hypothesis-seed=0", "-k", "not postgresql", *killers]
    return subprocess.run(
        command,
        cwd=folder,  # before all else on the path
        # One after another: the mutants themselves are tried side by side.
        env=os.environ
        | {
            "HYPOTHESIS_PROFILE": profile,
            "PYTEST_ADDOPTS": "",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ROUTER_TEST_POSTGRES": postgres,
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, postgres: Server
) -> Iterator[Mapping[str, Future[Run]]]:
    """The runs of what kills them on all mutants, and of all that on the engine as it is.

    There are as many at a time as there are cores.
    """

    def run(killers: Sequence[str], changes: Sequence[Change], profile: str) -> Run:
        folder = tmp_path_factory.mktemp("copy")
        url = postgres.url("postgres")
        return run_killers(folder, killers, changes, profile=profile, postgres=url)

    with ThreadPoolExecutor(os.cpu_count()) as executor:
        runs = {
            name: executor.submit(run, [mutant.killer], mutant.changes, "mutants")
            for name, mutant in MUTANTS.items()
        }
        runs[AS_IT_IS] = executor.submit(run, KILLERS, (), "default")
        yield runs
        for one in runs.values():
            one.cancel()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_killed(runs: Mapping[str, Future[Run]], name: str) -> None:
    """One promise broken, the test that holds it fails."""
    run = runs[name].result()
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    assert "1 failed" in run.stdout, run.stdout


def test_the_engine_as_it_is_passes(runs: Mapping[str, Future[Run]]) -> None:
    """Nothing changed, a copy passes; that it does so however hard it is tried is CI's own run."""
    run = runs[AS_IT_IS].result()
    assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr
