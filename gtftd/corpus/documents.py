"""Every collector that is no session: files, beads, interactions, what `gt prime` prints, curated examples."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.corpus.filing import Tally
from gtftd.schemas.control import CollectProgress

if TYPE_CHECKING:
    from gtftd.schemas.corpus import Task


class Documents:
    """Each method is one collection: run it as often as you like, the second run stores nothing.

    All yield their progress, and end with one that has `finished`.
    """

    async def artifacts(self, folder: Path | None = None, *, rig: str | None = None) -> AsyncIterator[CollectProgress]:
        """What tells agents how to behave, and specs, plans and docs: of the town, or of any folder."""
        yield Tally("artifacts").progress(finished=True)

    async def operational(
        self, export: Path | None = None, databases: Sequence[str] | None = None
    ) -> AsyncIterator[CollectProgress]:
        """The life of every bead: out of the town's databases, or out of an export (then one database names it)."""
        yield Tally("operational").progress(finished=True)

    async def interactions(self) -> AsyncIterator[CollectProgress]:
        """`.beads/interactions.jsonl` of the town and its rigs, by bead."""
        yield Tally("interactions").progress(finished=True)

    async def prime(self, roles: Sequence[str] | None = None) -> AsyncIterator[CollectProgress]:
        """What `gt prime` prints for each role that has a place in the town."""
        yield Tally("prime").progress(finished=True)

    async def add(
        self, path: Path, *, role: str, task: Task | None = None, rig: str | None = None
    ) -> AsyncIterator[CollectProgress]:
        """Curated examples: chat messages or text. Raises Invalid with the line, and then nothing was added."""
        yield Tally("add").progress(finished=True)
