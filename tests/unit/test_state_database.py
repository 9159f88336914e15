"""The state file: group commit, failures that stay alone, migrations, a full disk, a kill at each commit."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtftd.errors import Corrupt, NoSpace, Refused
from gtftd.state import Database, Ledger
from gtftd.state.database import GROUP, migrate, migrations, open_reader
from gtftd.state.ledger import Answer, Done
from tests.support.state import opened, rows
from tests.support.state_child import CLAIM, ROW, killed_at

COUNT = "SELECT count(*) FROM told"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def put(connection: sqlite3.Connection, name: object) -> object:
    connection.execute("INSERT INTO told (source, id, at) VALUES ('test', ?, 0)", (name,))
    return name


async def test_writes_that_wait_together_share_one_commit(file: Path) -> None:
    """While one transaction is held up, all others gather; each caller gets its own answer."""
    with opened(file) as database:
        held, go = threading.Event(), threading.Event()

        def hold(_connection: sqlite3.Connection) -> None:
            held.set()
            go.wait()

        commits: list[str] = []
        database._writer.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        first = asyncio.create_task(database.write(hold))
        await asyncio.to_thread(held.wait)
        others = [asyncio.create_task(database.write(lambda c, n=n: put(c, f"id-{n}"))) for n in range(100)]
        await asyncio.sleep(0)
        go.set()
        assert [f"id-{n}" for n in range(100)] == await asyncio.gather(*others)
        await first
        assert 2 == len(commits)
    assert [(100,)] == rows(file, COUNT)


async def test_more_than_a_group_is_split(file: Path) -> None:
    """Nothing is lost when more waits than one transaction takes."""
    with opened(file) as database:
        await asyncio.gather(*(database.write(lambda c, n=n: put(c, f"id-{n}")) for n in range(2 * GROUP + 3)))
    assert [(2 * GROUP + 3,)] == rows(file, COUNT)


async def test_a_piece_that_raises_is_undone_alone(file: Path) -> None:
    """A bug or a broken constraint reaches its caller; its neighbours in the same commit stay."""
    with opened(file) as database:

        def broken(connection: sqlite3.Connection) -> None:
            put(connection, "half")
            raise ValueError("a bug of the caller")

        pieces = [
            database.write(lambda c: put(c, "before")),
            database.write(broken),
            database.write(lambda c: put(c, None)),
            database.write(lambda c: c.execute("INSERT INTO nothing VALUES (1)", ("too", "many"))),
            database.write(lambda c: put(c, "after")),
        ]
        before, bug, null, _, after = await asyncio.gather(*pieces, return_exceptions=True)
        assert ("before", "after") == (before, after)
        assert isinstance(bug, ValueError)
        assert isinstance(null, sqlite3.IntegrityError)
    assert [("after",), ("before",)] == rows(file, "SELECT id FROM told ORDER BY id")


async def test_an_abandoned_write_is_still_committed(file: Path) -> None:
    """A cancelled caller does not take its piece back, and does not disturb the writer."""
    with opened(file) as database:
        task = asyncio.create_task(database.write(lambda c: put(c, "abandoned")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "next" == await database.write(lambda c: put(c, "next"))
    assert [(2,)] == rows(file, COUNT)


async def test_reads_see_what_was_written_and_cannot_write(file: Path) -> None:
    """The reader has a connection of its own, on which writing fails."""
    with opened(file) as database:
        await database.write(lambda c: put(c, "seen"))
        assert 1 == await database.read(lambda c: c.execute(COUNT).fetchone()[0])
        with pytest.raises(Corrupt, match="readonly"):
            await database.read(lambda c: put(c, "not so"))


async def test_closed_twice_and_refusing_afterwards(file: Path) -> None:
    """What was given before the close is committed; what comes later is refused by name."""
    database = Database.open(file)
    last = asyncio.create_task(database.write(lambda c: put(c, "last")))
    await asyncio.sleep(0)
    database.close()
    database.close()
    assert "last" == await last
    with pytest.raises(Refused, match=r"state\.db is closed"):
        await database.write(lambda c: put(c, "too late"))
    assert [("last",)] == rows(file, "SELECT id FROM told")


async def test_a_file_that_is_no_database_is_told_with_what_to_do(file: Path) -> None:
    """Garbage is never overwritten."""
    file.write_bytes(b"this is no database " * 500)
    with pytest.raises(Corrupt, match="integrity_check"):
        Database.open(file)
    assert file.read_bytes().startswith(b"this is no database")


async def test_migrations_bring_an_older_file_up_to_date_with_its_rows(file: Path) -> None:
    """A file of the first version keeps its rows; migrating again changes nothing."""
    [(number, script), *_] = migrations()
    connection = sqlite3.connect(file)
    connection.executescript(f"{script}; PRAGMA user_version = {number};")
    put(connection, "old")
    connection.commit()
    connection.close()
    newest = migrations()[-1][0]
    assert newest == migrate(file) == migrate(file)
    assert [("old",)] == rows(file, "SELECT id FROM told")
    assert [(newest,)] == rows(file, "PRAGMA user_version")
    tables = "SELECT name FROM sqlite_master ORDER BY name"
    fresh = file.with_name("fresh.db")
    migrate(fresh)
    assert rows(fresh, tables) == rows(file, tables)


async def test_a_file_from_the_future_is_refused_and_left_alone(file: Path) -> None:
    """An older program must not write what it does not understand."""
    migrate(file)
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Refused, match=r"version 99.*newer gtftd"):
        Database.open(file)
    assert [(99,)] == rows(file, "PRAGMA user_version")


def test_a_reader_beside_the_daemon_creates_nothing(file: Path) -> None:
    """A missing state file stays missing."""
    with pytest.raises(sqlite3.OperationalError):
        open_reader(file)
    assert not file.exists()


@pytest.mark.parametrize(
    ("point", "reactions", "outbox"),
    [
        ("database.before_commit:1", [], []),
        ("database.committed:1", [("running",)], []),
        ("database.before_commit:2", [("running",)], []),
        ("database.committed:2", [("done",)], [("fact-1",)]),
    ],
)
async def test_a_kill_at_a_commit_leaves_all_of_it_or_nothing(
    file: Path, point: str, reactions: list[tuple[str]], outbox: list[tuple[str]]
) -> None:
    """The next start sees whole transactions, takes over what was running, and ends in the same state."""
    assert killed_at(point, file)
    with opened(file) as database:
        assert reactions == rows(file, "SELECT state FROM reactions")
        assert outbox == rows(file, "SELECT id FROM outbox")
        ledger = Ledger(database, "boot-of-the-next")
        [answer] = await ledger.begin([CLAIM])
        if reactions == [("done",)]:
            assert Answer("done") == answer
        else:
            assert Answer("run", len(reactions) + 1) == answer
            await ledger.commit([Done(CLAIM, [ROW])])
    assert [("done",)] == rows(file, "SELECT state FROM reactions")
    assert [("fact-1",)] == rows(file, "SELECT id FROM outbox")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.root
async def test_a_full_disk_is_named_and_heals_without_a_restart(small_disk: Path) -> None:
    """What was committed stays, what was not is told as NoSpace, and writing goes on when there is room."""
    file, ballast = small_disk / "state.db", small_disk / "ballast"
    with opened(file) as database:
        await database.write(lambda c: put(c, "before"))
        with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        with pytest.raises(NoSpace, match=r"free some disk|look at the disk"):
            for number in range(1000):
                await database.write(lambda c, n=number: put(c, f"{n}" + "y" * 4000))
        kept = await database.read(lambda c: c.execute(COUNT).fetchone()[0])
        ballast.unlink()
        assert "after" == await database.write(lambda c: put(c, "after"))
    assert [(kept + 1,)] == rows(file, COUNT)
    assert [("ok",)] == rows(file, "PRAGMA integrity_check")
