"""Beads as they are told to the index: nothing of them leaves unscrubbed."""

from __future__ import annotations

from gtftd.corpus.living import LivingBeads
from gtftd.scrub.scrubber import Scrubber
from gtftd.town.bead_life import Rows, lives_of
from gtftd.town.bead_rows import Dependency
from tests.support.documents import SECRET


def test_no_field_of_a_bead_and_of_its_card_holds_a_secret() -> None:
    """Not the title, the words, the assignee, what it waits for, nor why it was closed; ids stay as they are."""
    row = {"id": "ha-1", "title": SECRET, "status": "closed", "issue_type": "task", "description": f"use {SECRET}",
           "assignee": f"token:{SECRET}", "close_reason": f"with {SECRET}"}  # fmt: skip
    links = [Dependency("ha-1", f"external:https://x:{SECRET}@host/a", "blocks"), Dependency("ha-1", "ha-2", "blocks")]
    life = lives_of(Rows(issues=[row], dependencies=links))[0]
    scrubber = Scrubber({}, key=b"k" * 16)
    told = LivingBeads(None, lambda: scrubber)._told("harbor", [life])[0]  # type: ignore[arg-type]  # nothing is read
    assert SECRET not in repr(told)
    assert ("ha-1", "ha-2") == (told.bead, told.card.needs[-1])
