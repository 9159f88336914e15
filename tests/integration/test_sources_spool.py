"""The reader of the hook spool, on real files, with poison among them and kills between."""

from __future__ import annotations

import asyncio
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gtftd.schemas.event import Envelope, event_id
from gtftd.schemas.settings import SpoolSettings
from gtftd.schemas.town import BeadClosed, TurnEnded
from gtftd.sources.spool import SpoolSource
from gtftd.sources.surroundings import Surroundings
from gtftd.town.spool import Spool
from tests.support.source_child import kill_at, spool_source
from tests.support.sources import facts, fill_disk, free_disk, make_town, opened, running, until, value


@pytest.fixture
def town(tmp_path: Path) -> Path:
    return make_town(tmp_path / "town")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool")
    made.ensure()
    return made


def hook_file(name: str, kind: str = "claude", head: str = "GT_ROLE=mayor", payload: bytes | None = None) -> bytes:
    if payload is None:
        payload = json.dumps({"session_id": name, "hook_event_name": "Stop"}).encode()
    return f"gtftd-hook 1 {kind} {name}\n{head}\n\n".encode() + payload + f"\n# end {name}\n".encode()


def drop(spool: Spool, name: str, content: bytes) -> Path:
    """As a hook does it: whole in tmp, then renamed."""
    (spool.tmp / name).write_bytes(content)
    return (spool.tmp / name).rename(spool.new / name)


def source(around: Surroundings, spool: Spool, woken: list[str] | None = None, **limits: float) -> SpoolSource:
    async def forgettable(session_id: str) -> bool:
        return session_id == "forgettable"

    return SpoolSource(
        around,
        SpoolSettings.model_validate(limits),
        spool,
        on_beads_touched=lambda beads: woken.extend(beads) if woken is not None else None,
        may_forget=forgettable,
    )


async def sessions(around: Surroundings) -> list[str]:
    return [envelope.data["session_id"] for envelope in await facts(around)]


async def test_a_file_becomes_a_fact_and_goes(town: Path, tmp_path: Path, spool: Spool) -> None:
    """Its id comes from its name; a bead that was touched wakes the poller."""
    woken: list[str] = []
    with opened(tmp_path, town) as around:
        async with running(source(around, spool, woken, rescan_s=60)):
            await asyncio.sleep(0.1)
            drop(spool, "s-1", hook_file("s-1"))
            drop(spool, "b-1", hook_file("b-1", "bead", "ARG=gt-1\nARG=close", b""))
            found = await until(around, lambda found: len(found) == 2)
            async with asyncio.timeout(5):
                while spool.pending():
                    await asyncio.sleep(0.01)
        assert {event_id("spool", "s-1"), event_id("spool", "b-1")} == {one.id for one in found}
        assert {"gtftd.turn.ended.v1", "gtftd.bead.touched.v1"} == {one.type for one in found}
        assert ["gt-1"] == woken
        assert 2 == value(around.metrics, "gtftd_source_facts_total", source="spool")


def refuse(*_: object, **__: object) -> None:
    raise OSError("OS file watch limit reached")


@pytest.mark.parametrize("refused", ["gtftd.sources.doorbell.fcntl.fcntl", "gtftd.sources.waker.awatch"])
async def test_either_notification_is_enough(
    town: Path, tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """A hook's rename wakes the source long before it looks by itself: by dnotify, else by watchfiles."""
    monkeypatch.setattr(refused, refuse)
    with opened(tmp_path, town) as around:
        async with running(source(around, spool, rescan_s=3600)):
            for number in range(3):
                drop(spool, f"s-{number}", hook_file(f"s-{number}"))
                await until(around, lambda found, enough=number + 1: len(found) == enough)  # type: ignore[misc]
                await asyncio.sleep(0.05)


async def test_without_notifications_the_spool_is_scanned(
    town: Path, tmp_path: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be neither dnotify nor inotify; and the spool may be removed and made anew."""
    monkeypatch.setattr("gtftd.sources.doorbell.fcntl.fcntl", refuse)
    monkeypatch.setattr("gtftd.sources.waker.awatch", refuse)
    with opened(tmp_path, town) as around:
        async with running(source(around, spool, rescan_s=0.02)):
            await asyncio.sleep(0.05)
            spool.new.rmdir()
            spool.ensure()
            drop(spool, "s-1", hook_file("s-1"))
            await until(around, lambda found: len(found) == 1)


async def test_a_spool_made_anew_is_watched_again(town: Path, tmp_path: Path, spool: Spool) -> None:
    """The watch lies on the folder, not on its name: the rescan notices."""
    with opened(tmp_path, town) as around:
        async with running(source(around, spool, rescan_s=0.05)):
            await asyncio.sleep(0.1)
            spool.new.rename(spool.root / "old")
            await asyncio.sleep(0.2)
            drop(spool, "s-1", hook_file("s-1"))
            await until(around, lambda found: len(found) == 1)


async def test_a_thousand_files_come_oldest_first(town: Path, tmp_path: Path, spool: Spool) -> None:
    """After a night with the daemon down."""
    names = [f"s-{(n * 7919) % 1000}" for n in range(1000)]
    for age, name in enumerate(names):
        path = drop(spool, name, hook_file(name))
        os.utime(path, ns=(0, 1_700_000_000_000_000_000 + age))
    with opened(tmp_path, town) as around:
        assert 1000 == await source(around, spool).step()
        assert names == await sessions(around)
        assert [] == spool.pending()


async def test_poison_is_parked_with_its_reason_and_hurts_no_neighbour(
    town: Path, tmp_path: Path, spool: Spool
) -> None:
    """Never tried again by itself."""
    deep = b'{"session_id":"x","hook_event_name":' + b"[" * 10_000
    poison = {
        "torn": hook_file("torn")[:-5],
        "foreign": b"hello",
        "empty": b"",
        "nul": b"\0" * 5000,
        "future": hook_file("future").replace(b"hook 1", b"hook 9"),
        "deep": hook_file("deep", payload=deep),
        "text": hook_file("text", payload=b"\xff\xfe\0"),
        "list": hook_file("list", payload=b"[]"),
        "surrogate": hook_file("surrogate", payload=b'{"session_id":"\\ud800","hook_event_name":"Stop"}'),
        "no-session": hook_file("no-session", payload=b'{"hook_event_name":"Stop"}'),
        "huge": hook_file("huge", payload=b"x" * 3_000_000),
        "no-envelope": hook_file("no-envelope", "emit", payload=b"{}"),
        "deep-envelope": hook_file("deep-envelope", "emit", payload=b"[" * 100_000),
        "fact": hook_file("fact", "emit", payload=_envelope("gtftd.entry.stored.v1", {})),
        "later": hook_file("later", "emit", payload=_envelope("gtftd.bead.closed.v2", {})),
        "bad-data": hook_file("bad-data", "emit", payload=_envelope("gtftd.turn.ended.v1", {"x": 1})),
    }
    for number, (name, content) in enumerate(poison.items()):
        drop(spool, f"good-{number}", hook_file(f"good-{number}"))
        drop(spool, name, content)
    (spool.new / "folder").mkdir()
    (spool.new / "link").symlink_to("/etc/passwd")
    os.mkfifo(spool.new / "pipe")
    with opened(tmp_path, town) as around:
        assert len(poison) == await source(around, spool).step()
        assert [f"good-{number}" for number in range(len(poison))] == await sessions(around)
        parked = {*poison, "folder", "link", "pipe"}
        assert parked | {f"{name}.reason" for name in parked} == {path.name for path in spool.parked.iterdir()}
        assert all((spool.parked / f"{name}.reason").read_text().strip() for name in parked)
        assert len(parked) == value(around.metrics, "gtftd_spool_parked_total")
        assert [] == spool.pending()
        assert 0 == await source(around, spool).step()


def _envelope(kind: str, data: dict[str, object]) -> bytes:
    said = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "me",
        "type": kind,
        "time": "2026-01-18T09:52:29Z",
        "data": data,
    }
    return json.dumps(said).encode()


async def test_an_emitted_envelope_keeps_its_identity(town: Path, tmp_path: Path, spool: Spool) -> None:
    """Id, time, source and cause are those of whoever emitted it."""
    at = datetime(2026, 1, 18, tzinfo=UTC)
    closed = BeadClosed(at=at, seen_by="emit", database="hq", bead="hq-1")
    envelope = Envelope.wrap(closed, id="mine", source="elsewhere", time=at, cause="because")
    spool.put_event(envelope.encode())
    with opened(tmp_path, town) as around:
        await source(around, spool).step()
        assert [envelope] == await facts(around)
        assert ["gtftd.town.bead.closed"] == [row.subject for row in await around.outbox.head()]


async def test_the_files_of_dead_hooks_are_adopted(town: Path, tmp_path: Path, spool: Spool) -> None:
    """A whole file is taken after a while; a torn one is removed after an hour."""
    now = time.time()
    for name, content in (("whole", hook_file("whole")), ("torn", hook_file("torn")[:40])):
        (spool.tmp / name).write_bytes(content)
    with opened(tmp_path, town, lambda: now) as around:
        reader = source(around, spool, adopt_after_s=30, rescan_s=0.02)
        async with running(reader):
            await asyncio.sleep(0.1)
            assert [] == await facts(around)
            now += 31
            await until(around, lambda found: len(found) == 1)
            assert ["torn"] == [path.name for path in spool.tmp.iterdir()]
            now += 7200
            async with asyncio.timeout(5):
                while list(spool.tmp.iterdir()):
                    await asyncio.sleep(0.01)
        assert ["whole"] == await sessions(around)


async def test_old_transcripts_go_when_nobody_needs_them(town: Path, tmp_path: Path, spool: Spool) -> None:
    """Age alone is no reason."""
    old = time.time() - 20 * 86_400
    for name, age in (("forgettable", old), ("needed", old), ("forgettable-too", time.time())):
        path = spool.transcripts / f"{name}.jsonl"
        path.write_text("{}")
        os.utime(path, (age, age))
    with opened(tmp_path, town) as around:
        async with running(source(around, spool)):
            async with asyncio.timeout(5):
                while len(list(spool.transcripts.iterdir())) == 3:
                    await asyncio.sleep(0.01)
    assert {"needed.jsonl", "forgettable-too.jsonl"} == {path.name for path in spool.transcripts.iterdir()}


@pytest.mark.parametrize("point", ["spool.read", "spool.committed", "spool.committed:2", "database.before_commit"])
async def test_killed_anywhere_it_tells_each_file_once(town: Path, tmp_path: Path, spool: Spool, point: str) -> None:
    """Also when the facts of the first life were published before the next start."""
    names = [f"s-{number:03}" for number in range(300)]
    for age, name in enumerate(names):
        os.utime(drop(spool, name, hook_file(name)), ns=(0, 1_700_000_000_000_000_000 + age))
    assert kill_at(point, "spool", tmp_path, town)
    with opened(tmp_path, town) as around:
        before = await sessions(around)
        await around.outbox.remove(await around.outbox.head(100_000))
        await spool_source(around, tmp_path).step()
        assert names == before + await sessions(around)
        assert [] == spool.pending()


async def test_a_full_disk_keeps_the_files(town: Path, tmp_path: Path, spool: Spool) -> None:
    """They are facts as soon as there is room, without a restart."""
    at = datetime(2026, 1, 18, tzinfo=UTC)
    large = BeadClosed(at=at, seen_by="emit", database="hq", bead="hq-1", reason="x" * 500_000)
    spool.put_event(Envelope.wrap(large, id="large", source="me", time=at).encode())
    with opened(tmp_path, town) as around:
        await fill_disk(around)
        async with running(source(around, spool)):
            async with asyncio.timeout(5):
                while around.health.is_ok:
                    await asyncio.sleep(0.01)
            assert [("state", "disk.full")] == [(one.component, one.name) for one in around.health.board()]
            assert 1 == len(spool.pending())
            await free_disk(around)
            await until(around, lambda found: len(found) == 1)
            async with asyncio.timeout(5):
                while not around.health.is_ok or spool.pending():
                    await asyncio.sleep(0.01)


async def test_broken_lists_of_the_town_do_not_stop_the_spool(town: Path, tmp_path: Path, spool: Spool) -> None:
    """Gt may be writing rigs.json just now; the last that could be read serves."""
    with opened(tmp_path, town) as around:
        reader = source(around, spool)
        drop(spool, "s-1", hook_file("s-1"))
        await reader.step()
        (town / "mayor" / "rigs.json").write_text('{"rigs": {')
        drop(spool, "s-2", hook_file("s-2"))
        await reader.step()
        assert ["s-1", "s-2"] == await sessions(around)
        assert ["town.unreadable"] == [one.name for one in around.health.board()]


async def test_an_event_of_another_type_is_not_mistaken(town: Path, tmp_path: Path, spool: Spool) -> None:
    """The type in the envelope decides, whatever the data would also fit."""
    at = datetime(2026, 1, 18, tzinfo=UTC)
    ended = TurnEnded(at=at, seen_by="emit", session_id="s")
    envelope = Envelope.wrap(ended, id="mine", source="elsewhere", time=at)
    spool.put_event(envelope.model_copy(update={"type": "gtftd.session.ended.v1"}).encode())
    with opened(tmp_path, town) as around:
        await source(around, spool).step()
        assert ["gtftd.session.ended.v1"] == [one.type for one in await facts(around)]
