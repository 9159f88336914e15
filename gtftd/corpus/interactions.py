"""What `bd audit` kept of a bead's work, as one document for each bead."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence

from gtftd.corpus.filing import Document, Filing, Tally
from gtftd.schemas.corpus_orders import CollectProgress
from gtftd.town.conversation import RawMessage
from gtftd.town.identity import FOR_ALL, parse_role
from gtftd.town.interactions import Interaction, InteractionsFile, read_interactions

_NO_BEAD = "-"


async def collect_interactions(filing: Filing, files: Sequence[InteractionsFile]) -> AsyncIterator[CollectProgress]:
    """Files of one database are told together, so that a bead whose lines lie in two of them is one document."""
    tally = Tally("interactions", total=0)
    problems: Counter[str] = Counter()
    for database in sorted({file.database for file in files}):
        ours = [file for file in files if file.database == database]
        beads = await asyncio.to_thread(_read, ours, problems)
        tally.total = (tally.total or 0) + len(beads)
        for bead, told in sorted(beads.items(), key=lambda item: item[0] or ""):
            await filing.put(_document(database, ours[0].rig, bead, told), tally)
            if tally.is_due:
                yield tally.progress(database)
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(problems.items()))
    note = f"lines skipped: {counts}" if counts else ("" if files else "no .beads/interactions.jsonl in this town")
    yield tally.progress(note, finished=True)


def _read(files: Sequence[InteractionsFile], problems: Counter[str]) -> dict[str | None, list[Interaction]]:
    found: dict[str | None, dict[str, Interaction]] = {}
    for file in files:
        try:
            for bead, told in read_interactions(file.path, problems).items():
                known = found.setdefault(bead, {})
                for number, one in enumerate(told):
                    known.setdefault(one.id or f"{file.path}#{number}", one)
        except OSError:
            problems["unreadable_file"] += 1
    return {bead: sorted(known.values(), key=lambda one: str(one.at)) for bead, known in found.items()}


def _document(database: str, rig: str | None, bead: str | None, told: Sequence[Interaction]) -> Document:
    actor = next((one.actor for one in reversed(told) if one.actor), None)
    identity = parse_role(actor or "")
    times = [one.at for one in told if one.at is not None]
    return Document(
        kind="interactions",
        origin=f"interactions:{database}/{bead or _NO_BEAD}",
        source="file",
        messages=tuple(message for one in told for message in _messages(one)),
        role=identity.role if identity else FOR_ALL,
        rig=rig,
        bead=bead,
        database=database,
        actor=actor,
        model=next((one.model for one in reversed(told) if one.model), None),
        title=f"Interactions of {bead}" if bead else "Interactions without a bead",
        started_at=min(times, default=None),
        ended_at=max(times, default=None),
    )


def _messages(one: Interaction) -> Iterator[RawMessage]:
    """A call of a model is a question and its answer; everything else is told in one line and what follows."""
    said = one.said
    if one.kind == "llm_call":
        yield RawMessage("user", said.get("prompt", ""), at=one.at)
        yield RawMessage("assistant", said.get("response", ""), is_error="error" in said, at=one.at)
        return
    head = f"{one.kind} {one.id}" + (f" by {one.actor}" if one.actor else "")
    rest = "\n".join(f"{name}: {value}" for name, value in said.items())
    failed = "error" in said or said.get("exit_code", "0") not in ("0", "")
    yield RawMessage("system", f"{head}\n{rest}", is_error=one.kind == "tool_call" and failed, at=one.at)
