"""The index process, and a small one that writes to an index to be killed (`python -m tests.support.rag_child`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from gtftd.control.client import ControlClient
from gtftd.errors import Unreachable
from gtftd.rag.index import Index
from gtftd.schemas.rag import IndexDocument, IndexStatus
from tests.support.rag_embedder import HashedWords

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PATIENCE_S = 60.0


class IndexProcess:
    """`gtftd.programs.index` as the daemon starts it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.process: subprocess.Popen[str] | None = None
        self._client = ControlClient(state / "run" / "index.sock", whom="the index", timeout_s=PATIENCE_S)

    def start(self) -> IndexStatus:
        """Returns how it is once it answers."""
        self.process = self.spawn()
        return IndexStatus.model_validate(wait_for(self._try_status))

    def spawn(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "gtftd.programs.index", str(self.state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, verb: str, **params: object) -> dict[str, Any]:
        return self._client.call(verb, **params)

    def put(self, *documents: IndexDocument) -> dict[str, Any]:
        return self.call("index.put", documents=[document.model_dump(mode="json") for document in documents])

    def found(self, text: str) -> list[str]:
        answer = self.call("index.search", text=text, everything=True)
        return [hit["document"] for hit in answer["hits"]]

    def status(self) -> IndexStatus:
        return IndexStatus.model_validate(self.call("index.status"))

    def wait_embedded(self) -> IndexStatus:
        def whole() -> IndexStatus | None:
            status = self.status()
            return status if status.model and not status.waiting else None

        return wait_for(whole)

    def end(self, number: int = signal.SIGKILL) -> int:
        """The exit code."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(number)
        code = process.wait(PATIENCE_S)
        for pipe in (process.stdin, process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def _try_status(self) -> dict[str, Any] | None:
        assert self.process is not None
        assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
        try:
            return self.call("index.status")
        except Unreachable:
            return None


def wait_for(work: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
    deadline = time.monotonic() + patience_s
    while (found := work()) is None:
        assert time.monotonic() < deadline, f"nothing came within {patience_s:g} s"
        time.sleep(0.02)
    return found


def note(number: int, *, version: int = 0) -> IndexDocument:
    """Each says a word that no other says."""
    return IndexDocument(
        id=f"file:note{number}.md",
        collection="docs",
        text=f"note uniqueword{number}x{version} and common words",
        updated_at=NOON + timedelta(minutes=version),
    )


def killed_at(point: str, folder: Path) -> bool:
    """Run the writer once; true when it passed the point and was killed there."""
    environment: Mapping[str, str] = os.environ | {"GTFTD_CRASH_AT": point}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.rag_child", str(folder)],
        cwd=REPOSITORY, env=environment, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


def write(folder: Path) -> None:
    """Put, change, remove, forget: each with its vectors."""
    index = Index.open(folder, HashedWords)
    index.put([note(number) for number in range(6)])
    index.wait_embedded()
    index.put([note(1, version=1), note(2, version=1)])
    index.wait_embedded()
    index.remove([note(3).id])
    index.remove([note(4).id], forget=True)
    index.wait_embedded()
    index.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
