"""A day of the sample town against the real daemon: what is stored is what happened, and no secret is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gtftd.sampletown.truth import Truth
from tests.support.town import Daemon, SampleTown, check_whole, final_state, read_entries

pytestmark = pytest.mark.timeout(600)
SPEED = 800.0
"""A day of eight hours in 15 seconds."""


@dataclass(frozen=True)
class Day:
    truth: Truth
    state_dir: Path
    entries: list[dict[str, Any]]

    def of_beads(self) -> dict[tuple[object, ...], list[dict[str, Any]]]:
        found: dict[tuple[object, ...], list[dict[str, Any]]] = {}
        for entry in self.entries:
            if entry.get("bead"):
                key = (entry["bead"], entry["episode"], entry["session_id"])
                found.setdefault(key, []).append(entry)
        return found


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """Hooks, feed and poller all tell; the same close comes from several of them."""
    folder = tmp_path_factory.mktemp("day")
    town = SampleTown(folder)
    daemon = Daemon(town, folder / "state", config="[log]\nlevel = 'debug'\n")
    town.install_hooks(daemon.state_dir)
    try:
        daemon.start_ready()
        town.play(SPEED, seed=11)
        daemon.wait_for_the_day()
        assert daemon.stop() == 0
        yield Day(town.truth, daemon.state_dir, list(read_entries(daemon.state_dir).values()))
    finally:
        daemon.end()
        town.stop()


def test_everybody_who_worked_on_a_bead_has_one_entry_of_it(day: Day) -> None:
    """With the label that fits what became of their part; administrative closes that nobody worked on have none."""
    wanted = {
        (bead.bead, episode.episode, work.session_id): work.outcome
        for bead in day.truth.beads.values()
        for episode in bead.episodes
        for work in episode.work
    }
    found = {key: entries[0]["outcome"]["label"] for key, entries in day.of_beads().items()}
    assert wanted == found
    assert {1} == {len(entries) for entries in day.of_beads().values()}


def test_sessions_without_a_bead_are_kept_once(day: Day) -> None:
    worked = {key[2] for key in day.of_beads()}
    whole = Counter(entry["session_id"] for entry in day.entries if not entry.get("bead"))
    for session in day.truth.sessions.values():
        if session.session_id not in worked:
            assert whole[session.session_id] == 1, session
        if session.role == "polecat":
            assert not (session.session_id in worked and whole[session.session_id])


def test_a_refinery_has_an_entry_for_each_merge_request(day: Day) -> None:
    requests = {bead.bead for bead in day.truth.beads.values() if bead.wisp}
    of_refineries = [entry for entry in day.entries if entry["role"] == "refinery" and entry.get("bead")]
    assert requests
    assert requests == {entry["bead"] for entry in of_refineries}
    assert {"merged", "completed"} == {entry["outcome"]["label"] for entry in of_refineries}


def test_entries_say_whose_work_it_was(day: Day) -> None:
    for entry in day.entries:
        session = day.truth.sessions[str(entry["session_id"])]
        assert (session.role, session.rig, session.actor) == (entry["role"], entry.get("rig"), entry["actor"])
        assert "claude-code" == entry["source"]
        assert str(entry["model"]).startswith("claude-")
        assert "claude" == entry["agent"]


def test_a_span_holds_its_own_work_alone(day: Day) -> None:
    """Two beads in one session: neither's entry holds the other's commit."""
    titles = {bead.bead: bead.title for bead in day.truth.beads.values()}
    for (bead, _, session), entries in day.of_beads().items():
        calls = [
            call["arguments"].get("command", "")
            for message in entries[0]["messages"]
            for call in message.get("tool_calls", ())
        ]
        commits = [command for command in calls if "git commit" in command]
        assert all(f"({bead})" in command for command in commits), (titles[str(bead)], session, commits)


def test_no_secret_left_the_spool(day: Day) -> None:
    """Every byte under the state directory: entries, state.db with its log, JetStream, logs."""
    files = [path for path in day.state_dir.rglob("*") if path.is_file() and not path.is_symlink()]
    kept = {path: path.read_bytes() for path in files if "spool" not in path.relative_to(day.state_dir).parts}
    assert any(path.suffix == ".blk" for path in kept)
    assert len(day.truth.secrets) > 40
    for plant in day.truth.secrets:
        secret = plant.text.encode()
        assert not [path for path, content in kept.items() if secret in content], plant.kind
    assert sum(sum(entry["redactions"].values()) for entry in day.entries) >= len(day.truth.secrets)


def test_every_row_has_its_file(day: Day) -> None:
    state = final_state(day.state_dir)
    check_whole(state)
    assert 0 == state.parked
