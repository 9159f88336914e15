"""gtftctl prime and the hook's script, as an agent meets them: a real daemon's socket, a gt that tells of its calls."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gtftd.ctl.prime_ask import read_answer
from gtftd.errors import Missing, NotReady, Unreachable
from gtftd.schemas.rag import PrimeResult
from gtftd.town import prime_hooks
from tests.support.prime import FULL, ROLE, PrimeTown, command_of, make_prime_town, payload, raw_daemon, until
from tests.support.prime_daemon import ANSWER, PrimeDaemon, prime_daemon

OURS = {"GT_AGENT": "node0-polecat"}
QUICK = OURS | {"GTFTD_PRIME__TIMEOUT_S": "0.2"}
HEADER = "# Reduced prime: fine-tuned model active for role polecat"


@pytest.fixture
def made(tmp_path: Path) -> PrimeTown:
    return make_prime_town(tmp_path)


@pytest.fixture
def daemon(made: PrimeTown) -> Iterator[PrimeDaemon]:
    with prime_daemon(made.state_dir) as served:
        yield served


def is_full(told: subprocess.CompletedProcess[str]) -> bool:
    """The prime of gt, and nothing else with it."""
    return (told.returncode, told.stdout, told.stderr) == (0, FULL, "")


def test_our_own_model_gets_the_short_prime(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """The daemon's words as they are; gt is not run, and the daemon knows who asks."""
    told = made.gtftctl("prime", **OURS)
    assert (0, ANSWER.text, "") == (told.returncode, told.stdout, told.stderr)
    assert [] == made.calls()
    [asked] = daemon.asked
    assert ("polecat", "gastown", ROLE, None, None) == (asked.role, asked.rig, asked.actor, asked.bead, asked.step)


def test_the_first_line_says_that_it_is_short(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """Whatever the daemon's text begins with; nothing in it can drive a terminal."""
    daemon.answer = ANSWER.model_copy(update={"text": "\n\nYou are\x1b[2J nux.\x00\r\n\tgo\n\n"})
    told = made.gtftctl("prime", **OURS)
    assert f"{HEADER}\n\nYou are[2J nux.\n\tgo\n" == told.stdout


def test_everybody_else_gets_gts_own(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """Untouched, with gt's exit code; the daemon is not asked."""
    assert is_full(made.gtftctl("prime", GT_AGENT="claude"))
    assert 3 == made.gtftctl("prime", GT_AGENT="claude", TEST_GT_EXIT="3").returncode
    assert [] == daemon.asked
    assert [["prime"], ["prime"]] == [call["argv"] for call in made.calls() if call["argv"][0] == "prime"]


@pytest.mark.parametrize(
    "error", [NotReady("not indexed yet"), Missing("no training date"), Unreachable("the index is gone")]
)
def test_whatever_the_daemon_minds_is_a_doubt(made: PrimeTown, daemon: PrimeDaemon, error: Any) -> None:
    """And the reason can be asked for."""
    daemon.error = error
    assert is_full(made.gtftctl("prime", **OURS))
    assert str(error) in made.gtftctl("prime", "--explain", **OURS).stdout


def test_without_a_daemon_the_full_prime_comes(made: PrimeTown) -> None:
    """At once."""
    assert is_full(made.gtftctl("prime", **OURS))
    assert "no gtftd runs" in made.gtftctl("prime", "--explain", **OURS).stdout


def test_a_daemon_that_never_answers_is_not_waited_for(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """The wait has an end, however the daemon hangs."""
    daemon.waits = True
    assert is_full(made.gtftctl("prime", **QUICK))
    assert "did not answer within 0.2 s" in made.gtftctl("prime", "--explain", **QUICK).stdout


@pytest.mark.parametrize("slowly", [False, True])
def test_a_stopped_or_a_trickling_daemon_is_not_waited_for(made: PrimeTown, slowly: bool) -> None:
    """It takes the connection, and then says nothing, or a byte now and then."""
    with raw_daemon(made.state_dir / "run" / "control.sock", slowly=slowly):
        assert is_full(made.gtftctl("prime", **QUICK))
        assert "within 0.2 s" in made.gtftctl("prime", "--explain", **QUICK).stdout


def framed(**result: Any) -> bytes:
    return json.dumps({"v": 1, "id": 1, "ok": True, "result": result}).encode() + b"\n"


SOUND: dict[str, Any] = {"text": "x", "tokens": 5, "counted_by": "estimate", "sections": []}


@pytest.mark.parametrize(
    "answer", [b"", b"[" * 50_000 + b"\n", framed(**SOUND)[:-20], framed(**SOUND | {"tokens": 3001})]
)
def test_a_broken_answer_or_one_over_the_budget_is_a_doubt(made: PrimeTown, answer: bytes) -> None:
    """Half a prime is worse than a long one."""
    with raw_daemon(made.state_dir / "run" / "control.sock", answer) as raw:
        assert is_full(made.gtftctl("prime", **OURS))
    assert 1 == len(raw.asked)


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": ""},
        {"text": " \n"},
        {"text": "x" * 300_000},
        {"text": 5},
        {"tokens": 0},
        {"tokens": 3001},
        {"tokens": True},
        {"tokens": "5"},
        {"sections": None},
        {"counted_by": None},
    ],
)
def test_an_answer_that_cannot_be_right_is_told(wrong: dict[str, Any]) -> None:
    """Whatever a daemon of another version may say."""
    assert 5 == read_answer(SOUND, "polecat", 3000).tokens
    with pytest.raises(Unreachable):
        read_answer(SOUND | wrong, "polecat", 3000)


def test_the_budget_is_the_configurations(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """As are the roles, the agents and the time."""
    assert ANSWER.text == made.gtftctl("prime", GTFTD_PRIME__MOST_TOKENS="321", **OURS).stdout
    assert is_full(made.gtftctl("prime", GTFTD_PRIME__MOST_TOKENS="320", **OURS))
    assert is_full(made.gtftctl("prime", GTFTD_PRIME__ROLES='["crew"]', **OURS))
    assert ANSWER.text == made.gtftctl("prime", GTFTD_SNAPSHOTS__OWN_AGENTS='["my-*"]', GT_AGENT="my-model").stdout
    assert is_full(made.gtftctl("prime", GTFTD_PRIME__TIMEOUT_S="soon", **OURS))


def test_who_begins_can_be_typed(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """A role, an address, a rig, a bead; what the environment says of another one does not count."""
    where: dict[str, Any] = {"cwd": made.root, **OURS}
    made.gtftctl("prime", "--role", "deacon", **where)
    made.gtftctl("prime", "--role", "beads/witness", **where)
    made.gtftctl("prime", "--role", "polecat", "--rig", "beads", "--bead", "bd-1", **where)
    made.gtftctl("prime", "--role", "crew", GT_RIG="gastown", GT_CREW="ann", GT_WORK_BEAD="gt-9", **where)
    made.gtftctl("prime", "--role", "polecat", **where)
    asked = [(one.role, one.rig, one.actor, one.bead) for one in daemon.asked]
    assert [
        ("deacon", None, "deacon", None),
        ("witness", "beads", "beads/witness", None),
        ("polecat", "beads", None, "bd-1"),
        ("crew", "gastown", None, None),
        ("polecat", "gastown", ROLE, None),
    ] == asked
    assert [] == made.calls()


def test_the_full_prime_is_that_of_who_was_typed(made: PrimeTown) -> None:
    """By GT_ROLE, which gt reads."""
    made.gtftctl("prime", "--role", "beads/witness", cwd=made.root, GT_AGENT="claude")
    made.gtftctl("prime", GT_AGENT="claude")
    assert ["beads/witness", ROLE] == [call["role"] for call in made.calls() if call["argv"] == ["prime"]]
    told = made.gtftctl("prime", "--role", "piper", **OURS)
    assert (2, "") == (told.returncode, told.stdout)
    assert "piper is none of mayor" in told.stderr


def test_the_step_at_hand_is_that_of_gts_checkpoint(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """One that is older than a day counts for nothing, as for gt; neither does one that cannot be read."""
    now = datetime.now(UTC)
    told = {"molecule_id": "gt-mol-1", "current_step": "implement", "step_title": "Implement", "hooked_bead": "gt-1"}
    for at in (now.strftime("%Y-%m-%dT%H:%M:%S.123456789Z"), (now - timedelta(days=2)).isoformat()):
        (made.cwd / ".polecat-checkpoint.json").write_text(json.dumps({**told, "timestamp": at}))
        made.gtftctl("prime", **OURS)
    (made.cwd / ".polecat-checkpoint.json").write_text("{ broken")
    made.gtftctl("prime", **OURS)
    assert ["implement", None, None] == [one.step for one in daemon.asked]


def test_at_a_start_the_hook_says_what_the_work_is(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """GT_WORK_BEAD of a pane that is used again is what was done before; after /clear it is what is being done."""
    for source in ("startup", "clear"):
        made.gtftctl("prime", "--hook", stdin=payload(source), GT_WORK_BEAD="gt-7", **OURS)
    made.gtftctl("prime", GT_WORK_BEAD="gt-7", **OURS)
    assert [None, "gt-7", "gt-7"] == [one.bead for one in daemon.asked]


@pytest.mark.parametrize("source", ["compact", "resume"])
def test_gts_own_short_path_is_left_to_it(made: PrimeTown, daemon: PrimeDaemon, source: str) -> None:
    """With its input, byte for byte."""
    assert is_full(made.gtftctl("prime", "--hook", stdin=payload(source), **OURS))
    [call] = [one for one in made.calls() if one["argv"][0] == "prime"]
    assert (["prime", "--hook"], payload(source).decode()) == (call["argv"], call["stdin"])
    assert [] == daemon.asked


@pytest.mark.parametrize("stdin", [b"", b"no json\n", b"[1]\n", b"{" * 70_000 + b"\n"])
def test_a_hook_whose_input_is_not_understood_is_left_to_gt(made: PrimeTown, daemon: PrimeDaemon, stdin: bytes) -> None:
    """It gets the same input."""
    assert is_full(made.gtftctl("prime", "--hook", stdin=stdin, **OURS))
    assert stdin.decode() == made.calls()[0]["stdin"]


def test_a_handoff_is_told_by_gt(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """Its successor must know that the handoff is done; gt removes the marker when it says so."""
    (made.cwd / ".runtime").mkdir()
    (made.cwd / ".runtime" / "handoff_to_successor").write_text("5e551011\n")
    assert is_full(made.gtftctl("prime", **OURS))


def test_an_agent_in_anothers_folder_is_warned_by_gt(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """GT_ROLE and the folder disagree."""
    (made.cwd.parents[1] / "ann" / "gastown").mkdir(parents=True)
    for folder in (made.root / "mayor", made.cwd.parents[1] / "ann" / "gastown"):
        told = made.gtftctl("prime", "--town", made.root, cwd=folder, **OURS)
        assert is_full(told)


def test_without_gt_the_agent_is_told_nothing_wrong(made: PrimeTown) -> None:
    """One line on stderr, and an exit code."""
    made.gt.write_text("#!/nonexistent/interpreter\n")
    told = made.gtftctl("prime", GT_AGENT="claude")
    assert (1, "", True) == (told.returncode, told.stdout, f"{made.gt} cannot be run" in told.stderr)
    made.gt.unlink()
    told = made.gtftctl("prime", GT_AGENT="claude")
    assert (1, "", True) == (told.returncode, told.stdout, "there is no gt on the PATH" in told.stderr)


def test_a_gt_of_ours_is_never_taken_for_gt(made: PrimeTown) -> None:
    """The stand-in may be first on the PATH."""
    prime_hooks.install(made.scope(), made.known)
    quiet = made.state_dir / "hooks" / "quiet"
    assert is_full(made.gtftctl("prime", PATH=f"{quiet}:{made.gt.parent}:/usr/bin:/bin", GT_AGENT="claude"))
    made.gt.unlink()
    assert 1 == made.gtftctl("prime", PATH=f"{quiet}:{made.gt.parent}:/usr/bin:/bin", GT_AGENT="claude").returncode


def test_which_prime_and_why_can_be_asked(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """For people and for programs; neither prime is printed."""
    told = made.gtftctl("prime", "--explain", **OURS).stdout
    for words in ("prime    reduced", "node0-polecat is one of our own", "polecat of gastown", "321", "200  the bead"):
        assert words in told
    assert "You are nux" not in told
    as_json = json.loads(made.gtftctl("prime", "--json", **OURS).stdout)
    assert ("reduced", 321, ANSWER.text) == (as_json["prime"], as_json["tokens"], as_json["text"])
    full = json.loads(made.gtftctl("prime", "--explain", "--json", GT_AGENT="claude").stdout)
    assert ("full", "claude") == (full["prime"], full["agent"])
    assert [] == made.calls()


def test_each_prime_can_be_looked_at(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """The short one whoever runs, or why there is none; the full one without asking."""
    assert ANSWER.text == made.gtftctl("prime", "--reduced", GT_AGENT="claude").stdout
    daemon.error = NotReady("not indexed yet")
    told = made.gtftctl("prime", "--reduced", **OURS)
    assert (1, "", "error: not indexed yet\n") == (told.returncode, told.stdout, told.stderr)
    daemon.error = None
    assert is_full(made.gtftctl("prime", "--full", **OURS))


def test_the_settings_of_the_town_say_who_it_is_when_the_session_does_not(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """As gt would resolve it."""
    settings = made.root / "settings" / "config.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"agents": {"node0-p": {"command": "x"}}, "role_agents": {"polecat": "node0-p"}}))
    assert ANSWER.text == made.gtftctl("prime").stdout
    settings.write_text("{ half")
    assert is_full(made.gtftctl("prime"))


# The script, as gt's settings call it.


@pytest.fixture
def installed(made: PrimeTown) -> PrimeTown:
    changes = prime_hooks.install(made.scope(), made.known)
    assert all(change.ok for change in changes)
    return made


def start(made: PrimeTown, source: str = "startup", **environ: str) -> subprocess.CompletedProcess[str]:
    return made.shell(command_of(made.settings("polecat")), payload(source), **environ)


MAIL = "you have mail\n"


def test_the_script_prints_the_short_prime_and_the_mail(installed: PrimeTown, daemon: PrimeDaemon) -> None:
    """What stood behind gt's prime still runs."""
    told = start(installed, **OURS)
    assert (0, ANSWER.text + MAIL) == (told.returncode, told.stdout)


def test_what_gt_records_of_a_session_is_not_lost(installed: PrimeTown, daemon: PrimeDaemon) -> None:
    """It primes unread, with the same input and in the same folder; mail and nudges stay for whoever reads them."""
    for begin in (start, lambda made, **environ: made.gtftctl("prime", "--hook", stdin=payload(), **environ)):
        (installed.folder / "gt.log").unlink(missing_ok=True)
        begin(installed, **OURS)
        after = until(lambda: [one for one in installed.calls() if one["argv"] == ["after"]], "gt primed unread")
        [primed] = [one for one in installed.calls() if one["argv"][0] == "prime"]
        assert (["prime", "--hook"], payload().decode()) == (primed["argv"], primed["stdin"])
        assert (True, str(installed.cwd), ROLE) == (primed["quiet"], primed["cwd"], primed["role"])
        assert "" == after[0]["mail"]
        assert [] == [one for one in installed.calls() if one["argv"][:1] == ["mail"] and one["quiet"]]


def test_without_the_script_nothing_is_lost_either(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """The stand-in is made when it is wanted."""
    told = made.gtftctl("prime", "--hook", stdin=payload(), **OURS)
    assert ANSWER.text == told.stdout
    after = until(lambda: [one for one in made.calls() if one["argv"] == ["after"]], "gt primed unread")
    assert ("", True) == (after[0]["mail"], after[0]["quiet"])


def test_another_model_costs_no_python(installed: PrimeTown, daemon: PrimeDaemon) -> None:
    """The interpreter may even be gone: gt takes the script's place, with its input."""
    conf = installed.state_dir / "hooks" / "prime.conf"
    conf.write_text(conf.read_text().replace(sys.executable, "/bin/false"))
    told = start(installed, GT_AGENT="claude")
    assert (0, FULL + MAIL) == (told.returncode, told.stdout)
    assert payload().decode() == installed.calls()[0]["stdin"]
    assert [] == daemon.asked


@pytest.mark.parametrize("source", ["compact", "resume"])
def test_the_script_leaves_gts_short_path_to_gt(installed: PrimeTown, daemon: PrimeDaemon, source: str) -> None:
    """Once, and not unread beside it."""
    assert FULL + MAIL == start(installed, source, **OURS).stdout
    assert 1 == len([one for one in installed.calls() if one["argv"][0] == "prime"])


BREAKS = {
    "no daemon": "true",
    "no state": "rm -rf state",
    "no configuration of the script": "rm state/hooks/prime.conf",
    "no interpreter": "sed -i 's#^python=.*#python=/nonexistent/python#' state/hooks/prime.conf",
    "an interpreter that fails": "sed -i 's#^python=.*#python=/bin/false#' state/hooks/prime.conf",
    "an interpreter that prints and fails": "printf '#!/bin/sh\\necho half; exit 1\\n' >p; chmod +x p; "
    'sed -i "s#^python=.*#python=$PWD/p#" state/hooks/prime.conf',
    "an interpreter that prints nothing": "sed -i 's#^python=.*#python=/bin/true#' state/hooks/prime.conf",
    "an interpreter that is killed": "printf '#!/bin/sh\\necho half; kill -9 $$\\n' >p; chmod +x p; "
    'sed -i "s#^python=.*#python=$PWD/p#" state/hooks/prime.conf',
    "an interpreter that hangs": "printf '#!/bin/sh\\necho half; exec sleep 60\\n' >p; chmod +x p; "
    'sed -i "s#^python=.*#python=$PWD/p#" state/hooks/prime.conf',
    "a script that cannot be executed": "chmod -x state/hooks/gtftd-prime",
    "a gtftd that is gone": "sed -i 's#^python=.*#python=/usr/bin/env#' state/hooks/prime.conf",
    "a configuration of noise": "head -c 4096 /dev/urandom >state/hooks/prime.conf",
}


@pytest.mark.parametrize("how", BREAKS)
def test_whatever_is_broken_the_agent_gets_gts_prime(installed: PrimeTown, how: str) -> None:
    """Whole and once, with the same input, and then its mail."""
    subprocess.run(["/bin/sh", "-c", BREAKS[how]], cwd=installed.folder, check=True, timeout=20)
    told = start(installed, **OURS)
    assert (0, FULL + MAIL) == (told.returncode, told.stdout)
    [primed] = [one for one in installed.calls() if one["argv"][0] == "prime"]
    assert (payload().decode(), False) == (primed["stdin"], primed["quiet"])


def test_a_failing_gt_is_a_failing_script(installed: PrimeTown) -> None:
    """Its exit code is gt's, so that what stands behind `&&` does not run."""
    for agent in ("claude", "node0-polecat"):
        told = start(installed, GT_AGENT=agent, TEST_GT_EXIT="7")
        assert (7, FULL) == (told.returncode, told.stdout)


def test_an_input_that_never_ends_does_not_hold_the_start(installed: PrimeTown, daemon: PrimeDaemon) -> None:
    """A line is enough for gt; the script goes on with what came within a second."""
    given, giver = os.pipe()
    os.write(giver, payload())
    try:
        told = subprocess.run(
            ["/bin/sh", "-c", command_of(installed.settings("polecat"))],
            stdin=given,
            env=installed.environ(**OURS),
            cwd=installed.cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(given)
        os.close(giver)
    assert ANSWER.text + MAIL == told.stdout


def test_the_recording_outlives_the_start_and_not_its_limit(installed: PrimeTown, daemon: PrimeDaemon) -> None:
    """It is in a session of its own: the end of the hook's process group is not its end."""
    started = subprocess.Popen(
        ["/bin/sh", "-c", command_of(installed.settings("polecat"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=installed.environ(**OURS),
        cwd=installed.cwd,
        start_new_session=True,
    )
    told, _ = started.communicate(payload(), timeout=60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    assert told.decode().startswith(HEADER)
    until(lambda: [one for one in installed.calls() if one["argv"] == ["after"]], "gt primed unread")


def test_a_session_without_a_role_is_not_asked_about(installed: PrimeTown, daemon: PrimeDaemon) -> None:
    """A person in the folder of an agent."""
    environ = {name: value for name, value in installed.environ().items() if not name.startswith("GT_ROLE")}
    told = subprocess.run(
        ["/bin/sh", "-c", command_of(installed.settings("mayor"))],
        input=payload().decode(), env=environ, cwd=installed.root / "mayor",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert FULL == told.stdout
    assert [] == daemon.asked


# Installed, checked and taken out by an operator.


def test_one_command_installs_and_one_takes_out(made: PrimeTown, daemon: PrimeDaemon) -> None:
    """With a table for people, JSON for programs, and an exit code that says whether all is well."""
    target = ("--town", made.root)
    before = made.settings("polecat").path.read_bytes()
    told = made.gtftctl("prime", "install", *target, "--role", "polecat", "--rig", "gastown")
    assert (0, "") == (told.returncode, told.stderr)
    assert "settings.json" in told.stdout
    assert ANSWER.text + MAIL == start(made, **OURS).stdout
    status = json.loads(made.gtftctl("prime", "status", *target, "--json").stdout)
    assert all(one["ok"] for one in status)
    rows = {one["what"]: one["detail"] for one in status}
    assert ("", "full prime: not installed") == (rows["gastown/polecat"], rows["gastown/crew"])
    made.sync()
    assert 1 == made.gtftctl("prime", "status", *target).returncode
    assert 0 == made.gtftctl("prime", "install", *target).returncode
    assert 0 == made.gtftctl("prime", "status", *target).returncode
    assert 0 == made.gtftctl("prime", "uninstall", *target).returncode
    assert not (made.state_dir / "hooks").exists()
    assert before == made.template("polecat")


def test_a_role_or_a_rig_that_is_none_is_told(made: PrimeTown) -> None:
    """With those that are."""
    told = made.gtftctl("prime", "install", "--town", made.root, "--rig", "gastwon")
    assert (2, True) == (told.returncode, "gastwon is none of gastown, beads" in told.stderr)
    assert 2 == made.gtftctl("prime", "status", "--town", made.root, "--role", "piper").returncode


def test_the_script_is_for_its_owner_alone_to_change(installed: PrimeTown) -> None:
    """Agents of the same user run it; nobody else writes it or what it knows."""
    hooks = installed.state_dir / "hooks"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (hooks / "gtftd-prime", hooks / "prime.conf")}
    assert {"gtftd-prime": 0o755, "prime.conf": 0o600} == modes


def test_the_answer_that_is_read_by_hand_is_the_contracts() -> None:
    """What the models write is understood without them."""
    reduced = read_answer(ANSWER.model_dump(mode="json"), "polecat", 3000)
    assert ANSWER == PrimeResult.model_validate(
        {**vars(reduced), "sections": [vars(section) for section in reduced.sections]}
    )
