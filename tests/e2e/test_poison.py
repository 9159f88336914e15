"""What can never be understood is set aside by every source, and hurts no neighbour."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
from pathlib import Path

import nats
import psutil
import pytest

from gtftd.sampletown.database import folder_of, open_database
from gtftd.town.spool import Spool
from tests.support.survival import check_truth
from tests.support.town import DATABASES, Daemon, SampleTown, check_whole, final_state, read_entries, until

LINE_BYTES = 64 * 1024**2
POISON = {
    "truncated": b'{"session_id": "5e55", "hook_event_name": "Sto',
    "deep": b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "nul": b'{"session_id": "a\0b", "type": "session_start\0"}',
    "bad-utf8": b'{"session_id": "\xff\xfe", "hook_event_name": "\xc3"}',
    "future": b'{"specversion": "9.0", "type": "gtftd.bead.closed.v99", "id": "1", "data": {"bead": 7}}',
}
WEIRD = "nul \0, bell \a, escape \x1b[31m, right to left \u202e, lone \udcff".encode("utf-8", "ignore").decode()
MOST_BYTES = 512 * 1024**2
"""Of memory, for reading 64 MB lines from five sides; idle is far below."""


def add_to_spool(spool: Spool, when: str) -> int:
    """As files that are no spool files, and as payloads of whole ones; how many."""
    long = {"long": b'{"session_id": "' + b"x" * LINE_BYTES + b'"}'}
    count = 0
    for name, content in {**POISON, **long}.items():
        file = f"claude-{name}-{when}"
        framed = b"gtftd-hook 1 claude %b\nGT_ROLE=mayor\n\n%b\n# end %b\n" % (file.encode(), content, file.encode())
        for kind, text in (("raw", content), ("framed", framed), ("later", framed.replace(b"hook 1", b"hook 99"))):
            path = spool.tmp / (file if kind == "framed" else f"{file}-{kind}")
            path.write_bytes(text)
            path.rename(spool.new / path.name)
            count += 1
    return count


def add_to_feed(town: Path) -> None:
    with (town / ".events.jsonl.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (town / ".events.jsonl").open("ab") as feed:
            for content in (*POISON.values(), b'{"ts": "' + b"y" * LINE_BYTES + b'"}', b"", b"\xef\xbb\xbf{}"):
                feed.write(content + b"\n")


async def publish(state_dir: Path) -> int:
    """Straight to NATS, as somebody who has the publisher's password; how many."""
    access = json.loads((state_dir / "bus" / "publisher.json").read_text())
    client = await nats.connect(
        access["url"], user=access["user"], password=access["password"], inbox_prefix=b"_INBOX_publisher"
    )
    contents = [*POISON.values(), b"z" * 900_000, b""]
    for content in contents:
        await client.jetstream().publish("gtftd.town.bead.closed", content)
    await client.close()
    return len(contents)


def add_to_transcript(path: Path) -> None:
    """Between and behind the good lines of a session; whose it is must stand near its beginning."""
    first, second = path.read_bytes().splitlines()
    bad = [*POISON.values(), b'{"type": "user", "message": "' + b"w" * LINE_BYTES + b'"}']
    path.write_bytes(b"\n".join([first, *bad, second, *bad]) + b"\n")


def add_to_beads(town: Path) -> None:
    """Texts of every column that people write, and kinds of events that nobody knows."""
    for name in DATABASES:
        connection = open_database(folder_of(town), name)
        try:
            connection.execute("UPDATE issues SET description = ?, notes = ?", (WEIRD, "n" * 1_000_000))
            connection.execute("UPDATE issues SET title = ? WHERE status = 'closed'", (WEIRD,))
            connection.execute(
                "INSERT INTO events (id, issue_id, event_type, actor, old_value, new_value, comment, created_at)"
                " SELECT lower(hex(randomblob(16))), id, 'foreseen', ?, ?, ?, ?, datetime('now') FROM issues LIMIT 5",
                (WEIRD, "{" * 10_000, '{"status": ' * 2000, WEIRD),
            )
        finally:
            connection.close()


def add_to_settings(town: Path) -> None:
    """Files that are watched, and the list of rigs for a moment."""
    for number, content in enumerate(POISON.values()):
        (town / ".beads" / "formulas").mkdir(parents=True, exist_ok=True)
        (town / ".beads" / "formulas" / f"poison-{number}.formula.toml").write_bytes(content)
        (town / "settings").mkdir(exist_ok=True)
        (town / "settings" / "config.json").write_bytes(content)
    (town / "CLAUDE.md").write_bytes(b"\xff\0" * (LINE_BYTES // 2))


def break_rigs_json(daemon: Daemon) -> None:
    rigs = daemon.town.root / "mayor" / "rigs.json"
    good = rigs.read_bytes()
    for name in ("truncated", "deep", "nul", "bad-utf8"):
        rigs.write_bytes(POISON[name])
        until(lambda: daemon.degraded().get("town") == "town.unreadable", "broken lists are named")
    rigs.write_bytes(good)
    until(lambda: "town" not in daemon.degraded(), "mended lists are read")


def gtftctl(daemon: Daemon, *words: str) -> str:
    command = [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()", *words]
    where = ["--state-dir", str(daemon.state_dir)]
    told = subprocess.run([*command, *where], capture_output=True, text=True, check=False, env=daemon.town.environ)
    assert (0, "") == (told.returncode, told.stderr)
    return told.stdout


@pytest.mark.timeout(900)
def test_poison_from_every_side(tmp_path: Path) -> None:
    """Before, during and after a day: every close of it is collected all the same."""
    town = SampleTown(tmp_path / "day")
    daemon = Daemon(town, tmp_path / "day" / "state")
    town.install_hooks(daemon.state_dir)
    spool = Spool(daemon.state_dir / "spool")
    try:
        daemon.start_ready()
        assert daemon.process is not None
        process = psutil.Process(daemon.process.pid)
        spooled = add_to_spool(spool, "before")
        add_to_feed(town.root)
        published = asyncio.run(publish(daemon.state_dir))
        town.play(800)
        daemon.wait_until_warm()
        stray = town.add_stray()
        add_to_transcript(stray)
        spooled += add_to_spool(spool, "between")
        add_to_feed(town.root)
        published += asyncio.run(publish(daemon.state_dir))
        add_to_settings(town.root)
        until(lambda: town.day_is_over, "the day is over")
        break_rigs_json(daemon)
        add_to_beads(town.root)
        spooled += add_to_spool(spool, "after")
        daemon.wait_for_the_day()
        assert spooled == len([path for path in spool.parked.iterdir() if not path.name.endswith(".reason")])
        check_parked(daemon, published)
        check_whole(state := final_state(daemon.state_dir))
        check_truth(state, town.truth)
        (kept,) = [entry for entry in read_entries(daemon.state_dir).values() if entry["session_id"] == stray.stem]
        assert ["Is the harbour quiet?", "It is."] == [message["content"] for message in kept["messages"]]
        assert process.pid == daemon.process.pid
        peak = peak_bytes(process.pid)
        print(f"peak of the daemon: {peak // 1024**2} MiB")
        assert peak < MOST_BYTES
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.told()
    finally:
        town.stop()
        daemon.end()


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had resident."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    return peak


def check_parked(daemon: Daemon, published: int) -> None:
    """An operator sees what was parked and why, tries again, and gives it up."""
    listed = json.loads(gtftctl(daemon, "parked", "list", "--json"))
    reactions = {"collect_closed_bead", "tell_closed_bead"}
    assert (published * len(reactions), reactions) == (listed["total"], {row["reaction"] for row in listed["parked"]})
    first = str(listed["parked"][0]["id"])
    assert "gtftd.town.bead.closed" in gtftctl(daemon, "parked", "show", first)
    gtftctl(daemon, "parked", "retry", first)
    until(lambda: daemon.sql("SELECT count(*) FROM parked")[0][0] == listed["total"], "it is parked again")
    daemon.wait_until_calm()
    again = json.loads(gtftctl(daemon, "parked", "list", "--json"))
    assert listed["total"] == again["total"]
    before, after = ({(row["reaction"], row["key"]): row for row in one["parked"]} for one in (listed, again))
    assert (listed["total"], set(before)) == (len(before), set(after))
    tried = listed["parked"][0]
    assert [(tried["reaction"], tried["key"])] == [key for key, row in after.items() if row != before[key]]
    gtftctl(daemon, "parked", "drop", "--all")
    assert 0 == json.loads(gtftctl(daemon, "parked", "list", "--json"))["total"]
