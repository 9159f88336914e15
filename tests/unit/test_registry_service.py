"""The registry inside the daemon: a tainted entry takes back what learned from it."""

from __future__ import annotations

from pathlib import Path

from gtftd.handlers.taint_trained_models import taint_trained_models
from gtftd.programs.registry_orders import TrainedAt
from gtftd.registry import FOLDER, Models
from gtftd.schemas.corpus import EntryTainted
from gtftd.state import Database, Outbox
from tests.support.registry import AT, facts, registered, registry_in


def tainted(*snapshots: str) -> EntryTainted:
    return EntryTainted(entry_id="e", sha256="a" * 64, kinds=("PASSWORD",), reason="purge", snapshots=snapshots)


async def test_models_of_a_tainted_snapshot_are_tainted_once(tmp_path: Path) -> None:
    """What served before serves again, the bus is told, and a second run finds nothing to do."""
    registry = registry_in(tmp_path / "state")
    good = registered(registry, tmp_path, 1, snapshot="good")
    bad = registered(registry, tmp_path, 2, snapshot="bad")
    for name in (good, bad):
        registry.deploy(name, "", "me", "")
    before = len(facts(registry))
    database = Database.open(registry.database)
    outbox = Outbox(database, prefix="t", source="test")
    models = Models(database, outbox, tmp_path / "state" / FOLDER)
    for _ in range(2):
        await taint_trained_models(tainted("bad"), models)
    await taint_trained_models(tainted(), models)
    assert outbox.filled.is_set()
    database.close()
    assert ("active", "tainted") == (registry.model(good).deployment_status, registry.model(bad).deployment_status)
    told = facts(registry)[before:]
    assert ["model.changed.v1", "model.changed.v1", "deployment.decided.v1", "model.changed.v1"] == [
        fact["type"] for fact in told
    ]
    assert "an entry that it learned from was tainted: purge" == told[-1]["why"]


async def test_when_the_model_was_trained_that_serves_a_role(tmp_path: Path) -> None:
    """The rig's own before the town's; nothing where none of ours serves."""
    registry = registry_in(tmp_path / "state")
    whole, own = registered(registry, tmp_path, 1), registered(registry, tmp_path, 2, trained_at=AT.replace(year=2027))
    registry.deploy(whole, "", "me", "")
    registry.deploy(own, "harbor", "me", "")
    database = Database.open(registry.database)
    trained_at = TrainedAt(database)
    found = [
        await trained_at(*asked) for asked in (("deacon", None), ("deacon", "harbor"), ("deacon", "x"), ("boot", None))
    ]
    database.close()
    assert [AT, AT.replace(year=2027), AT, None] == found
