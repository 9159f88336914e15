"""Reading the lives of beads: from a beads database in short queries, or from an export folder."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from gtftd.errors import Invalid, Missing
from gtftd.town.bead_life import COLUMNS, BeadLife, Rows, lives_of, parse_comment, parse_dependency, shown_offset
from gtftd.town.bead_rows import Cell, Dependency, parse_change, text
from gtftd.town.bead_snapshot import HISTORIES, TARGETS, Snapshot
from gtftd.town.jsonl import parse

MAX_LINE_BYTES = 16 * 1024 * 1024
SAMPLE = 200
"""Closes that are looked at to learn the clock of a database."""


async def read_offset(view: Snapshot) -> int:
    """What brings this database's history rows to UTC, in seconds, by its last closes."""
    issues = [issue for table in HISTORIES.values() for issue in await view.last_closed(table, SAMPLE)]
    changes = await view.history([issue.bead for issue in issues])
    return shown_offset(changes, issues)


async def read_lives(view: Snapshot, beads: Sequence[str], offset_s: int) -> list[BeadLife]:
    """The lives of these beads; those that are gone are left out."""
    rows = Rows(changes=await view.changes_of(beads))
    for table in HISTORIES.values():
        rows.issues += await view.rows(table, COLUMNS, "id", beads)
    for aside in ("", "wisp_"):
        rows.dependencies += await _dependencies(view, f"{aside}dependencies", beads)
        found = await view.rows(f"{aside}labels", ("issue_id", "label"), "issue_id", beads)
        rows.labels += [(text(row["issue_id"]), text(row["label"])) for row in found]
        said = await view.rows(f"{aside}comments", ("issue_id", "author", "text", "created_at"), "issue_id", beads)
        rows.comments += [parse_comment(row) for row in said]
    return lives_of(rows, offset_s)


async def _dependencies(view: Snapshot, table: str, beads: Sequence[str]) -> list[Dependency]:
    found = []
    for column in ("issue_id", *TARGETS):
        for row in await view.rows(table, ("issue_id", "type", *TARGETS), column, beads):
            if (link := parse_dependency(row, TARGETS)) is not None:
                found.append(link)
    return found


def read_export(path: Path) -> tuple[list[BeadLife], Counter[str]]:
    """The lives in an export, and what was skipped, by kind: a folder as gt's backup writes it, or one issues file.

    Raises Missing when there are no issues, Invalid when what is there is no export.
    """
    rows, problems = Rows(), Counter[str]()
    files = (
        [_file(path, table) for table in HISTORIES.values()] if path.is_dir() else [path if path.is_file() else None]
    )
    for file in files:
        for row in _objects(file, problems):
            _take_issue(rows, row)
    if not rows.issues:
        raise Missing(f"{path} holds no beads; give a folder with issues.jsonl (or .jsonl.gz), or such a file")
    if path.is_dir():
        _read_beside(path, rows, problems)
    return lives_of(rows), problems


def _read_beside(folder: Path, rows: Rows, problems: Counter[str]) -> None:
    for table in HISTORIES:
        rows.changes += [parse_change(table, row) for row in _objects(_file(folder, table), problems)]
    for aside in ("", "wisp_"):
        for row in _objects(_file(folder, f"{aside}dependencies"), problems):
            _take_dependency(rows, row)
        for row in _objects(_file(folder, f"{aside}labels"), problems):
            rows.labels.append((text(row.get("issue_id")), text(row.get("label"))))
        rows.comments += [parse_comment(row) for row in _objects(_file(folder, f"{aside}comments"), problems)]


def _take_issue(rows: Rows, row: Mapping[str, Cell]) -> None:
    """An issue of an export may carry its labels, dependencies and comments inside."""
    bead = text(row.get("id"))
    rows.issues.append(row)
    rows.labels += [(bead, text(label)) for label in _list(row.get("labels"))]
    for inner in _list(row.get("dependencies")):
        if isinstance(inner, dict):
            _take_dependency(rows, {"issue_id": bead, **inner})
    rows.comments += [
        parse_comment({"issue_id": bead, **inner}) for inner in _list(row.get("comments")) if isinstance(inner, dict)
    ]


def _take_dependency(rows: Rows, row: Mapping[str, Cell]) -> None:
    if (link := parse_dependency(row, TARGETS)) is not None:
        rows.dependencies.append(link)


def _list(value: Cell) -> list[Cell]:
    return value if isinstance(value, list) else []


def _file(folder: Path, table: str) -> Path | None:
    candidates = (folder / f"{table}.jsonl", folder / f"{table}.jsonl.gz")
    return next((path for path in candidates if path.is_file()), None)


def _objects(path: Path | None, problems: Counter[str]) -> Iterator[dict[str, Cell]]:
    if path is None:
        return
    try:
        with gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb") as file:
            for line in _lines(cast(BinaryIO, file), problems):  # both read bytes by lines
                if (loaded := parse(line, problems)) is not None:
                    yield loaded
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Invalid(f"{path} is no whole gzip file: {error}") from error
    except OSError as error:
        raise Missing(f"{path} cannot be read: {error.strerror}") from error


def _lines(file: BinaryIO, problems: Counter[str]) -> Iterator[bytes]:
    """An export is complete, so its last line needs no end."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            problems["too_long"] += 1
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            continue
        yield line
