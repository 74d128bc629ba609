"""What the tests of the Coreapp share: one that runs, and somebody who talks to its API."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from router.testing.coreapp import RunningCoreapp, running_coreapp

SETTINGS = "/v1/settings/application"


@dataclass(frozen=True, slots=True)
class Admin:
    """Somebody who talks to a Coreapp, and is not logged in before asked to be."""

    coreapp: RunningCoreapp
    http: httpx2.Client

    def log_in(self, username: str = "admin", password: str | None = None) -> httpx2.Response:
        """Ask for a token."""
        credentials = (username, self.coreapp.password if password is None else password)
        return self.http.post("/v1/users/login", auth=credentials)

    def get_token(self, username: str = "admin") -> dict[str, str]:
        """Log in, and return the header that proves it."""
        token = self.log_in(username).json()["users"][0]["token"]
        return {"authorization": f"Bearer {token}"}

    def read(self) -> Any:  # noqa: ANN401  # JSON
        """Return the settings."""
        answer = self.http.get(SETTINGS, headers=self.get_token())
        assert answer.status_code == 200
        return answer.json()["settings"]["application"]

    def change(self, patch: object) -> httpx2.Response:
        """Change settings."""
        return self.http.patch(SETTINGS, json=patch, headers=self.get_token())


@pytest.fixture
def admin(request: pytest.FixtureRequest) -> Iterator[Admin]:
    """Somebody at a Coreapp; an indirect parameter holds what it is made with."""
    arguments = getattr(request, "param", {})
    with (
        running_coreapp(**arguments) as coreapp,
        httpx2.Client(base_url=coreapp.url, trust_env=False) as http,
    ):
        yield Admin(coreapp, http)
