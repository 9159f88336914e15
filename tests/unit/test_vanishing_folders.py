"""What looks through folders that others make and remove meanwhile sees what stays, and does not stumble."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gtftd.rag.folder import bytes_in
from gtftd.town.codex import rollout_files
from gtftd.town.opencode_store import session_files

LOOKS = 300
STAYS = ("sessions/2026/rollout-stays.jsonl", "storage/session/stays/ses_stays.json")


@contextmanager
def coming_and_going(*folders: Path) -> Iterator[None]:
    """Folders in these appear and vanish until the block ends."""
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            for number in range(8):
                for folder in folders:
                    (folder / f"goes-{number}" / "deep").mkdir(parents=True)
            for number in range(8):
                for folder in folders:
                    shutil.rmtree(folder / f"goes-{number}")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("look", "sees"),
    [
        (lambda home: [bytes_in(home)], lambda _: [len(STAYS) * 7]),
        (lambda home: rollout_files([home]), lambda home: [home / STAYS[0]]),
        (session_files, lambda home: [home / STAYS[1]]),
    ],
    ids=["bytes_in", "rollout_files", "session_files"],
)
def test_a_folder_that_goes_while_it_is_looked_through_hides_nothing(
    tmp_path: Path, look: Callable[[Path], Iterable[object]], sees: Callable[[Path], list[object]]
) -> None:
    for name in STAYS:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"1234567")
    with coming_and_going(tmp_path / "sessions", tmp_path / "storage" / "session"):
        for _ in range(LOOKS):
            assert sees(tmp_path) == list(look(tmp_path))
