"""A town with a corpus, a snapshot and a base, in which `gtftctl train` has everything but torch."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gtftd.corpus.snapshot import build_snapshot
from gtftd.training.bases import BaseFile, BaseManifest, BaseSource, Named, Tokenizer, digest_of
from tests.support.jobs import CHILD
from tests.support.snapshots import entry, fill, settings

AT = datetime(2026, 11, 22, tzinfo=UTC)
GTFTCTL = """
from gtftd.ctl import main
from gtftd.ctl.app import app
from gtftd.ctl import train
if not any(group.name == "train" for group in app.registered_groups):
    app.add_typer(train.app, name="train")
main()
"""
PYTHON = """#!/bin/sh
# Stands where an interpreter with torch would: `-P -m gtftd.programs.train RUN`.
cp -n {behave} "$4/behave.json" 2>/dev/null
exec {python} {child} "$4"
"""


@dataclass
class TrainingDesk:
    """Everything lies in one folder, the home with its cache of bases too."""

    folder: Path

    @property
    def town(self) -> Path:
        return self.folder / "town"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GT_", "GTFTD_", "XDG_"))}
        return kept | {"HOME": str(self.folder), "COLUMNS": "200", "TERM": "dumb", "BD_ACTOR": "ann"}

    def command(self, *words: str | Path) -> list[str]:
        where = ["--town", self.town, "--state-dir", self.state, "--config", self.config]
        return [sys.executable, "-P", "-c", GTFTCTL, "train", *map(str, (*words, *where))]

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, env=self.environ, cwd=self.folder,
            stdin=subprocess.DEVNULL, check=False, timeout=60,
        )  # fmt: skip

    def well(self, *words: str | Path) -> str:
        told = self(*words)
        assert (0, "") == (told.returncode, told.stderr), (told, self.logs())
        return told.stdout

    def json(self, *words: str | Path) -> Any:
        return json.loads(self.well(*words, "--json"))

    def behave(self, **how: Any) -> None:
        (self.folder / "behave.json").write_text(json.dumps(how))

    def run_folder(self, run: str) -> Path:
        return self.state / "runs" / run

    def logs(self) -> str:
        return "\n".join(file.read_text(errors="replace") for file in (self.state / "logs").glob("train.*"))


def training_desk(folder: Path) -> TrainingDesk:
    desk = TrainingDesk(folder)
    (desk.town / "mayor").mkdir(parents=True)
    (desk.town / "mayor/town.json").write_text(json.dumps({"type": "town", "version": 2, "name": "sample"}))
    (desk.town / "mayor/rigs.json").write_text(json.dumps({"version": 1, "rigs": {}}))
    desk.behave(steps=6, save_every=3)
    python = folder / "python"
    python.write_text(PYTHON.format(python=sys.executable, child=CHILD, behave=folder / "behave.json"))
    python.chmod(0o700)
    desk.config.write_text(f'[training]\nbase = "tiny"\npython = "{python}"\nrestart_s = 0.01\nstop_s = 20\n')
    fill(desk.state, [entry(number) for number in range(24)])
    build_snapshot(
        desk.state,
        settings("gastown", source_cap=1, new_source_cap=1, test_fraction=0.3),
        role="polecat",
        rig="gastown",
    )
    add_base(desk, "tiny")
    return desk


def add_base(desk: TrainingDesk, name: str, content: bytes = b"{}") -> str:
    """A base as the store keeps it; nothing loads it. Its digest."""
    file = BaseFile(name="config.json", sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    digest = digest_of((file,))
    about = BaseManifest(
        family="llama", parameters=1, layers=1, hidden_size=1, middle_size=1, heads=1, key_heads=1, head_size=1,
        vocabulary=8, context=64, dtype="float32", tied=True, name=name, digest=digest,
        tokenizer=Tokenizer(
            sha256="b" * 64, highest_id=7, bos_id=None, eos_id=1, pad_id=2, end_of_turn_id=1, end_of_turn="<e>",
            roles=(),
        ),
        source=BaseSource(path="/nowhere", kind="folder"), added_at=AT, files=(file,),
    )  # fmt: skip
    folder = desk.folder / ".cache" / "gtftd" / "bases" / digest
    folder.mkdir(parents=True)
    (folder / "config.json").write_bytes(content)
    (folder / "base.json").write_text(about.model_dump_json())
    (desk.state / "bases").mkdir(exist_ok=True)
    (desk.state / "bases" / f"{name}.json").write_text(Named(digest=digest, source="/nowhere").model_dump_json())
    return digest
