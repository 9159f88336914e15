"""A state file with records in it, and projectors on it one after another as after restarts."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtftd.health import Health
from gtftd.projection import TABLES, Comparison, Projector, connect, find_address
from gtftd.schemas.settings import ProjectionSettings, SettingsModel
from gtftd.state.database import Database
from gtftd.town.layout import Town

HASH = "a" * 64
AT = 1_770_000_000.123456
ARTIFACT = {"digest": HASH, "format": "safetensors", "size_bytes": 10, "signer": "me", "stored_at": AT}
MODEL: dict[str, Any] = {
    "kind": "role", "series": "mayor", "status": "registered", "base_model": "org/base", "base_digest": HASH,
    "tokenizer_sha256": HASH, "corpus_hash": "c", "artifact": HASH,
    "training_config": '{"lr": 0.0001, "it\'s": "\\\\"}',
    "gtftd_version": "0.3", "eval_score": 0.1 + 0.2, "trained_at": AT, "created_at": AT,
}  # fmt: skip
JOB: dict[str, Any] = {
    "series": "mayor", "kind": "role", "objective": "sft", "state": "training",
    "note": "Zeile\nzwei 🦀 100% \\ 'q' \x1b",
    "created_at": AT, "updated_at": AT,
}  # fmt: skip
PREFERENCE: dict[str, Any] = {
    "kind": "merge", "role": "polecat", "rig": "gastown", "bead": "gt-1", "snapshot": "s1", "chosen_sha256": HASH,
    "rejected_sha256": HASH, "weight": 0.5, "why": "merged", "created_at": AT,
}  # fmt: skip
ENTRY: dict[str, Any] = {
    "sha256": HASH, "role": "polecat", "episode": 0, "session_id": "s", "outcome": "merged", "confidence": 0.9,
    "messages": 4, "redactions": 0, "size_bytes": 100, "scrubber": "1", "started_at": AT, "stored_at": AT,
}  # fmt: skip


@dataclass
class Records:
    """A state directory; `settings` say where it is mirrored to."""

    folder: Path
    port: int
    changes: dict[str, Any] = field(default_factory=dict)
    health: Health = field(default_factory=Health)

    def __post_init__(self) -> None:
        (self.folder / "town" / "mayor").mkdir(parents=True, exist_ok=True)
        (self.folder / "town" / "mayor" / "town.json").write_text('{"type": "town", "version": 1, "name": "town"}')
        self.state.mkdir(exist_ok=True)
        self.database = Database.open(self.state / "state.db")
        self.town = Town(self.folder / "town")
        self.other = sqlite3.connect(self.state / "state.db", isolation_level=None, timeout=10)
        self.other.execute("PRAGMA synchronous = OFF")

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def settings(self) -> SettingsModel:
        quick = {"poll_s": 0.05, "gather_s": 0.05, "timeout_s": 20, "backoff_most_s": 0.1}
        return SettingsModel(projection=ProjectionSettings(**{"port": self.port, **quick, **self.changes}))

    def config(self) -> Path:
        file = self.folder / "config.toml"
        keys = {"port": self.port, **self.changes}
        lines = "\n".join(f"{key} = {str(value).lower()}" for key, value in keys.items())
        file.write_text(f"[projection]\n{lines}\n")
        return file

    def projector(self) -> Projector:
        return Projector(self.settings, lambda: self.town, self.database, self.health)

    def put(self, table: str, **columns: Any) -> None:
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        self.other.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(columns.values()))

    def model(self, version: int = 1, **changes: Any) -> str:
        self.other.execute(
            "INSERT OR IGNORE INTO artifacts (digest, format, size_bytes, signer, stored_at) VALUES (?, ?, ?, ?, ?)",
            list(ARTIFACT.values()),
        )
        name = f"mayor-v{version}"
        self.put("models", **{"name": name, "version": version, **MODEL, **changes})
        return name

    def one_of_each(self, number: int = 1) -> None:
        model = self.model(number)
        self.put("training_jobs", id=f"job-{number}", **JOB, model=model)
        self.put("preferences", id=f"pair-{number}", **PREFERENCE)
        self.put("entries", entry_id=f"entry-{number}", **ENTRY)

    def waiting(self) -> int:
        return int(self.other.execute("SELECT count(*) FROM records_journal").fetchone()[0])

    def condition(self) -> tuple[str, str]:
        return next(((one.state, one.name) for one in self.health.board() if one.component == "records"), ("", ""))

    async def create(self) -> list[str]:
        async with connect(find_address(self.settings, self.town)) as server, server.turn():
            return await server.create()

    async def differences(self) -> dict[str, tuple[list[str], list[str], list[str], int]]:
        """Of each table that is not the same: keys not there, not here, different; and how many wait."""
        async with connect(find_address(self.settings, self.town)) as server:
            await server.check_tables()
            found = await Comparison(self.database, server).run()
        assert [table.name for table in TABLES] == [one.table for one in found]
        return {
            one.table: (one.missing_there.keys, one.missing_here.keys, one.different.keys, one.waiting)
            for one in found
            if not one.is_same or one.waiting
        }

    def close(self) -> None:
        self.database.close()
        self.other.close()


_PROGRAM = """
from gtftd.ctl import app, main, records
if "records" not in [group.name for group in app.app.registered_groups]:
    app.app.add_typer(records.app, name="records")
main()
"""


def gtftctl(records: Records, *words: str) -> subprocess.CompletedProcess[str]:
    """`gtftctl records ...` as an operator types it, in a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("GT_", "GTFTD_", "XDG_"))}
    environ |= {"HOME": str(records.folder), "COLUMNS": "200", "TERM": "dumb"}
    where = ["--town", str(records.town.root), "--state-dir", str(records.state), "--config", str(records.config())]
    return subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM, "records", *words, *where],
        capture_output=True,
        check=False,
        text=True,
        env=environ,
        cwd=records.folder,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
