"""The hook script itself, run by the machine's own /bin/sh."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gtftd.errors import Invalid
from gtftd.schemas.town import BeadTouched, SessionStarted, TurnEnded
from gtftd.town.hook_script import script_content, script_path
from gtftd.town.spool import parse_spool_file, to_event
from tests.support.hooks import ROLE, Installed, claude_payload, hook_env, install_hook

LATER = timedelta(hours=1)


@pytest.fixture
def hook(tmp_path: Path) -> Installed:
    return install_hook(tmp_path)


def assert_silent(done: subprocess.CompletedProcess[bytes]) -> None:
    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


def transcript(folder: Path, name: str = "5e551011", content: bytes = b'{"type":"user"}\n') -> Path:
    path = folder / f"{name}.jsonl"
    path.write_bytes(content)
    return path


def git(folder: Path, *args: str) -> str:
    who = ("-c", "user.name=nux", "-c", "user.email=nux@example.org")
    done = subprocess.run(["git", *who, *args], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_session_start_leaves_the_whole_join(hook: Installed, tmp_path: Path) -> None:
    """Session, transcript, run, role, rig, agent and work, in one file that only its owner can read."""
    payload = claude_payload(transcript_path=str(transcript(tmp_path)), source="resume")
    env = {
        "GT_RUN": "1b4e28ba",
        "GT_RIG": "gastown",
        "GT_AGENT": "claude-opus",
        "GT_SESSION": "gt-nux",
        "GT_POLECAT": "nux",
        "GT_WORK_BEAD": "gt-abc",
        "GT_WORK_MOL": "gt-mol",
        "GT_ROOT": str(hook.town.root),
        "BD_ACTOR": ROLE,
        "CLAUDE_CONFIG_DIR": "/home/one/.claude",
    }
    assert_silent(hook.claude(payload, **env))
    [path] = hook.spool.pending()
    file = parse_spool_file(path)
    assert {**env, "GT_ROLE": ROLE, "CWD": str(hook.cwd)} == dict(file.env)
    assert (path.name, "claude", payload.rstrip()) == (file.name, file.kind, file.payload)
    assert 0o600 == path.stat().st_mode & 0o777
    assert [] == list(hook.spool.tmp.iterdir())
    event = to_event(file, hook.town)
    assert isinstance(event, SessionStarted)
    assert ("resume", "gt-abc", "claude-opus") == (event.start, event.work_bead, event.agent)


def test_the_transcript_survives_its_deletion(hook: Installed, tmp_path: Path) -> None:
    """The second name is the same file, so it also grows with it; a second hook changes nothing."""
    original = transcript(tmp_path)
    for event in ("SessionStart", "Stop"):
        hook.claude(claude_payload(event, transcript_path=str(original)))
    link = hook.spool.transcripts / "5e551011.jsonl"
    assert original.samefile(link)
    original.unlink()
    assert b'{"type":"user"}\n' == link.read_bytes()


def test_a_replaced_transcript_is_linked_anew(hook: Installed, tmp_path: Path) -> None:
    original = transcript(tmp_path)
    hook.claude(claude_payload("Stop", transcript_path=str(original)))
    transcript(tmp_path, "aside", b"rewritten\n").rename(original)
    hook.claude(claude_payload("Stop", transcript_path=str(original)))
    assert b"rewritten\n" == (hook.spool.transcripts / "5e551011.jsonl").read_bytes()


@pytest.mark.parametrize("path", ["/nowhere/x.jsonl", "relative.jsonl", "/etc/passwd", "", "/a\nb.jsonl"])
def test_without_a_transcript_the_event_still_comes(hook: Installed, path: str) -> None:
    assert_silent(hook.claude(claude_payload("SessionEnd", transcript_path=path, reason="exit")))
    assert 1 == len(hook.spool.pending())
    assert [] == list(hook.spool.transcripts.iterdir())


def test_a_transcript_on_another_file_system_is_no_obstacle(hook: Installed, tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm") / f"gtftd-{os.getpid()}.jsonl"
    if not elsewhere.parent.is_dir() or elsewhere.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system to write to")
    elsewhere.write_bytes(b"{}\n")
    try:
        assert_silent(hook.claude(claude_payload("Stop", transcript_path=str(elsewhere))))
    finally:
        elsewhere.unlink()
    assert 1 == len(hook.spool.pending())


@pytest.mark.parametrize("session", ["../../escape", "a/b", ".hidden", "a b", "$(id)", "`id`", "-rf", "ü", "x;y"])
def test_a_hostile_session_id_names_no_file(hook: Installed, tmp_path: Path, session: str) -> None:
    """It is reported as data; `-rf` is an ordinary file name behind the folder's path."""
    assert_silent(hook.claude(claude_payload("Stop", session, transcript_path=str(transcript(tmp_path)))))
    names = [path.name for path in hook.spool.transcripts.iterdir()]
    assert (["-rf.jsonl"] if session == "-rf" else []) == names
    [path] = hook.spool.pending()
    event = to_event(parse_spool_file(path), hook.town)
    assert isinstance(event, TurnEnded)
    assert session == event.session_id
    assert not list(tmp_path.rglob("escape*"))


HOSTILE = [
    "two\nlines",
    "# end\n\n# end x",
    "$(touch pwned) `touch pwned`",
    "'\"\\",
    "* ? [a-z]",
    "%s %n",
    "-n",
    "\n",
    "tab\there",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_stay_values(hook: Installed, value: str) -> None:
    """Line breaks become spaces; nothing else is touched, expanded or run."""
    assert_silent(hook.claude(claude_payload(prompt=value), GT_RUN=value, GT_WORK_BEAD=value))
    [path] = hook.spool.pending()
    file = parse_spool_file(path)
    expected = " ".join(part for part in value.split("\n") if part)
    assert expected == file.env["GT_RUN"]
    assert value == json.loads(file.payload)["prompt"]
    assert [] == list(hook.cwd.iterdir())


def test_an_endless_variable_is_left_out(hook: Installed) -> None:
    hook.claude(claude_payload(), GT_RUN="x" * 100_000)
    [path] = hook.spool.pending()
    assert "GT_RUN" not in parse_spool_file(path).env


def test_a_five_megabyte_payload_is_cut(hook: Installed, tmp_path: Path) -> None:
    """The file stays bounded and whole; the link was made all the same, from the payload's beginning."""
    original = transcript(tmp_path)
    payload = claude_payload("Stop", transcript_path=str(original), last_assistant_message='"x\\' * 1_500_000)
    # A reader that stops early breaks the pipe, which Claude Code ignores and subprocess does too.
    assert_silent(hook.claude(payload))
    [path] = hook.spool.pending()
    assert payload[: 1024 * 1024] == parse_spool_file(path).payload
    assert original.samefile(hook.spool.transcripts / "5e551011.jsonl")
    with pytest.raises(Invalid, match="not JSON"):
        to_event(parse_spool_file(path), hook.town)


@pytest.mark.parametrize("payload", [b"\0\0{}\0", b"\xff\xfe{", b"[" * 100_000, b'"' * 300_000, b"null", b"{}"])
def test_a_poisonous_payload_makes_a_whole_file(hook: Installed, payload: bytes) -> None:
    assert_silent(hook.claude(payload))
    [path] = hook.spool.pending()
    with pytest.raises(Invalid):
        to_event(parse_spool_file(path), hook.town)


def test_strangers_leave_no_trace(hook: Installed) -> None:
    """Claude sessions outside Gas Town, an empty input, and calls that we do not know."""
    assert_silent(hook.run("claude", stdin=claude_payload(), role=None))
    assert_silent(hook.run("claude", stdin=claude_payload(), role=""))
    assert_silent(hook.claude(b""))
    assert_silent(hook.run("unknown"))
    assert_silent(hook.run())
    assert [] == hook.spool.pending()


def test_an_agent_of_another_town_is_passed_over(hook: Installed, tmp_path: Path) -> None:
    """Both towns' hooks stand in one user's settings; a symlink to the own town is the own town."""
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(hook.town.root)
    hook.claude(claude_payload(), GT_ROOT=str(tmp_path / "other"))
    assert [] == hook.spool.pending()
    hook.claude(claude_payload(), GT_ROOT=str(tmp_path / "link"))
    assert 1 == len(hook.spool.pending())


def test_a_bead_hook_needs_no_role_and_no_input(hook: Installed) -> None:
    """A person runs bd too. Standard input is not read: it stays open here and nothing waits for it."""
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [script_path(hook.state_dir), "bead", "gt-abc.1", "close"],
            stdin=reader, env=hook_env(None), cwd=hook.cwd, capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    finally:
        os.close(reader)
        os.close(writer)
    assert_silent(done)
    [path] = hook.spool.pending()
    event = to_event(parse_spool_file(path), hook.town)
    assert isinstance(event, BeadTouched)
    assert ("gt-abc.1", "close") == (event.bead, event.change)


@pytest.mark.parametrize("bead", ["$(touch pwned)", "gt-1\nARG=close", "-x", "", "a" * 5000, "gt 1; rm"])
def test_a_hostile_bead_id_is_refused_by_the_reader(hook: Installed, bead: str) -> None:
    assert_silent(hook.run("bead", bead, "close"))
    [path] = hook.spool.pending()
    with pytest.raises(Invalid):
        to_event(parse_spool_file(path), hook.town)
    assert [] == list(hook.cwd.iterdir())


def test_a_terminal_as_input_does_not_hang(hook: Installed) -> None:
    controller, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [script_path(hook.state_dir), "claude"],
            stdin=terminal, env=hook_env(), cwd=hook.cwd, capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    finally:
        os.close(controller)
        os.close(terminal)
    assert_silent(done)


def test_an_input_that_never_ends_leaves_nothing_torn(hook: Installed) -> None:
    """The hook waits for the end of its input; the settings' `timeout` ends it, and nothing was written."""
    waiting = subprocess.Popen(
        [script_path(hook.state_dir), "claude"], stdin=subprocess.PIPE, env=hook_env(), start_new_session=True
    )
    assert waiting.stdin is not None
    waiting.stdin.write(claude_payload())
    waiting.stdin.flush()
    os.killpg(waiting.pid, signal.SIGTERM)
    waiting.wait(30)
    waiting.stdin.close()
    assert [] == hook.spool.pending()
    assert [] == list(hook.spool.tmp.iterdir())


def test_a_closed_input_is_survived(hook: Installed) -> None:
    command = f"exec '{script_path(hook.state_dir)}' claude <&-"
    done = subprocess.run(["sh", "-c", command], env=hook_env(), capture_output=True, timeout=30, check=False)
    assert_silent(done)


def test_without_home_and_with_a_useless_path_it_works(hook: Installed) -> None:
    assert_silent(hook.claude(claude_payload(), PATH="/nowhere"))
    assert 1 == len(hook.spool.pending())


def test_a_missing_spool_is_made(hook: Installed) -> None:
    shutil.rmtree(hook.spool.root)
    assert_silent(hook.claude(claude_payload()))
    assert 1 == len(hook.spool.pending())
    assert 0o700 == hook.spool.root.stat().st_mode & 0o777


def test_an_impossible_spool_fails_nobody(hook: Installed) -> None:
    shutil.rmtree(hook.spool.root)
    hook.spool.root.write_text("in the way")
    assert_silent(hook.claude(claude_payload()))


@pytest.mark.parametrize("state", ["full", "read-only"])
@pytest.mark.root
def test_a_full_or_read_only_disk_fails_nobody(hook: Installed, state: str) -> None:
    """Nothing half-written is taken for an event, and with room again the next hook is heard."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", hook.spool.root], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        hook.spool.ensure()
        if state == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", hook.spool.root], check=True)
        else:
            filler = hook.spool.root / "filler"
            with pytest.raises(OSError, match="No space"):
                filler.write_bytes(b"x" * 2_000_000)
        for _ in range(3):
            assert_silent(hook.claude(claude_payload(padding="x" * 20_000)))
        assert [] == hook.spool.pending()
        assert [] == list(hook.spool.tmp.iterdir())
        if state == "full":
            filler.unlink()
            assert_silent(hook.claude(claude_payload(padding="x" * 20_000)))
            assert 1 == len(hook.spool.pending())
    finally:
        subprocess.run(["umount", hook.spool.root], check=True)


@pytest.mark.parametrize(
    ("point", "pending", "adoptable"),
    [
        ("hook.start", 0, 0),
        ("hook.linked", 0, 0),
        ("hook.written", 0, 1),
        ("hook.synced", 0, 1),
        ("hook.renamed", 1, 0),
    ],
)
def test_killed_anywhere_it_left_a_whole_file_or_none(
    hook: Installed, tmp_path: Path, point: str, pending: int, adoptable: int
) -> None:
    payload = claude_payload("Stop", transcript_path=str(transcript(tmp_path)))
    assert -signal.SIGKILL == hook.claude(payload, GTFTD_CRASH_AT=point).returncode
    left = hook.spool.adoptable(datetime.now(UTC) + LATER, 30)
    assert (pending, adoptable) == (len(hook.spool.pending()), len(left))
    assert [] == hook.spool.torn(datetime.now(UTC) + LATER, 30)
    for path in left:
        hook.spool.adopt(path)
    seen = [to_event(parse_spool_file(path), hook.town).subject for path in hook.spool.pending()]
    assert ["turn.ended"] * (pending + adoptable) == seen


def test_killed_at_any_instant_it_left_a_whole_file_or_none(hook: Installed, tmp_path: Path) -> None:
    """Eighty seeded instants over the life of a hook; `new` never shows a part, and no session comes twice."""
    original, chance = str(transcript(tmp_path)), random.Random(20260301)
    for number in range(80):
        running = subprocess.Popen(
            [script_path(hook.state_dir), "claude"], stdin=subprocess.PIPE, env=hook_env(), start_new_session=True
        )
        assert running.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            running.stdin.write(claude_payload("Stop", f"s{number}", transcript_path=original))
            running.stdin.close()
        time.sleep(chance.uniform(0, 0.006))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait(30)
    for path in hook.spool.adoptable(datetime.now(UTC) + LATER, 30):
        hook.spool.adopt(path)
    sessions = [to_event(parse_spool_file(path), hook.town) for path in hook.spool.pending()]
    assert len(sessions) == len({event.session_id for event in sessions if isinstance(event, TurnEnded)})
    for path in hook.spool.torn(datetime.now(UTC) + LATER, 30):
        path.unlink()
    assert [] == list(hook.spool.tmp.iterdir())


def test_a_file_adopted_from_a_living_hook_comes_once(hook: Installed) -> None:
    """A daemon without any patience adopts between write and rename; the hook then finds nothing to rename."""
    held = subprocess.Popen([script_path(hook.state_dir), "bead", "gt-1", "close"], env=hook_env())
    while held.poll() is None:
        for path in hook.spool.adoptable(datetime.now(UTC) + LATER, 0):
            hook.spool.adopt(path)
    assert 0 == held.wait(30)
    assert 1 == len(hook.spool.pending())
    assert [] == list(hook.spool.tmp.iterdir())


def test_fifty_hooks_at_once_leave_fifty_files(hook: Installed, tmp_path: Path) -> None:
    original = str(transcript(tmp_path))
    payloads = [claude_payload("Stop", f"s{number}", transcript_path=original) for number in range(50)]
    with ThreadPoolExecutor(16) as pool:
        for done in pool.map(hook.claude, payloads):
            assert_silent(done)
    events = [to_event(parse_spool_file(path), hook.town) for path in hook.spool.pending()]
    sessions = {event.session_id for event in events if isinstance(event, TurnEnded)}
    assert {f"s{number}" for number in range(50)} == sessions
    assert 50 == len(list(hook.spool.transcripts.iterdir()))


def head_seen(hook: Installed, cwd: Path) -> str | None:
    assert_silent(hook.run("claude", stdin=claude_payload(), cwd=cwd))
    [path] = hook.spool.pending()
    event = to_event(parse_spool_file(path), hook.town)
    path.unlink()
    assert isinstance(event, SessionStarted)
    return event.git_head


def test_git_head_is_read_wherever_git_keeps_it(hook: Installed, tmp_path: Path) -> None:
    """Loose, detached, in a worktree of a bare repository, from a folder below, packed: as `git rev-parse`."""
    repo, work = tmp_path / "repo", tmp_path / "worktree"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    assert head_seen(hook, repo) is None  # no commit yet
    git(repo, "commit", "-q", "--allow-empty", "-m", "one")
    head = git(repo, "rev-parse", "HEAD")
    assert head == head_seen(hook, repo)
    (repo / "a" / "b").mkdir(parents=True)
    assert head == head_seen(hook, repo / "a" / "b")
    git(repo, "worktree", "add", "-q", "-b", "polecat/nux", str(work))
    git(work, "commit", "-q", "--allow-empty", "-m", "two")
    ahead = git(work, "rev-parse", "HEAD")
    assert ahead == head_seen(hook, work)
    git(repo, "pack-refs", "--all")
    assert (head, ahead) == (head_seen(hook, repo), head_seen(hook, work))
    git(repo, "checkout", "-q", "--detach")
    assert head == head_seen(hook, repo)


@pytest.mark.parametrize("head", ["ref: refs/../../../etc/passwd", "ref: /etc/passwd", "zzz", "", "ref: refs/$(id)"])
def test_a_hostile_git_head_is_none(hook: Installed, head: str) -> None:
    (hook.cwd / ".git").mkdir()
    (hook.cwd / ".git" / "HEAD").write_text(head)
    assert head_seen(hook, hook.cwd) is None


@pytest.mark.parametrize("shell", [["bash", "--posix"], ["busybox", "sh"], ["ksh"], ["zsh", "--emulate", "sh"]])
def test_other_shells_say_the_same(hook: Installed, tmp_path: Path, shell: list[str]) -> None:
    """Where /bin/sh is not dash."""
    if not shutil.which(shell[0]):
        pytest.skip(f"no {shell[0]} here")
    payload = claude_payload(transcript_path=str(transcript(tmp_path)), prompt="ü $(x)")
    command = [*shell, str(script_path(hook.state_dir)), "claude"]
    env = hook_env(GT_RUN="two\nlines")
    done = subprocess.run(command, input=payload, env=env, cwd=hook.cwd, capture_output=True, timeout=30, check=False)
    assert_silent(done)
    [path] = hook.spool.pending()
    file = parse_spool_file(path)
    assert {"GT_ROLE": ROLE, "GT_RUN": "two lines", "CWD": str(hook.cwd)} == dict(file.env)
    assert payload.rstrip() == file.payload
    assert (hook.spool.transcripts / "5e551011.jsonl").exists()


def test_the_script_is_plain_posix_shell() -> None:
    """It parses without output under every POSIX shell that this machine has."""
    shells = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
    for shell in shells:
        command = [shell, "sh", "-n"] if shell == "busybox" else [shell, "-n"]
        done = subprocess.run(command, input=script_content(), capture_output=True, check=False)
        assert (0, b"") == (done.returncode, done.stderr)
