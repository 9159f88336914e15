"""Planted secrets come in by every way that there is, and stand in no byte of what is kept, logged or printed."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from gtftd.sampletown.database import folder_of
from gtftd.sampletown.player import publish_port
from gtftd.sampletown.standin import StandIn
from tests.support.canaries import Aviary
from tests.support.canary_search import Find, Search
from tests.support.canary_town import CanaryTown
from tests.support.gtftctl import Gtftctl
from tests.support.town import ASK_S, Daemon, SampleTown, check_whole, final_state, until

UNREAD = (
    "thinking", "broken", "unknown field", "unread", "refused", "no spool file", "bad time", "escalation", "nudge",
    "mail bead", "commit", "notes", "directive", "town CLAUDE.md", "formula", "branch", "hook: ", "opencode: title",
)  # fmt: skip
"""Parts of the names of places of which nothing is kept, or which are written anew before anybody reads them."""


@dataclass
class Run:
    """A town full of canaries, what listens to it, and what every command printed."""

    there: CanaryTown
    daemon: Daemon
    printed: dict[str, bytes] = field(default_factory=dict)

    @property
    def birds(self) -> Aviary:
        return self.there.birds

    def command(self, *words: str | Path, code: tuple[int, ...] = (0,)) -> str:
        done = Gtftctl(self.daemon.state_dir)(*words)
        name = " ".join(str(word) for word in words)
        # What the caller typed, he knows: a name that an error repeats is cut out of it.
        said = done.stdout + done.stderr
        for word in words:
            said = said.replace(str(word), "")
        self.printed[f"{len(self.printed)}: {name}"] = said.encode()
        assert done.returncode in code, (name, done.stdout[-2000:], done.stderr[-2000:])
        assert 2 in code or not done.stderr, (name, done.stderr[-2000:])
        return done.stdout

    def files(self) -> list[Path]:
        """All but the spool, which is the one place for raw text."""
        root = self.daemon.state_dir
        found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        exports = list((root.parent / "exports").rglob("*.jsonl"))
        return [path for path in found if path.relative_to(root).parts[0] != "spool"] + exports

    def search(self, search: Search) -> list[Find]:
        found = search.in_files(self.files(), self.daemon.state_dir.parent)
        for name, content in self.printed.items():
            found += search.in_bytes(content, f"output of {name}")
        return found


@contextlib.contextmanager
def running(folder: Path, *, seed: int, size: int) -> Iterator[Run]:
    """A daemon that has seen everything there is to see."""
    town = SampleTown(folder)
    daemon = Daemon(town, folder / "state", config="[log]\nlevel = 'debug'\n", index=True)
    there = CanaryTown(town, daemon.state_dir, Aviary(seed), size)
    there.plant_files()
    town.install_hooks(daemon.state_dir)
    with StandIn(folder_of(town.root)) as standin:
        publish_port(town.root, standin.port)
        try:
            daemon.start_ready()
            daemon.wait_until_warm()
            there.live()
            wait_for_sessions(daemon, there)
            yield Run(there, daemon)
        finally:
            daemon.end()


def wait_for_sessions(daemon: Daemon, there: CanaryTown) -> None:
    ended = "SELECT count(ended_at), count(*) - count(ended_at) FROM sessions_seen"
    until(lambda: daemon.sql(ended)[0] == (there.sessions, 0), "every session is known and has ended", every_s=ASK_S)
    daemon.wait_until_calm()


def give_every_order(run: Run, *, heavy: bool) -> None:
    """Of several that do nearly the same, the quick run gives one."""
    exports = run.daemon.state_dir.parent / "exports"
    exports.mkdir()
    for words in (("collect", "--all"), ("artifacts",), ("operational",), ("interactions",), ("sweep",)):
        run.command("corpus", *words)
    for path in run.there.good:
        run.command("corpus", "add", path, "--role", "polecat")
    for path in run.there.refused[:: 1 if heavy else 3]:
        run.command("corpus", "add", path, "--role", "polecat", code=(1, 2))
    emit(run)
    run.command("corpus", "audit", "--all", code=(0, 1))
    snapshot = json.loads(run.command("corpus", "snapshot", "--json", code=(0, 1)))["id"]
    for format_ in ("chat", "pairs", "kto") if heavy else ("chat",):
        out = exports / f"{format_}.jsonl"
        run.command("corpus", "export", snapshot, "--format", format_, "--split", "all", "--out", out)
    look(run, snapshot, heavy=heavy)


def emit(run: Run) -> None:
    birds = run.birds
    run.command("emit", "bead.closed", "database=harbor", "bead=hb-em1", f"reason={birds.line('emit: reason')}")
    run.command("emit", "gt.logged", "type=x", "payload=" + json.dumps({"deep": [birds.text("emit: payload")]}))
    wrong = birds.word("emit: wrong field")
    run.command("emit", "bead.updated", f"status=[{wrong}", code=(1, 2))


def look(run: Run, snapshot: str, *, heavy: bool) -> None:
    """Everything that prints something of the corpus."""
    listed = json.loads(run.command("corpus", "list", "--all", "--json"))["entries"]
    kinds = sorted({row["kind"] for row in listed})
    for kind in kinds if heavy else kinds[-1:]:
        entry = next(row["entry_id"] for row in listed if row["kind"] == kind)
        run.command("corpus", "show", entry, "--full")
        run.command("corpus", "explain", entry)
    until(lambda: run.daemon.call("rag.status")["fed_at"], "the index was fed")
    for words in (("search", "-n", "200", "the"), ("explain", "--in", "beads", "hb-"), ("status",)):
        run.command("rag", *words)
    run.command("corpus", "review", "list")
    run.command("parked", "list")
    run.command("logs")
    if heavy:
        for words in (
            ("list", "--all"),
            ("stats",),
            ("stats", "--labels"),
            ("snapshots",),
            ("diff", snapshot, snapshot),
        ):
            run.command("corpus", *words)
        run.command("corpus", "export", snapshot, "--split", "all")
        run.command("status", "--json")
        run.command("health", code=(0, 1))


def told(run: Run, found: list[Find]) -> str:
    """Kind and place of everything that was found, and in which files."""
    canaries = run.birds.canaries
    lines = [
        f"  {canaries[find.owner].told}\n    in {find.file} as {find.form}, at {find.at}: {find.around!r}"
        for find in found
    ]
    owners = {find.owner for find in found}
    files = Counter(find.file.split("/objects/")[0] for find in found)
    summed = f"{len(owners)} of {len(canaries)} canaries; by place {dict(run.birds.by_place(owners))}; in {dict(files)}"
    return "\n".join([summed, *lines])


def check(run: Run) -> None:
    """Nothing is found after a kill, nor after an ordinary end; and the places were really read."""
    search = Search(run.birds.secrets)
    index = run.daemon.call("rag.status")["index"]["pid"]
    run.daemon.kill()
    until(lambda: not psutil.pid_exists(index), "the index has ended with its daemon")
    found = run.search(search)
    run.daemon.start_ready()
    run.daemon.wait_until_calm()
    assert run.daemon.stop() == 0
    found += run.search(search)
    assert not found, told(run, found)
    assert {"index.db", "chroma.sqlite3"} <= {path.name for path in run.files()}
    assert any(path.suffix == ".blk" for path in run.files())
    state = final_state(run.daemon.state_dir)
    check_whole(state)
    assert 0 == state.parked
    assert {} == unread(run)


def unread(run: Run) -> dict[str, str]:
    """Places that keep text, and kept less than half of the harmless words beside the secrets: some stand within."""
    content = b"\n".join(path.read_bytes() for path in run.files())
    planted, kept = Counter[str](), Counter[str]()
    for canary in run.birds.canaries:
        if canary.buoy and not any(part in canary.place for part in UNREAD):
            planted[canary.place] += 1
            kept[canary.place] += canary.buoy.encode() in content
    return {place: f"{kept[place]} of {count}" for place, count in planted.items() if 2 * kept[place] < count}


@pytest.mark.timeout(600)
def test_no_canary_is_kept(tmp_path: Path) -> None:
    """About 300 secrets, and the orders that an operator gives most."""
    with running(tmp_path / "town", seed=3, size=24) as run:
        give_every_order(run, heavy=False)
        check(run)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_no_canary_of_a_thousand_is_kept(tmp_path: Path) -> None:
    """And every order that prints or writes text."""
    with running(tmp_path / "town", seed=4, size=100) as run:
        give_every_order(run, heavy=True)
        assert len(run.birds.canaries) >= 1000
        check(run)
