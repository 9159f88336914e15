"""The tail of gt's feed, on real files that are appended to, cut, renamed and killed over."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gtftd.schemas.settings import FeedSettings
from gtftd.sources.feed import FeedSource
from gtftd.sources.surroundings import Surroundings
from tests.support.source_child import kill_at
from tests.support.sources import facts, fill_disk, free_disk, make_town, opened, running, until, value

NOW = datetime(2026, 1, 20, tzinfo=UTC).timestamp()


def line(number: int, ts: str = "2026-01-18T09:52:29Z", pad: str = "") -> bytes:
    said = {"ts": ts, "source": "gt", "type": "nudge", "actor": "mayor", "payload": {"n": number, "pad": pad}}
    return json.dumps(said).encode() + b"\n"


def clock() -> float:
    return NOW


async def told(around: Surroundings) -> list[int]:
    return [envelope.data["payload"]["n"] for envelope in await facts(around)]


async def drain(source: FeedSource) -> None:
    while await source.step():
        pass


@pytest.fixture
def town(tmp_path: Path) -> Path:
    return make_town(tmp_path / "town")


async def test_lines_come_in_order_as_they_are_written(town: Path, tmp_path: Path) -> None:
    """The running source follows a file that appears, grows, and ends in a half line."""
    feed = town / ".events.jsonl"
    with opened(tmp_path, town, clock) as around:
        async with running(FeedSource(around, FeedSettings(poll_s=5))):
            await asyncio.sleep(0.05)
            feed.write_bytes(line(1) + line(2))
            await until(around, lambda found: len(found) == 2)
            with feed.open("ab") as file:
                file.write(line(3) + line(4)[:20])
                file.flush()
                await until(around, lambda found: len(found) == 3)
                file.write(line(4)[20:])
            await until(around, lambda found: len(found) == 4)
        assert [1, 2, 3, 4] == await told(around)
        assert 4 == value(around.metrics, "gtftd_source_facts_total", source="feed")


async def test_without_notifications_the_feed_is_polled(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system may have no inotify, or no watches left."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr("gtftd.sources.waker.awatch", refuse)
    with opened(tmp_path, town, clock) as around:
        async with running(FeedSource(around, FeedSettings(poll_s=0.02))):
            await asyncio.sleep(0.05)
            (town / ".events.jsonl").write_bytes(line(1))
            await until(around, lambda found: len(found) == 1)


async def test_bad_lines_are_counted_and_hurt_no_neighbour(town: Path, tmp_path: Path) -> None:
    """Whatever stands between two good lines."""
    poison = [
        b"{half",
        b"[" * 10_000,
        b"\0" * 5000,
        b"\xff\xfe\xff",
        b'{"type":"x","ts":"yesterday"}',
        b"x" * 3_000_000,
        b"",
        b"[]",
    ]
    content = b"".join(line(n) + bad + b"\n" for n, bad in enumerate(poison)) + line(99)
    (town / ".events.jsonl").write_bytes(content)
    with opened(tmp_path, town, clock) as around:
        await drain(FeedSource(around, FeedSettings()))
        assert [*range(len(poison)), 99] == await told(around)
        counted = {
            kind: value(around.metrics, "gtftd_source_errors_total", source="feed", condition=f"line.{kind}")
            for kind in ("not_json", "nul", "not_utf8", "bad_ts", "too_long", "not_object")
        }
        assert {"not_json": 2, "nul": 1, "not_utf8": 1, "bad_ts": 1, "too_long": 1, "not_object": 1} == counted


async def test_an_endless_line_is_left_out_without_being_held(town: Path, tmp_path: Path) -> None:
    """64 MB without a newline, read by pieces while it grows, over a restart."""
    feed = town / ".events.jsonl"
    feed.write_bytes(line(1) + b"x" * 32_000_000)
    with opened(tmp_path, town, clock) as around:
        await drain(FeedSource(around, FeedSettings()))
        with feed.open("ab") as file:
            file.write(b"x" * 32_000_000 + b"\n" + line(2))
        await drain(FeedSource(around, FeedSettings()))
        assert [1, 2] == await told(around)


async def test_a_rewrite_by_rename_repeats_nothing(town: Path, tmp_path: Path) -> None:
    """The pruner of gt works the feed through a temporary file; what it drops before we read it, we still read."""
    feed = town / ".events.jsonl"
    feed.write_bytes(b"".join(line(n) for n in range(10)))
    with opened(tmp_path, town, clock) as around:
        source = FeedSource(around, FeedSettings())
        await drain(source)
        with feed.open("ab") as file:
            file.write(line(10))
        aside = town / ".events.jsonl.tmp"
        aside.write_bytes(b"".join(line(n) for n in range(5, 10)) + line(11))
        aside.rename(feed)
        await drain(source)
        assert list(range(12)) == await told(around)


async def test_a_file_cut_in_place_is_read_again(town: Path, tmp_path: Path) -> None:
    """Shorter, or as long as before with other bytes before our position; also when it was empty for a while."""
    feed = town / ".events.jsonl"
    feed.write_bytes(b"".join(line(n) for n in range(10)))
    with opened(tmp_path, town, clock) as around:
        source = FeedSource(around, FeedSettings())
        await drain(source)
        feed.write_bytes(line(9) + line(20))
        await drain(source)
        feed.write_bytes(b"")
        await drain(source)
        feed.write_bytes(b"".join(line(n) for n in range(30, 40)))
        await drain(source)
        assert [*range(10), 20, *range(30, 40)] == await told(around)


async def test_what_is_older_than_our_memory_is_not_told_again(town: Path, tmp_path: Path) -> None:
    """Two months later the file is rewritten, with its oldest lines still in it."""
    feed = town / ".events.jsonl"
    feed.write_bytes(line(1, ts="2025-06-01T00:00:00Z") + line(2))
    now = NOW
    with opened(tmp_path, town, lambda: now) as around:
        await drain(FeedSource(around, FeedSettings()))
        assert [1, 2] == await told(around)
        now = NOW + 60 * 86_400
        source = FeedSource(around, FeedSettings())
        await drain(source)
        aside = town / "aside"
        aside.write_bytes(feed.read_bytes() + line(3, ts="2026-03-20T00:00:00Z"))
        aside.rename(feed)
        await drain(source)
        assert [1, 2, 3] == await told(around)
        rows = await around.database.read(lambda c: c.execute("SELECT count(*) FROM told").fetchone()[0])
        assert 1 == rows


async def test_a_full_disk_stops_the_tail_until_there_is_room(town: Path, tmp_path: Path) -> None:
    """It keeps its position, says what is wrong, and goes on by itself."""
    (town / ".events.jsonl").write_bytes(b"".join(line(n, pad="x" * 50_000) for n in range(20)))
    with opened(tmp_path, town, clock) as around:
        await fill_disk(around)
        async with running(FeedSource(around, FeedSettings(poll_s=0.02))):
            async with asyncio.timeout(10):
                while around.health.is_ok:
                    await asyncio.sleep(0.01)
            assert [("state", "disk.full")] == [(one.component, one.name) for one in around.health.board()]
            await free_disk(around)
            await until(around, lambda found: len(found) == 20)
            async with asyncio.timeout(10):
                while not around.health.is_ok:
                    await asyncio.sleep(0.01)
        assert list(range(20)) == await told(around)


async def test_an_unreadable_feed_is_a_named_condition(town: Path, tmp_path: Path) -> None:
    """A folder where the file should be; it heals when the folder goes."""
    feed = town / ".events.jsonl"
    feed.mkdir()
    with opened(tmp_path, town, clock) as around:
        async with running(FeedSource(around, FeedSettings(poll_s=0.02))):
            async with asyncio.timeout(10):
                while around.health.is_ok:
                    await asyncio.sleep(0.01)
            assert ["feed.unreadable"] == [one.name for one in around.health.board()]
            feed.rmdir()
            feed.write_bytes(line(1))
            await until(around, lambda found: len(found) == 1)


@pytest.mark.parametrize("point", ["feed.read", "feed.committed", "feed.read:2", "database.before_commit:2"])
async def test_killed_anywhere_it_tells_each_line_once(town: Path, tmp_path: Path, point: str) -> None:
    """Also when the facts were published, and so left the outbox, before the next start."""
    (town / ".events.jsonl").write_bytes(b"".join(line(n, ts=_recent()) for n in range(1200)))
    assert kill_at(point, "feed", tmp_path, town)
    with opened(tmp_path, town) as around:
        before = await told(around)
        await around.outbox.remove(await around.outbox.head(100_000))
        await drain(FeedSource(around, FeedSettings()))
        assert list(range(1200)) == before + await told(around)


def _recent() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("half"), st.integers(1, 60)),
        st.tuples(st.just("cut"), st.integers(0, 8)),
        st.tuples(st.just("rename"), st.integers(0, 8)),
        st.tuples(st.just("remove"), st.just(0)),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=25,
)


class _Writer:
    """Does to a feed what gt and its pruner do, and keeps account of the whole lines in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[int] = []
        self.rest = b""
        self.written = 0

    def append(self, count: int) -> None:
        self._finish()
        for _ in range(count):
            self._add(self._next())
            self.lines.append(self.written)

    def half(self, length: int) -> None:
        self._finish()
        content = self._next()
        self._add(content[:length])
        self.rest = content[length:]

    def cut(self, drop: int) -> None:
        """Truncate and write again, in place."""
        self._finish()
        self.lines = self.lines[drop:]
        self.path.write_bytes(b"".join(self._line(n) for n in self.lines))

    def rename(self, drop: int) -> None:
        self._finish()
        self.lines = self.lines[drop:]
        aside = self.path.with_suffix(".tmp")
        aside.write_bytes(b"".join(self._line(n) for n in self.lines))
        aside.rename(self.path)

    def remove(self, _: int) -> None:
        self._finish()
        self.path.unlink(missing_ok=True)
        self.lines = []

    def _finish(self) -> None:
        if self.rest:
            self._add(self.rest)
            self.rest = b""
            self.lines.append(self.written)

    def _next(self) -> bytes:
        self.written += 1
        return self._line(self.written)

    @staticmethod
    def _line(number: int) -> bytes:
        return line(number, pad="é" * (number % 7))

    def _add(self, content: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(content)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_steps)
def test_every_line_that_could_be_read_is_told_exactly_once(steps: list[tuple[str, int]]) -> None:
    """Any order of appends, half writes, cuts, rewrites by rename, removals, reads and restarts."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live_through(Path(folder), steps))


async def _live_through(folder: Path, steps: list[tuple[str, int]]) -> None:
    town = make_town(folder / "town")
    writer = _Writer(town / ".events.jsonl")
    expected: set[int] = set()
    with opened(folder, town, clock) as around:
        source = FeedSource(around, FeedSettings())
        for name, number in [*steps, ("append", 1), ("read", 0)]:
            if name == "read":
                await drain(source)
                expected.update(writer.lines)
            elif name == "restart":
                source._tail.close()
                source = FeedSource(around, FeedSettings())
            else:
                getattr(writer, name)(number)
        source._tail.close()
        counted = Counter(await told(around))
    assert dict.fromkeys(expected, 1) == {number: counted[number] for number in expected}
    assert set(counted) <= set(range(1, writer.written + 1))
    assert set(counted.values()) == {1}
