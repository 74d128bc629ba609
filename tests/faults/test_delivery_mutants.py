"""The properties of delivery kill every mutant by themselves, and leave the real engine alone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.delivery_mutants import MUTANTS, Change, apply

ROOT = Path(__file__).parents[2]
SUITE = ["tests/properties/test_wakeups.py", "tests/properties/test_delivery.py"]
AS_IT_IS = "as it is"
SECONDS = 300  # in which the suite ends, found something or not

Run = subprocess.CompletedProcess[str]

pytestmark = pytest.mark.skipif(
    os.environ.get("HYPOTHESIS_PROFILE") != "ci",
    reason="takes minutes: HYPOTHESIS_PROFILE=ci asks for it",
)


def run_properties(folder: Path, changes: Sequence[Change]) -> Run:
    """Run the properties on a changed copy of the project, always with the same seed."""
    for name in ("router", "plugins", "migrations", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    apply(changes, folder / "router")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--hypothesis-seed=0", *SUITE]
    return subprocess.run(
        command,
        cwd=folder,  # before all else on the path
        env=os.environ | {"HYPOTHESIS_PROFILE": "mutants", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[Run]]]:
    """The runs on all mutants, and on the engine as it is; as many at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        runs = {
            name: executor.submit(run_properties, tmp_path_factory.mktemp("copy"), changes)
            for name, changes in {**MUTANTS, AS_IT_IS: ()}.items()
        }
        yield runs
        for run in runs.values():
            run.cancel()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_killed(runs: Mapping[str, Future[Run]], name: str) -> None:
    """One promise broken, the properties fail."""
    run = runs[name].result()
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    assert "1 failed" in run.stdout, run.stdout


def test_the_engine_as_it_is_passes(runs: Mapping[str, Future[Run]]) -> None:
    """Nothing changed, the same properties with the same seed pass."""
    run = runs[AS_IT_IS].result()
    assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr
