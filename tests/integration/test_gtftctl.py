"""gtftctl as an operator types it: a subprocess against a real control server."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtftd.schemas.catalog import decode
from gtftd.schemas.control import ParkedDropParams, PauseParams, StatusResult
from gtftd.town.spool import Spool, parse_spool_file
from tests.support.control import Daemon, control_server


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def daemon(state_dir: Path) -> Iterator[Daemon]:
    with control_server(state_dir / "run" / "control.sock") as served:
        yield served


def gtftctl(*words: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("GT_", "GTFTD_", "XDG_"))}
    environ |= {"HOME": str(home), "COLUMNS": "200", "TERM": "dumb"}
    return subprocess.run(
        [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()", *map(str, words)],
        capture_output=True,
        check=False,
        text=True,
        env=environ,
        cwd=home,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_status_tells_everything_at_a_glance(daemon: Daemon, state_dir: Path) -> None:
    """For people, and the same for programs."""
    told = gtftctl("status", "--state-dir", state_dir, home=state_dir)
    assert (told.returncode, told.stderr) == (0, "")
    for words in ("gtftd 0.1.0  running", "1 h 2 min", "/town/gt", "collect_bead", "12 ms", "10 seen, 9 with an entry"):
        assert words in told.stdout
    as_json = gtftctl("status", "--json", "--state-dir", state_dir, home=state_dir)
    assert StatusResult.model_validate_json(as_json.stdout) == daemon.status()


@pytest.mark.parametrize("command", ["status", "health"])
def test_degraded_is_exit_code_one(daemon: Daemon, state_dir: Path, command: str) -> None:
    """And the condition is named with what is wrong."""
    daemon.healthy = False
    told = gtftctl(command, "--state-dir", state_dir, home=state_dir)
    assert told.returncode == 1
    assert "dolt.unreachable" in told.stdout
    assert "127.0.0.1:3307 refuses" in told.stdout


def test_without_a_daemon_the_exit_code_is_three(tmp_path: Path) -> None:
    """One line, no traceback, and what to type."""
    told = gtftctl("status", "--state-dir", tmp_path, home=tmp_path)
    assert (told.returncode, told.stdout, len(told.stderr.splitlines())) == (3, "", 1)
    assert told.stderr.startswith("error: no gtftd runs for ")
    assert "gtftctl run" in told.stderr


def test_without_a_town_it_says_where_it_looked(tmp_path: Path) -> None:
    """And what to do."""
    told = gtftctl("status", home=tmp_path)
    assert told.returncode == 1
    assert told.stderr.startswith("error: no Gas Town found")
    assert "--town DIR" in told.stderr


def test_a_town_leads_to_its_state(tmp_path: Path) -> None:
    """--town, and being inside the town, name the same daemon."""
    town = tmp_path / "gt"
    (town / "mayor").mkdir(parents=True)
    (town / "mayor" / "town.json").write_text("{}")
    by_option = gtftctl("status", "--town", town, home=tmp_path)
    inside = gtftctl("status", home=town)
    assert by_option.returncode == inside.returncode == 3
    assert f"no gtftd runs for town {town}" in by_option.stderr
    assert "/.local/state/gtftd/gt-" in inside.stderr


def test_wrong_usage_is_exit_code_two(daemon: Daemon, state_dir: Path) -> None:
    """Before anything is sent."""
    for words in (["parked", "drop"], ["parked", "retry", "1", "--all"], ["nonsense"], ["logs", "--level", "loud"]):
        assert (
            gtftctl(*words, *([] if words == ["nonsense"] else ["--state-dir", state_dir]), home=state_dir).returncode
            == 2
        )
    assert daemon.calls == []


def test_pause_and_resume(daemon: Daemon, state_dir: Path) -> None:
    """The reason travels; a reaction that does not exist is told."""
    told = gtftctl("pause", "collect_bead", "-r", "disk", "--state-dir", state_dir, home=state_dir)
    assert (told.returncode, told.stdout) == (0, "paused: collect_bead\n")
    assert daemon.calls == [("pause", PauseParams(reaction="collect_bead", reason="disk"))]
    assert gtftctl("resume", "--state-dir", state_dir, home=state_dir).stdout == "resumed: collect_bead\n"
    wrong = gtftctl("pause", "unknown", "--state-dir", state_dir, home=state_dir)
    assert (wrong.returncode, wrong.stderr) == (1, "error: no reaction is called unknown; there are: collect_bead\n")
    assert gtftctl("drain", "--state-dir", state_dir, home=state_dir).stdout == "drained: drained\n"


def test_parked_is_listed_shown_retried_and_dropped(daemon: Daemon, state_dir: Path) -> None:
    """Without a terminal, drop does not ask."""
    at = ("--state-dir", state_dir)
    assert "collect_bead" in gtftctl("parked", "list", *at, home=state_dir).stdout
    assert json.loads(gtftctl("parked", "list", "--json", *at, home=state_dir).stdout)["total"] == 1
    shown = gtftctl("parked", "show", "7", *at, home=state_dir).stdout
    assert "Invalid: no" in shown
    assert "Traceback ..." in shown
    assert gtftctl("parked", "show", "8", *at, home=state_dir).stderr == "error: nothing is parked under 8\n"
    assert gtftctl("parked", "retry", "7", *at, home=state_dir).stdout == "retrying: 7\n"
    assert gtftctl("parked", "drop", "--all", "-r", "old", *at, home=state_dir).stdout == "dropped: 7\n"
    assert daemon.calls[-1] == ("parked.drop", ParkedDropParams(all=True, reason="old"))


@pytest.mark.parametrize(("answer", "calls"), [(b"n\n", 0), (b"y\n", 1)])
def test_drop_asks_on_a_terminal(daemon: Daemon, state_dir: Path, answer: bytes, calls: int) -> None:
    """What cannot be undone is asked once."""
    leader, follower = pty.openpty()
    os.write(leader, answer)
    command = [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()", "parked", "drop", "7"]
    subprocess.run(
        [*command, "--state-dir", str(state_dir)],
        stdin=follower,
        capture_output=True,
        check=False,
        timeout=60,
        cwd=state_dir,
    )
    os.close(leader)
    os.close(follower)
    assert len(daemon.calls) == calls


def test_metrics_reactions_version_and_logs(daemon: Daemon, state_dir: Path) -> None:
    """The other readers."""
    at = ("--state-dir", state_dir)
    assert gtftctl("metrics", *at, home=state_dir).stdout == "gtftd_outbox_rows 0.0\n"
    assert "collect_bead" in gtftctl("reactions", *at, home=state_dir).stdout
    assert gtftctl("version", *at, home=state_dir).stdout == "gtftd 0.1.0 (pid 1, protocol 1)\n"
    assert gtftctl("logs", "-n", "2", *at, home=state_dir).stdout.split() == [
        *("2026-01-01", "00:00:00", "info", "line.0"),
        *("2026-01-01", "00:00:00", "info", "line.1"),
    ]


def test_logs_of_a_dead_daemon(state_dir: Path) -> None:
    """Why it died stands in its last lines, read from the file."""
    (state_dir / "logs").mkdir(parents=True)
    lines = ['{"event": "a.b", "level": "info"}', '{"event": "c.d", "level": "error", "exception": "Trace\\nback"}']
    (state_dir / "logs" / "gtftd.log").write_text("\n".join(lines) + "\n")
    told = gtftctl("logs", "--level", "error", "--state-dir", state_dir, home=state_dir)
    assert (told.returncode, "c.d" in told.stdout, "a.b" in told.stdout) == (0, True, False)
    assert "Trace\nback" in told.stdout


def test_a_cut_pipe_is_no_error(daemon: Daemon, state_dir: Path) -> None:
    """`gtftctl ... | head -1` says nothing on standard error."""
    program = f"{sys.executable} -P -c 'from gtftd.ctl import main; main()'"
    told = subprocess.run(
        ["sh", "-c", f"{program} events | head -1"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        cwd=state_dir,
    )
    assert (told.stdout, told.stderr) == ("# Events\n", "")


def test_emit_spools_an_event_without_a_daemon(state_dir: Path) -> None:
    """Whole, typed, and the daemon can read it."""
    fields = ["bead=gt-1", "database=gastown", "episode=2", "reason=done and dusted"]
    told = gtftctl("emit", "bead.closed", *fields, "--id", "one", "--state-dir", state_dir, home=state_dir.parent)
    assert (told.returncode, told.stdout, told.stderr) == (0, "gtftd.bead.closed.v1 one\n", "")
    (path,) = Spool(state_dir / "spool").pending()
    envelope, event = decode(parse_spool_file(path).payload)
    assert (envelope.id, event.model_dump()["episode"], event.model_dump()["seen_by"]) == ("one", 2, "emit")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bead.closed", "bead=1"], "error: bead.closed: database: Field required\n"),
        (["entry.stored"], "error: entry.stored is a fact that only the daemon may state\n"),
        (["bead.closed", "bead"], "error: 'bead' is not key=value\n"),
        (["bead.closed", "--data", "[1]"], "error: --data is a JSON object with the fields of the event\n"),
    ],
)
def test_emit_refuses_what_is_wrong(state_dir: Path, words: list[str], message: str) -> None:
    """And spools nothing."""
    told = gtftctl("emit", *words, "--state-dir", state_dir, home=state_dir.parent)
    assert (told.returncode, told.stderr) == (1, message)
    assert Spool(state_dir / "spool").pending() == []


def test_config_is_checked_and_shown(tmp_path: Path) -> None:
    """Mistakes line by line; secrets never."""
    file = tmp_path / "c.toml"
    file.write_text("[beads]\npassword = 'hunter2'\npoll_s = 9\n")
    assert gtftctl("config", "check", "--config", file, home=tmp_path).stdout == f"{file}: ok\n"
    shown = gtftctl("config", "show", "--changed", "--config", file, home=tmp_path)
    assert shown.stdout == '\n[beads]\npassword = "**********"\npoll_s = 9.0\n'
    file.write_text("[beads]\npool_s = 9\n[log]\nlevel = 1\n")
    wrong = gtftctl("config", "check", "--config", file, home=tmp_path)
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (1, 2)
    assert wrong.stderr.startswith(f"error: {file}: ")


def test_events_can_be_checked(tmp_path: Path) -> None:
    """A stale docs/events.md fails."""
    file = tmp_path / "events.md"
    file.write_text(gtftctl("events", home=tmp_path).stdout)
    assert gtftctl("events", "--check", file, home=tmp_path).returncode == 0
    file.write_text("old")
    assert gtftctl("events", "--check", file, home=tmp_path).returncode == 1


def test_the_shell_completes(tmp_path: Path) -> None:
    """Commands of commands too, without anything being installed."""
    command = [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()"]
    words = {"_GTFTCTL_COMPLETE": "complete_bash", "COMP_WORDS": "gtftctl corpus sn", "COMP_CWORD": "2"}
    told = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60, env=os.environ | words)
    assert ["snapshot", "snapshots"] == told.stdout.split()


def test_watch_in_a_pipe_prints_lines(daemon: Daemon, state_dir: Path) -> None:
    """Until it is told to end, and then it ends well."""
    command = [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()", "watch", "--state-dir", str(state_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=state_dir) as child:
        assert child.stdout is not None
        assert "event     bead.closed gt-abc12" in child.stdout.readline()
        assert "entry     entry.stored polecat" in child.stdout.readline()
        child.terminate()
        assert child.wait(30) == 0
