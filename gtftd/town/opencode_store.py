"""Where OpenCode keeps a session: folders of JSON files (up to 1.1), or tables of one SQLite file (from 1.2 on).

A session is named by one path: that of its own file, `storage/session/<project>/<session>.json`, or, in a
database, `<database>/<session>`, which is no file.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from gtftd.town.jsonl import parse
from gtftd.town.opencode_database import SESSION_ID_START, Held, Mark, connect, hold_rows, mark_rows

_HEAD_BYTES = 1024 * 1024


def in_files(path: Path) -> bool:
    """Whether the path names a session kept in JSON files."""
    is_named = path.suffix == ".json" and path.stem.startswith(SESSION_ID_START)
    return is_named and path.parts[-4:-2] == ("storage", "session")


def in_database(path: Path) -> bool:
    """Whether the path names a session kept in a database."""
    return path.name.startswith(SESSION_ID_START) and path.parent.suffix == ".db" and not path.suffix


def hold(path: Path, problems: Counter[str], max_bytes: int) -> Held:
    """Read all of a session. Raises OSError. What is broken or too long is counted and left out."""
    if in_files(path):
        return _hold_files(path, problems, max_bytes)
    with connect(path.parent) as database:
        return hold_rows(database, path.name, problems, max_bytes)


def mark(path: Path) -> Mark | None:
    """What the session is like now, without reading it; None when it is not there."""
    try:
        if in_files(path):
            return _mark_files(path)
        with connect(path.parent) as database:
            return mark_rows(database, path.name)
    except OSError:
        return None


def databases(folder: Path, named: Path | None = None) -> list[Path]:
    """`opencode.db`, those of other release channels, and the one that is named."""
    found = [*folder.glob("opencode*.db"), *([named] if named else [])]
    return sorted({path for path in found if path.is_file()})


def session_files(folder: Path) -> Iterator[Path]:
    sessions = folder / "storage" / "session"
    for found in glob.iglob(f"*/{SESSION_ID_START}*.json", root_dir=sessions):  # noqa: PTH207  # Path's raises when a folder goes
        yield sessions / found


def read_head(path: Path) -> Mapping[str, object] | None:
    """The session's own file, where it is kept in files. Raises OSError."""
    with path.open("rb") as file:
        return parse(file.read(_HEAD_BYTES), Counter())


def _hold_files(path: Path, problems: Counter[str], max_bytes: int) -> Held:
    storage = path.parents[2]
    session = _load(path, problems, max_bytes) or {}
    messages, parts = [], {}
    for file in _names(storage / "message" / path.stem):
        message = _load(file, problems, max_bytes)
        if message is None:
            continue
        messages.append(dict(message) | {"id": file.stem})
        below = [(part, _load(part, problems, max_bytes)) for part in _names(storage / "part" / file.stem)]
        parts[file.stem] = tuple(dict(held) | {"id": part.stem} for part, held in below if held is not None)
    return Held(session, tuple(sorted(messages, key=_order)), parts)


def _mark_files(path: Path) -> Mark:
    """One stat a file: a session of a thousand steps has some thousand files."""
    storage = path.parents[2]
    digest = hashlib.sha256()
    size, latest = 0, 0.0
    files = [path, *_names(storage / "message" / path.stem)]
    for file in [*files, *(part for message in files[1:] for part in _names(storage / "part" / message.stem))]:
        try:
            status = file.stat()
        except FileNotFoundError:
            if file == path:
                raise
            continue
        digest.update(
            f"{file.name}\0{status.st_ino}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace")
        )
        size += status.st_size
        latest = max(latest, status.st_mtime)
    return Mark(digest.hexdigest(), size, latest)


def _load(path: Path, problems: Counter[str], max_bytes: int) -> dict[str, object] | None:
    """A file as an object; one that is half written counts as `not_json`, one that went away as nothing."""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (FileNotFoundError, IsADirectoryError):
        return None
    if len(content) > max_bytes:
        problems["too_long"] += 1
        return None
    return parse(content, problems)


def _names(folder: Path) -> list[Path]:
    """The JSON files of a folder by name: OpenCode's ids grow with time."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".json") and not entry.name.startswith(".")]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _order(message: Mapping[str, object]) -> tuple[float, str]:
    time = message.get("time")
    created = time.get("created") if isinstance(time, dict) else None
    known = isinstance(created, int | float) and not isinstance(created, bool)
    return (float(created) if known and created is not None else 0.0, str(message.get("id")))
