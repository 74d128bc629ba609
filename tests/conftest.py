"""What all tests share: how hard Hypothesis tries, and where the samples of providers are."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline: an example that has to wait for a busy machine is not a failure.
settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile(
    "ci", deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of sample notifications with their expected events, beside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip(f"the samples are not at {folder}")
    return folder
