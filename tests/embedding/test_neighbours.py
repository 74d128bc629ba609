"""Tests of `router.neighbours`: a host's alembic and ours share a database, and nothing else."""

import pytest

from router import migrate
from router.schema import make_tables
from tests.embedding.shop import Shop

HEAD = migrate.head()
THEIRS, OURS = ("upgrade", "head"), ("-n", "router", "upgrade", "head")
SECOND = "migrations/versions/0002_notifications.py"


def require_clean(shop: Shop) -> None:
    """Fail unless both find nothing to do."""
    assert "No new upgrade operations" in shop.migrate("check")
    assert "No new upgrade operations" in shop.migrate("-n", "router", "check")
    with shop.looking() as engine:
        assert migrate.find_drift(engine, make_tables(prefix="notify_")) == []


@pytest.mark.parametrize("order", [(THEIRS, OURS), (OURS, THEIRS)], ids=["theirs", "ours"])
def test_either_may_be_upgraded_first(shop: Shop, order: tuple[tuple[str, ...], ...]) -> None:
    """Neither command touches a table or a revision of the other's, and both are clean then."""
    (shop.folder / SECOND).unlink()
    found = []
    for words in order:
        before = shop.find_tables()
        shop.migrate(*words)
        found.append({name.startswith("notify_") for name in shop.find_tables() - before})
    assert sorted(found, key=str) == [{False}, {True}]
    assert shop.find_revisions() == (["0001"], [HEAD])
    require_clean(shop)


def test_a_revision_of_the_hosts_runs_ours(shop: Shop) -> None:
    """With one of theirs that calls ours their command does all, once; and both are clean then."""
    shop.migrate(*THEIRS)
    assert shop.find_revisions() == (["0002"], [HEAD])
    require_clean(shop)
    shop.migrate(*THEIRS)
    shop.migrate(*OURS)
    assert shop.find_revisions() == (["0002"], [HEAD])


def test_a_revision_goes_on_behind_ours(shop: Shop) -> None:
    """A migration of theirs has its own `op` and `context` back after it has run ours."""
    make = 'op.create_table("shop_more", Column("number", Integer))'
    go_on(shop, "from sqlalchemy import Column, Integer", make)
    with (shop.folder / "migrations/env.py").open("a") as file:
        file.write("assert not context.is_offline_mode()\n")
    shop.migrate(*THEIRS)
    assert "shop_more" in shop.find_tables()
    assert shop.find_revisions() == (["0002"], [HEAD])


def test_a_revision_that_fails_behind_ours_leaves_nothing(shop: Shop) -> None:
    """Ours is a part of the transaction of their migration."""
    text = (shop.folder / SECOND).read_text("utf-8")
    go_on(shop, "raise RuntimeError('not today')")
    ended = shop.alembic(*THEIRS)
    assert ended.returncode == 1
    assert "not today" in ended.stderr
    assert not [name for name in shop.find_tables() if name.startswith("notify_")]
    (shop.folder / SECOND).write_text(text, "utf-8")
    shop.migrate(*THEIRS)
    require_clean(shop)


def go_on(shop: Shop, *lines: str) -> None:
    """Let the page's revision do more, once it has run ours."""
    file = shop.folder / SECOND
    call = f'revision="{HEAD}")\n'
    text = file.read_text("utf-8")
    assert call in text
    more = "".join(f"    {line}\n" for line in lines)
    file.write_text(text.replace(call, call + more), "utf-8")


def test_alembic_would_drop_our_tables_unless_it_is_told(shop: Shop) -> None:
    """Without `pass_over` the host's command sees tables in which it knows nothing of its own."""
    shop.migrate(*THEIRS)
    env = shop.folder / "migrations" / "env.py"
    lines = env.read_text("utf-8").splitlines(keepends=True)
    env.write_text("".join(line for line in lines if "include_name=" not in line), "utf-8")
    ended = shop.alembic("check")
    assert ended.returncode != 0
    assert "notify_event" in ended.stdout + ended.stderr
