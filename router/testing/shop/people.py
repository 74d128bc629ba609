"""The customers of the made-up shop: numbers that nobody has, names that nobody bears."""

import msgspec

from router.testing.shop.facts import Json, Shape

SHOP_NUMBER = "12005550100"  # 555-0100 to 555-0199 are set aside for fiction
SHOP_NUMBER_ID = "200555010020055"
ACCOUNT = "200555019920055"  # the WhatsApp Business account
LARGEST = 70_000  # customers, for that many fictional numbers begin with 1 201 to 1 900
_HOLDS = 100  # numbers of an area code
_FIRST = ("Ada", "Björk", "Chidi", "Dunya", "Émile", "Farah", "Göran", "Hana", "İpek", "José")
_LAST = ("Beispiel", "Ejemplo", "Exemple", "Muster", "Placeholder", "Sample", "Testa")
_HAS_USERNAME = 20  # one in so many has a username, and is known by a user id (2026, Cloud)


class Person(msgspec.Struct, frozen=True):
    """A customer.

    Attributes:
        number: The phone number, as WhatsApp writes it.
        name: What they call themselves.
        user_id: The business-scoped user id; empty for those who have no username.
        username: Likewise.
    """

    number: str
    name: str
    user_id: str = ""
    username: str = ""

    @property
    def conversation(self) -> str:
        """Who they are to a receiver: the user id comes first."""
        return self.user_id or self.number

    def as_contact(self) -> Json:
        """Return their element of ``contacts``."""
        profile: Json = {"name": self.name}
        contact: Json = {"profile": profile, "wa_id": self.number}
        if self.user_id:
            profile["username"] = self.username
            contact["user_id"] = self.user_id
        return contact


def make_person(index: int, shape: Shape) -> Person:
    """Return the customer of that index, from 0 to below `LARGEST`: always the same one."""
    number = f"1{201 + index // _HOLDS}55501{index % _HOLDS:02d}"
    name = f"{_FIRST[index % len(_FIRST)]} {_LAST[index // len(_FIRST) % len(_LAST)]}"
    if shape == "cloud" and index % _HAS_USERNAME == _HAS_USERNAME - 1:
        return Person(number, name, f"US.{index:020d}", f"fictional.{index}")
    return Person(number, name)
