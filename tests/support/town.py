"""A sample town that lives, daemons that listen to it, and what they have in the end."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from gtftd.control.client import ControlClient
from gtftd.errors import GtftdError
from gtftd.sampletown import make_town
from gtftd.sampletown.truth import Truth, load_truth, truth_file
from gtftd.schemas.control import StatusResult
from gtftd.settings import find_socket
from gtftd.town import hooks
from gtftd.town.layout import load_town

DATABASES = ("hq", "harbor", "lantern")
CALM_S = 2.0
"""Longer than any source of QUICK needs to look again."""
ASK_S = 0.5
"""Between two questions that cost their answerer something: a daemon that is asked all the time does nothing else."""
QUICK = """
[beads]
poll_s = 0.8
timeout_s = 3
backoff_most_s = 1
[feed]
poll_s = 0.4
[spool]
rescan_s = 0.4
adopt_after_s = 1
[watch]
rescan_s = 2
[sweep]
every_s = 1.5
grace_s = 5
quiet_s = {quiet_s}
[collection]
settle_s = 2
[commits]
poll_s = 0.8
"""
WITHOUT_INDEX = """
[rag]
enabled = false
"""


def until(condition: Callable[[], Any], what: str, *, within_s: float = 180, every_s: float = 0.05) -> Any:
    """The first true answer; the limit only ends a broken test, on however busy a machine."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(every_s)
    return value


class SampleTown:
    """In a folder of its own, with a home of its own; nothing of the machine's user is touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "town"
        self._player: subprocess.Popen[bytes] | None = None
        (folder / "home").mkdir(parents=True)
        make_town(self.root)

    @property
    def environ(self) -> dict[str, str]:
        mine = ("GT_", "GTFTD_", "XDG_", "CLAUDE_", "BD_", "COV_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
        return kept | {"HOME": str(self.folder / "home"), "CLAUDE_CONFIG_DIR": str(self.root / ".claude-config")}

    def install_hooks(self, state_dir: Path) -> None:
        changes = hooks.install(load_town(self.root), state_dir)
        assert all(change.ok for change in changes)

    def play(self, speed: float | None, *, seed: int = 1) -> None:
        """Start to live a day; its beads are served until `stop`."""
        pace = ["--no-pace"] if speed is None else ["--speed", str(speed)]
        command = [sys.executable, "-P", "-m", "gtftd.programs.player", str(self.root), "--stay"]
        with (self.folder / "player.out").open("wb") as out:
            self._player = subprocess.Popen(
                [*command, *pace, "--seed", str(seed)], stdout=out, stderr=out, env=self.environ, cwd=self.folder
            )
        until(lambda: b"player.ready" in (self.folder / "player.out").read_bytes(), "the player serves")

    def add_stray(self) -> Path:
        """A session of the mayor that no hook and no feed told of; its transcript."""
        session, at = str(uuid.uuid4()), datetime.now(UTC).isoformat().replace("+00:00", "Z")
        common = {"sessionId": session, "cwd": str(self.root / "mayor"), "timestamp": at, "isSidechain": False}
        said: list[tuple[str, dict[str, Any]]] = [
            ("user", {"role": "user", "content": "Is the harbour quiet?"}),
            ("assistant", {"role": "assistant", "model": "m", "content": [{"type": "text", "text": "It is."}]}),
        ]
        lines = [
            {**common, "type": kind, "uuid": f"u{number}", "parentUuid": None, "message": message}
            for number, (kind, message) in enumerate(said)
        ]
        folder = self.root / ".claude-config" / "projects" / "-stray"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{session}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    def stop(self) -> None:
        if self._player is not None:
            self._player.terminate()
            self._player.wait(120)
            self._player = None

    @property
    def truth(self) -> Truth:
        return load_truth(truth_file(self.root))

    @property
    def day_is_over(self) -> bool:
        assert self._player is None or self._player.poll() is None, (self.folder / "player.out").read_text()
        return self.truth.complete


@dataclass
class Life:
    """From the start of a process to the moment at which its end was noticed, in Unix seconds."""

    began: float
    ended: float = math.inf


class Daemon:
    """One gtftd on one state directory, started and ended as often as a test likes."""

    def __init__(
        self, town: SampleTown, state_dir: Path, *, quiet_s: float = 6.0, config: str = "", index: bool = False
    ) -> None:
        self.town = town
        self.state_dir = state_dir
        self.process: subprocess.Popen[bytes] | None = None
        self.lives: list[Life] = []
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._config = town.folder / f"{state_dir.name}.toml"
        self._config.write_text(QUICK.format(quiet_s=quiet_s) + ("" if index else WITHOUT_INDEX) + config)
        self._output = town.folder / f"{state_dir.name}.out"

    @property
    def command(self) -> list[str]:
        program = [sys.executable, "-P", "-m", "gtftd.programs.daemon", "--no-console"]
        where = ["--town", str(self.town.root), "--state-dir", str(self.state_dir), "--config", str(self._config)]
        return [*program, *where]

    def start(self, *, crash_at: str = "", env: Mapping[str, str] | None = None) -> None:
        more = {"GTFTD_CRASH_AT": crash_at} if crash_at else {}
        self.lives.append(Life(time.time()))
        with self._output.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdout=out, stderr=out, env=self.town.environ | more | dict(env or {})
            )

    def start_ready(self) -> None:
        self.start()
        until(self.is_ready, "the daemon is ready")

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}: {self.told()}"
        return self.listens()

    def listens(self) -> bool:
        """It has started; False too when it is gone."""
        status = self.status()
        return status is not None and status.state != "starting"

    def kill(self) -> None:
        """SIGKILL; its nats-server lives on, as after an out-of-memory kill."""
        assert self.process is not None
        self.process.kill()
        self.wait_for_end()

    def stop(self) -> int:
        """SIGTERM, and how it ended."""
        assert self.process is not None
        self.process.terminate()
        return self.wait_for_end()

    def wait_for_end(self) -> int:
        """How it ended."""
        assert self.process is not None
        code = self.process.wait(120)
        self.lives[-1].ended = min(self.lives[-1].ended, time.time())
        return code

    def end(self) -> None:
        """Whatever it does: nothing of it is left."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for server in self.servers():
            server.kill()
            server.wait()

    def servers(self) -> list[psutil.Process]:
        """Living nats-servers with this state directory's configuration."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if str(self.state_dir / "bus" / "server.conf") in (process.info["cmdline"] or []):
                found.append(process)
        return found

    def told(self) -> str:
        return self._output.read_text(errors="replace")[-2000:]

    def call(self, verb: str, /, **params: object) -> Any:
        return ControlClient(find_socket(self.state_dir), timeout_s=10).call(verb, **params)

    def collect_documents(self) -> None:
        """What no event tells: beads that stay open, and texts that are no instructions. By itself it does so daily."""
        client = ControlClient(find_socket(self.state_dir), timeout_s=10)
        for verb in ("corpus.artifacts", "corpus.interactions", "corpus.operational"):
            *_, last = client.stream(verb)
            assert last["finished"], last

    def status(self) -> StatusResult | None:
        """None while it does not answer."""
        try:
            return StatusResult.model_validate(self.call("status"))
        except GtftdError:
            return None

    def degraded(self) -> dict[str, str]:
        """Names of degraded states by component."""
        status = self.status()
        health = status.health if status else ()
        return {one.component: one.name for one in health if one.state == "degraded"}

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.state_dir / 'state.db'}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def wait_until_warm(self) -> None:
        """It has seen the beads once: what happened before is history, and not told."""
        seen = "SELECT count(*) FROM cursors WHERE name LIKE 'beads:%'"
        until(lambda: self.sql(seen)[0][0] == len(DATABASES), "the poller has seen every database")

    def is_caught_up(self) -> bool:
        """It runs, and knows of nothing that is left to do."""
        (left,) = self.sql("SELECT count(*) FROM reactions WHERE state IN ('running', 'waiting')")[0]
        if left:
            return False
        status = self.status()
        if status is None or status.state != "running" or not status.bus.connected:
            return False
        waiting = status.outbox + status.spool_pending
        waiting += sum(one.pending + one.running for one in status.reactions)
        return waiting == 0

    def wait_until_calm(self, *, within_s: float = 300) -> None:
        """Caught up, and nothing new for longer than any source takes to look again."""
        calm = Calm(self)
        until(calm.is_there, f"{self.state_dir.name} is calm", within_s=within_s, every_s=ASK_S)

    def wait_for_the_day(self, *, within_s: float = 300) -> None:
        """The day is over, every session that it had is known and has ended, and the daemon is calm."""
        until(lambda: self.town.day_is_over, "the day is over", within_s=within_s, every_s=ASK_S)
        sessions = len(self.town.truth.sessions)
        ended = "SELECT count(ended_at), count(*) - count(ended_at) FROM sessions_seen"
        until(
            lambda: (told := self.sql(ended)[0])[0] >= sessions and not told[1],
            f"all {sessions} sessions are known and have ended",
            within_s=within_s,
            every_s=ASK_S,
        )
        self.wait_until_calm(within_s=within_s)


class Calm:
    """Whether a daemon has had nothing to do for CALM_S."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._seen: object = None
        self._since = 0.0

    def is_there(self) -> bool:
        now = self._daemon.sql("SELECT count(*), max(updated_at) FROM reactions") if self._caught_up() else None
        if now is None or now != self._seen:
            self._seen, self._since = now, time.monotonic()
        return now is not None and time.monotonic() - self._since >= CALM_S

    def _caught_up(self) -> bool:
        return self._daemon.is_caught_up()


@dataclass(frozen=True)
class FinalState:
    """What a daemon has to show for a day."""

    entries: dict[str, str]
    """Entry id to content hash, as the rows say."""
    documents: dict[str, str]
    """Entries that are no session: of beads that nobody closes they say what was so at the last collection."""
    files: dict[str, str]
    """Name of each file below `objects` to the hash of what is in it."""
    per_close: dict[tuple[str, int, str], int]
    """How many entries each (bead, episode, session) has."""
    closes: frozenset[tuple[str, str, int]]
    parked: int

    def without(self, entries: Collection[str]) -> FinalState:
        """But for the contents of these entries; that there are entries of these ids counts."""
        gone = {f"{self.entries[id_]}.json" for id_ in entries}
        kept = {id_: "" if id_ in entries else sha256 for id_, sha256 in self.entries.items()}
        return replace(self, entries=kept, files={name: sum_ for name, sum_ in self.files.items() if name not in gone})


def final_state(state_dir: Path) -> FinalState:
    """Read from the files alone; works while the daemon runs, and after it."""
    connection = sqlite3.connect(f"file:{state_dir / 'state.db'}?mode=ro", uri=True)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        entries = dict(connection.execute("SELECT entry_id, sha256 FROM entries WHERE kind = 'session'"))
        documents = dict(connection.execute("SELECT entry_id, sha256 FROM entries WHERE kind <> 'session'"))
        counts = connection.execute(
            "SELECT bead, episode, session_id, count(*) FROM entries"
            " WHERE bead IS NOT NULL AND kind = 'session' GROUP BY 1, 2, 3"
        )
        per_close = {(bead, episode, session): count for bead, episode, session, count in counts}
        closes = frozenset(connection.execute("SELECT database, bead, episode FROM closes").fetchall())
        (parked,) = connection.execute("SELECT count(*) FROM parked").fetchone()
    finally:
        connection.close()
    objects = state_dir / "entries" / "objects"
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in objects.glob("*/*")}
    return FinalState(entries, documents, files, per_close, closes, parked)


def check_whole(state: FinalState) -> None:
    """Every row has its file, every file its row, and every file the content that its name says."""
    told = [*state.entries.values(), *state.documents.values()]
    assert {f"{sha256}.json": sha256 for sha256 in told} == state.files


def read_entries(state_dir: Path) -> dict[str, dict[str, Any]]:
    rows = final_state(state_dir).entries
    objects = state_dir / "entries" / "objects"
    return {id_: json.loads((objects / sha[:2] / f"{sha}.json").read_bytes()) for id_, sha in rows.items()}


def differences(one: Path, other: Path, *, allowed: Mapping[str, Collection[str]] | None = None) -> list[str]:
    """Which entries and which of their fields differ, for the message of a failed test; `allowed`: fields by entry."""
    ours, theirs = read_entries(one), read_entries(other)
    found = [f"only in {one.name}: {_told(ours[id_])}" for id_ in ours.keys() - theirs.keys()]
    found += [f"only in {other.name}: {_told(theirs[id_])}" for id_ in theirs.keys() - ours.keys()]
    for id_ in sorted(ours.keys() & theirs.keys()):
        a, b = ours[id_], theirs[id_]
        names = sorted((a.keys() | b.keys()).difference((allowed or {}).get(id_, ())))
        fields = [name for name in names if a.get(name) != b.get(name)]
        if fields:
            said = [f"{name}: {str(a.get(name))[:1600]!r} / {str(b.get(name))[:1600]!r}" for name in fields]
            found.append(f"{_told(a)} differs in {'; '.join(said)}")
    return found


def _told(entry: Mapping[str, Any]) -> str:
    names = ("role", "actor", "bead", "episode", "session_id", "cut")
    return " ".join(f"{name}={entry.get(name)}" for name in names) + f" messages={len(entry['messages'])}"


def share_scrub_key(*state_dirs: Path) -> None:
    """The same placeholders on both sides, so that contents can be compared."""
    key = secrets.token_bytes(32)
    for state_dir in state_dirs:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        (state_dir / "scrub.key").write_bytes(key)


def hooks_running(state_dir: Path) -> list[int]:
    """Process ids of the hooks of this state directory that run just now."""
    script = os.fsencode(hooks.script_path(state_dir))
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:2] == [script]:
                found.append(int(entry.name))
    return found


def kill_process(pid: int) -> bool:
    """False when it was gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
