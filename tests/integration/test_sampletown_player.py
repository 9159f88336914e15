"""A day of the sample town leaves what a real day leaves, and says truly what happened."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gtftd.sampletown import make_town
from gtftd.sampletown.clock import SteppedClock, Stopped
from gtftd.sampletown.player import Player
from gtftd.sampletown.truth import Truth, load_truth, truth_file
from gtftd.town.identity import parse_role
from gtftd.town.layout import load_town
from tests.support.sampletown import install_hooks, lines_of, rows

DATABASES = ("hq", "harbor", "lantern")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Truth]:
    """One whole day without waits, with a recording hook in every place where hooks go."""
    base = tmp_path_factory.mktemp("played")
    make_town(base / "town")
    install_hooks(base / "town", base)
    truth = Player(base / "town", seed=7).play_day()
    return base / "town", base, truth


Played = tuple[Path, Path, Truth]


def transcript_of(truth: Truth, session: str) -> list[dict[str, object]]:
    return lines_of(Path(truth.sessions[session].transcript))


def test_truth_agrees_with_the_databases(played: Played) -> None:
    """Every closed event, its actor and its reason, no more and no fewer; every reopening."""
    town, _, truth = played
    for database in DATABASES:
        closes = rows(town, database, "SELECT * FROM events WHERE event_type = 'closed' ORDER BY rowid")
        of_wisps = rows(town, database, "SELECT * FROM wisp_events WHERE event_type = 'closed' ORDER BY rowid")
        closes += [row for row in of_wisps if row["issue_id"] not in truth.wisps]
        found = Counter(row["issue_id"] for row in closes)
        mine = [bead for bead in truth.beads.values() if bead.database == database]
        told = {bead.bead: sum(episode.closes for episode in bead.episodes) for bead in mine}
        assert {bead: count for bead, count in told.items() if count} == dict(found)
        last = {row["issue_id"]: (row["actor"], row["new_value"]) for row in closes}
        for bead in mine:
            if bead.episodes[-1].closes:
                assert (bead.episodes[-1].closed_by, bead.episodes[-1].close_reason) == last[bead.bead]
        reopened = rows(town, database, "SELECT issue_id FROM events WHERE event_type = 'reopened'")
        assert [b.bead for b in mine for _ in b.episodes[1:]] == [row["issue_id"] for row in reopened]
    assert load_truth(truth_file(town)) == truth


def test_the_day_holds_every_story(played: Played) -> None:
    """What the daemon must cope with is there: each kind of end, each kind of session."""
    town, _, truth = played
    outcomes = Counter(work.outcome for bead in truth.beads.values() for ep in bead.episodes for work in ep.work)
    assert {
        "merged", "completed", "escalated", "deferred", "failed", "administrative", "rejected", "reverted",
    } == set(outcomes)  # fmt: skip
    assert len(truth.beads) >= 25
    episodes = [episode for _, episode in truth.closed_episodes()]
    assert any(episode.closes == 2 for episode in episodes)
    assert any(episode.episode == 2 for episode in episodes)
    assert any([work.outcome for work in episode.work] == ["failed", "merged"] for episode in episodes)
    assert any([work.outcome for work in episode.work] == ["rejected", "merged"] for episode in episodes)
    assert any(len({work.session_id for work in episode.work if work.role == "crew"}) == 2 for episode in episodes)
    assert any(len(session.beads) == 2 and session.role == "polecat" for session in truth.sessions.values())
    assert {"mayor", "deacon", "boot", "witness", "refinery", "polecat", "crew"} == {
        session.role for session in truth.sessions.values()
    }
    wisps = {
        wisp
        for database in DATABASES
        for (wisp,) in rows(town, database, "SELECT id FROM wisps WHERE status = 'closed'")
    }
    requests = {bead.bead for bead in truth.beads.values() if bead.wisp}
    assert set(truth.wisps) | requests == wisps
    assert requests
    assert {"refinery"} == {work.role for wisp in requests for work in truth.beads[wisp].episodes[-1].work}


def test_the_feed_has_gts_shapes(played: Played) -> None:
    town, _, truth = played
    feed = lines_of(town / ".events.jsonl")
    kinds = Counter(str(line["type"]) for line in feed)
    wanted = "sling hook session_start done handoff nudge mail session_death escalation_sent mass_death"
    assert set(wanted.split()) <= set(kinds)
    assert "boot" not in kinds  # the pruner rewrote the file
    assert {"ts", "source", "type", "actor", "payload", "visibility"} == set(feed[0])
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(line["ts"])) for line in feed)
    assert (town / ".events.jsonl").stat().st_mode & 0o777 == 0o644
    started = {line["payload"]["session_id"] for line in feed if line["type"] == "session_start"}  # type: ignore[index]
    assert set(truth.sessions) == started


def test_transcripts_are_trees_in_claudes_shape(played: Played) -> None:
    """Each line hangs on an earlier one of the same session; answers to tools have their calls."""
    _, _, truth = played
    seen: Counter[str] = Counter()
    for session in truth.sessions.values():
        known: set[object] = {None}
        calls: set[object] = set()
        for line in transcript_of(truth, session.session_id):
            if line["type"] not in ("user", "assistant", "system"):
                continue
            assert session.session_id == line["sessionId"]
            assert line["parentUuid"] in known
            known.add(line["uuid"])
            seen["side"] += bool(line["isSidechain"])
            seen["meta"] += bool(line.get("isMeta"))
            seen["compact"] += line.get("subtype") == "compact_boundary"
            content = line.get("message", {}).get("content")  # type: ignore[attr-defined]
            seen["string"] += isinstance(content, str)
            for block in content if isinstance(content, list) else ():
                seen[str(block["type"])] += 1
                if block["type"] == "tool_use":
                    calls.add(block["id"])
                if block["type"] == "tool_result":
                    assert block["tool_use_id"] in calls
                    seen[f"result {type(block['content']).__name__}"] += 1
    everything = "side meta compact string thinking text tool_use tool_result"
    assert all(seen[kind] for kind in (*everything.split(), "result str", "result list"))


def test_the_closing_call_stands_before_the_close(played: Played) -> None:
    """When `on_close` runs for an agent's own close, the call is in its transcript and the result is not."""
    _, base, truth = played
    told: dict[str, list[str]] = {}
    for line in (base / "beads.log.closes").read_text().splitlines():
        bead, calls, results = line.split()
        told.setdefault(bead, []).append(f"{calls} {results}")
    own = [
        bead.bead
        for bead, episode in truth.closed_episodes()
        if not bead.wisp and any(work.actor == episode.closed_by for work in episode.work)
    ]
    assert len(own) == 6
    assert {"1 0"} == {told[bead][0] for bead in own}


def test_installed_hooks_get_gts_environment(played: Played) -> None:
    """One SessionStart a session and one more a compaction; SessionEnd for orderly ends only."""
    _, base, truth = played
    told = [line.split("\t") for line in (base / "claude.log").read_text().splitlines()]
    payloads = [(json.loads(first), role, rig, tmux) for first, role, rig, tmux, _ in told]
    for payload, role, rig, tmux in payloads:
        session = truth.sessions[payload["session_id"]]
        identity = parse_role(role)
        assert identity is not None
        assert (session.actor, session.rig or "", session.tmux_session) == (identity.actor, rig, tmux)
        assert session.transcript == payload["transcript_path"]
    counts = Counter((payload["hook_event_name"], payload.get("source")) for payload, *_ in payloads)
    assert len(truth.sessions) == counts["SessionStart", "startup"]
    assert counts["SessionStart", "compact"] == 2
    ended = {payload["session_id"] for payload, *_ in payloads if payload["hook_event_name"] == "SessionEnd"}
    assert {key for key, session in truth.sessions.items() if session.ended == "ended"} == ended


def test_bead_hooks_ran_for_every_change(played: Played) -> None:
    _, base, truth = played
    told = Counter(tuple(line.split(" ", 2)[:2]) for line in (base / "beads.log").read_text().splitlines())
    for bead in truth.beads.values():
        assert told[bead.bead, "create"] == 1
        assert sum(episode.closes for episode in bead.episodes) == told[bead.bead, "close"]


def test_planted_secrets_are_in_the_transcripts(played: Played) -> None:
    """Every kind, each in the transcript that the truth names."""
    _, _, truth = played
    for plant in truth.secrets:
        text = Path(truth.sessions[plant.session_id].transcript).read_text(encoding="utf-8")
        assert plant.text in text
    assert len({plant.kind for plant in truth.secrets}) == 11


def normal(text: str, town: Path) -> str:
    """Without the ids and times that must differ."""
    text = text.replace(str(town), "TOWN").replace(re.sub(r"[^A-Za-z0-9]", "-", str(town)), "TOWN")
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r"\b(toolu_01|msg_01|req_011)[0-9a-f]{21,22}", "KEY", text)
    text = re.sub(r'"signature":"[0-9a-f]+"', "SIGNATURE", text)
    text = re.sub(r"\b(hb|ln|hq)-(wisp-)?[0-9a-z]{5}\b", r"\1-\2ID", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)|@\d{10}", "TIME", text)


def played_texts(town: Path, seed: int) -> list[str]:
    make_town(town)
    truth = Player(town, seed).play_day(clock=SteppedClock(datetime(2026, 3, 1, tzinfo=UTC)))
    transcripts = [Path(session.transcript).read_text(encoding="utf-8") for session in truth.sessions.values()]
    return [normal(text, town) for text in (*transcripts, (town / ".events.jsonl").read_text())]


def test_the_seed_decides_everything_but_ids_and_times(tmp_path: Path) -> None:
    one, same, other = (played_texts(tmp_path / name, seed) for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    assert one == same
    assert one != other


def test_a_stepped_clock_stamps_town_time(tmp_path: Path) -> None:
    """With it a day takes eight hours in the files; `hours` makes it shorter."""
    make_town(tmp_path / "town")
    start = datetime(2026, 3, 1, 8, tzinfo=UTC)
    Player(tmp_path / "town").play_day(hours=4, clock=SteppedClock(start))
    stamps = [datetime.fromisoformat(str(line["ts"])) for line in lines_of(tmp_path / "town/.events.jsonl")]
    assert timedelta(hours=3) < max(stamps) - start < timedelta(hours=6)


def test_a_second_day_adds_to_the_first(tmp_path: Path) -> None:
    make_town(tmp_path / "town")
    first = set(Player(tmp_path / "town").play_day().beads)
    truth = Player(tmp_path / "town").play_day()
    assert (truth.days, truth.complete) == (2, True)
    assert first < set(truth.beads)
    issues = [bead for bead in truth.beads.values() if not bead.wisp]
    assert len(issues) == sum(len(rows(tmp_path / "town", name, "SELECT id FROM issues")) for name in DATABASES)


def test_a_stop_is_heeded_between_two_steps(tmp_path: Path) -> None:
    make_town(tmp_path / "town")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        Player(tmp_path / "town", stop=stop).play_day()
    assert not load_truth(truth_file(tmp_path / "town")).complete


def start_player(town: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gtftd.programs.player", str(town), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_program_says_where_it_serves_and_ends_at_once_on_a_signal(tmp_path: Path) -> None:
    """One ready line, after the port is in the town's configuration; SIGTERM ends it with the truth on disk."""
    make_town(tmp_path / "town")
    player = start_player(tmp_path / "town", "--speed", "100", "--loop")
    assert player.stdout is not None
    ready = player.stdout.readline()
    config = (tmp_path / "town/.dolt-data/config.yaml").read_text()
    player.send_signal(signal.SIGTERM)
    rest, errors = player.communicate(timeout=20)
    port = int(ready.removeprefix("player.ready port="))
    assert f"listener:\n  host: 127.0.0.1\n  port: {port}\n" == config
    assert (player.returncode, rest, errors) == (0, "", "")
    assert not load_truth(truth_file(tmp_path / "town")).complete


def test_a_killed_player_leaves_a_town_that_can_be_played_on(tmp_path: Path) -> None:
    """After SIGKILL in the middle every closed row has its event, and a new day is lived to its end."""
    town = tmp_path / "town"
    make_town(town)
    player = start_player(town, "--speed", "20000")
    feed = town / ".events.jsonl"
    deadline = time.monotonic() + 20
    while feed.read_text().count('"done"') < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    player.kill()
    player.communicate(timeout=20)
    assert Player(town).play_day().complete
    for database in DATABASES:
        told = "SELECT issue_id FROM events WHERE event_type = 'closed'"
        sql = f"SELECT id FROM issues WHERE status = 'closed' AND id NOT IN ({told})"
        assert rows(town, database, sql) == []


def test_the_program_refuses_a_folder_that_is_no_sample_town(tmp_path: Path) -> None:
    player = start_player(tmp_path, "--no-pace")
    output, errors = player.communicate(timeout=20)
    assert (player.returncode, output) == (1, "")
    assert "is no sample town" in errors


def test_the_program_plays_one_day_without_waiting(tmp_path: Path) -> None:
    make_town(tmp_path / "town")
    player = start_player(tmp_path / "town", "--no-pace", "--once", "--seed", "3")
    player.communicate(timeout=60)
    assert player.returncode == 0
    assert load_truth(truth_file(tmp_path / "town")).complete
    assert len(load_town(tmp_path / "town").rigs) == 2
