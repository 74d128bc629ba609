"""A listener: what plugins are told by `on_dead` and `on_subscription_state`."""

from collections.abc import Mapping

from router.events import Event


class Listener:
    """Notes what it is told.

    Attributes:
        told: The hook and what was given with it.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, object]]] = []

    async def tell(self, hook: str, given: Mapping[str, object]) -> None:
        """Note it."""
        self.told.append((hook, given))

    def states(self, name: str = "crm") -> list[object]:
        """Return the states that a subscription was said to be in, as they changed."""
        return [
            given["state"]
            for hook, given in self.told
            if hook == "on_subscription_state" and given["subscription"] == name
        ]

    def dead(self, name: str = "crm") -> list[tuple[int, int, str]]:
        """Return the position, the attempts and the error of each dead letter."""
        found = []
        for hook, given in self.told:
            event = given.get("event")
            if hook == "on_dead" and given["subscription"] == name and isinstance(event, Event):
                attempts, error = given["attempts"], given["error"]
                assert isinstance(attempts, int)
                assert isinstance(error, str)
                found.append((event.position, attempts, error))
        return found
