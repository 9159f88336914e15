"""Registries on a disk of their own, and models to put in."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gtftd.registry.artifacts import ArtifactStore
from gtftd.registry.registry import Registry
from gtftd.registry.rows import FOLDER
from gtftd.registry.signing import Keys
from gtftd.schemas.registry import Candidate
from gtftd.state.outbox import Encoder

AT = datetime(2026, 11, 22, tzinfo=UTC)


class Clock:
    """Every look is a second later."""

    def __init__(self) -> None:
        self._now = AT

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


def registry_in(state: Path) -> Registry:
    state.mkdir(parents=True, exist_ok=True)
    store = ArtifactStore(state / FOLDER, Keys.open(state / "keys", ()))
    return Registry(state, store, Encoder(prefix="t", source="test", scrub=scrub), clock=Clock())


def scrub(value: object) -> object:
    """What a scrubber would do to one word."""
    return value.replace("hunter2", "<PASSWORD>") if isinstance(value, str) else value


def adapter(folder: Path, seed: int = 0) -> Path:
    """A LoRA adapter of one small tensor."""
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"a.lora_A.weight": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}).encode()
    header += b" " * (-len(header) % 8)
    data = bytes((seed + at) % 256 for at in range(64))
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "seed": seed}))
    return folder


def candidate(role: str = "deacon", **changed: object) -> Candidate:
    given: dict[str, object] = {
        "role": role,
        "base_model": "smollm2-135m",
        "base_digest": "a" * 64,
        "tokenizer_sha256": "b" * 64,
        "corpus_hash": "c" * 64,
        "lora_rank": 16,
        "trained_at": AT,
    }
    return Candidate.model_validate(given | changed)


def registered(registry: Registry, folder: Path, seed: int, role: str = "deacon", **changed: object) -> str:
    """A model that has passed its gate."""
    name = registry.register(adapter(folder / f"made-{role}-{seed}", seed), candidate(role, **changed), "test").name
    with registry.change("test") as changes:
        changes.move(name, "gated")
    return name


def facts(registry: Registry) -> list[dict[str, object]]:
    """What waits to be published, in order."""
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(registry.database)) as connection:
        rows = connection.execute("SELECT body FROM outbox ORDER BY seq").fetchall()
    return [{"type": (told := json.loads(row[0]))["type"].split(".", 1)[1], **told["data"]} for row in rows]
