"""What changes around the agents: people who edit documents and formulas, and the pruner of the feed."""

from __future__ import annotations

import os
from pathlib import Path

from gtftd.sampletown.agent import Steps
from gtftd.sampletown.repository import land_commit
from gtftd.sampletown.world import World

PRUNED = frozenset({"boot", "spawn"})


def edit_documents(world: World) -> Steps:
    """CLAUDE.md in place, a formula half and then whole, a directive by rename, a formula that is new."""
    root = world.root
    yield 2700.0
    _append(root / "CLAUDE.md", f"\n- Day {world.day}: the merge queue is short; submit small branches.\n")
    yield 3600.0
    formula = root / ".beads/formulas/mol-polecat-work.formula.toml"
    text = formula.read_text(encoding="utf-8").replace("Change as little", f"Day {world.day}: change as little", 1)
    text = text.split("# seen")[0].rstrip() + f"\n# seen on day {world.day}\n"
    formula.write_text(text[: len(text) // 2 + 7], encoding="utf-8")
    yield 20.0
    formula.write_text(text, encoding="utf-8")
    yield 3600.0
    _append(root / "harbor/mayor/rig/CLAUDE.md", f"- Day {world.day}: berth rows end at G.\n")
    yield 2400.0
    directive = root / "directives/polecat.md"
    aside = directive.with_suffix(".md.tmp")
    aside.write_text(directive.read_text(encoding="utf-8") + f"\nDay {world.day}: name the berth in the commit.\n")
    aside.rename(directive)
    yield 1800.0
    fresh = root / f".beads/formulas/mol-check-day-{world.day}.formula.toml"
    fresh.write_text(
        f'formula = "{fresh.name.split(".")[0]}"\ntype = "workflow"\nversion = 1\n\n'
        '[[steps]]\nid = "check"\ntitle = "Check"\n'
    )


def revert_merge(world: World) -> Steps:
    """A person takes back the first merge of a harbor bead: it broke what no test looks at."""
    yield 4.6 * 3600
    while not world.is_over:
        for bead, landed in world.landed.items():
            if bead.startswith("hb-") and world.truth.beads[bead].episodes[-1].outcome == "merged":
                message = f'Revert "{landed.subject}"\n\nThis reverts commit {landed.sha}.'
                land_commit(world.root / "harbor/mayor/rig", message, "overseer", world.now())
                world.truth.reverted(bead)
                return
        yield 600.0


def prune_feed(world: World) -> Steps:
    """Gt's pruner rewrites the feed once in the middle of the day."""
    yield 3.7 * 3600
    world.feed.prune(PRUNED)


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as target:
        target.write(text)
        target.flush()
        os.fsync(target.fileno())
