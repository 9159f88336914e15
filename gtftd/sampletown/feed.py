"""Writes gt's event feed: appends under its lock, and the pruner that ignores the lock (gastown.md 2)."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

SECONDS = "%Y-%m-%dT%H:%M:%SZ"


class Feed:
    """`<town>/.events.jsonl`."""

    def __init__(self, town: Path, clock: Callable[[], datetime]) -> None:
        self._file = town / ".events.jsonl"
        self._lock = town / ".events.jsonl.lock"
        self._clock = clock

    def append(self, kind: str, actor: str, payload: Mapping[str, object] | None = None) -> None:
        """One line, under `flock` on the lock file, mode 0644, as gt does it."""
        line: dict[str, object] = {"ts": self._clock().astimezone(UTC).strftime(SECONDS), "source": "gt"}
        line |= {"type": kind, "actor": actor}
        if payload is not None:
            line["payload"] = dict(payload)
        line["visibility"] = "feed"
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
        lock = os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            target = os.open(self._file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
            try:
                os.write(target, text.encode())
            finally:
                os.close(target)
        finally:
            os.close(lock)

    def prune(self, kinds: frozenset[str]) -> int:
        """Drop the first half's lines of these kinds by temporary file and rename, without the lock; how many."""
        lines = [line + b"\n" for line in self._file.read_bytes().split(b"\n")[:-1]]
        half = len(lines) // 2
        kept = [line for index, line in enumerate(lines) if index >= half or _kind(line) not in kinds]
        aside = self._file.with_name(self._file.name + ".tmp")
        aside.write_bytes(b"".join(kept))
        aside.chmod(0o644)
        aside.rename(self._file)
        return len(lines) - len(kept)


def _kind(line: bytes) -> str:
    """Empty for a line that is none of gt's, which stays."""
    try:
        return str(json.loads(line)["type"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
