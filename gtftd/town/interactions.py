"""`.beads/interactions.jsonl`: what `bd audit` kept of calls, labels and changes, by bead (gastown.md 5.5)."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gtftd.town.bead_life import BEAD
from gtftd.town.bead_rows import moment, text
from gtftd.town.beads_server import database_of
from gtftd.town.jsonl import MAX_LINE_BYTES, read_objects
from gtftd.town.layout import Town

FILE = "interactions.jsonl"
KINDS = frozenset({"llm_call", "tool_call", "label", "field_change"})
MAX_FILE_BYTES = 1024**3
MAX_OF_BEAD = 2000
"""The first so many records of a bead are kept."""
MAX_TEXT = 65_536


@dataclass(frozen=True)
class Interaction:
    """One line: a call of a model or a tool, a verdict on an earlier line, or a changed field."""

    id: str
    kind: str
    at: datetime | None
    actor: str | None
    bead: str | None
    model: str | None
    said: Mapping[str, str]
    """Its other fields as text: prompt, response, error, tool_name, exit_code, parent_id, label, reason, extra."""


@dataclass(frozen=True)
class InteractionsFile:
    """One file, and whose beads it tells of."""

    path: Path
    rig: str | None
    database: str


def interactions_files(town: Town) -> Iterator[InteractionsFile]:
    """Every file that is there, once: also those beside a redirect, where closes of other rigs land."""
    seen: set[Path] = set()
    places: list[tuple[str | None, Path]] = [(None, town.beads_dir), (None, town.root / ".beads")]
    for rig in town.rigs:
        folders = (rig.beads_dir, rig.path / ".beads", rig.path / "mayor" / "rig" / ".beads")
        places += [(rig.name, folder) for folder in folders]
    for rig_name, folder in places:
        path = Path(os.path.realpath(folder / FILE))
        if path.is_file() and path not in seen:
            seen.add(path)
            yield InteractionsFile(path, rig_name, database_of(town, rig_name))


def read_interactions(path: Path, problems: Counter[str]) -> dict[str | None, list[Interaction]]:
    """The lines by bead, each once, in the order of the file; what cannot be read is counted. Raises OSError."""
    found: dict[str | None, list[Interaction]] = defaultdict(list)
    seen: set[str] = set()
    for row in read_objects(path, problems, max_line_bytes=MAX_LINE_BYTES, limit_bytes=MAX_FILE_BYTES):
        one = _interaction(row)
        if one is None:
            problems["unknown_kind"] += 1
        elif one.id and one.id in seen:
            problems["repeated"] += 1
        elif len(found[one.bead]) >= MAX_OF_BEAD:
            problems["too_many"] += 1
        else:
            seen.add(one.id)
            found[one.bead].append(one)
    return found


def _interaction(row: Mapping[str, object]) -> Interaction | None:
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        return None
    bead = text(row.get("issue_id"))
    said = ("prompt", "response", "error", "tool_name", "exit_code", "parent_id", "label", "reason", "extra")
    return Interaction(
        id=text(row.get("id"))[:200],
        kind=kind,
        at=moment(row.get("created_at")),
        actor=text(row.get("actor"))[:255] or None,
        bead=bead if BEAD.fullmatch(bead) else None,
        model=text(row.get("model"))[:200] or None,
        said={name: _plain(value) for name in said if (value := row.get(name)) not in (None, "", {}, [])},
    )


def _plain(value: object) -> str:
    written = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else text(value)
    return written[:MAX_TEXT]
