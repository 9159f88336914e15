"""gtftctl prime without typer: the same words mean the same, and nothing heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gtftd.ctl.prime_ask import Asked
from gtftd.ctl.prime_fast import read_arguments
from gtftd.ctl.prime_quick import understood
from gtftd.ctl.prime_run import Wanted
from gtftd.errors import Invalid
from gtftd.town.session_files import parse_hook_input

HEAVY = ("typer", "click", "rich", "pydantic", "asyncio", "structlog", "subprocess", "argparse", "importlib.metadata")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], Wanted(Asked())),
        (["--hook"], Wanted(Asked(), hook=True)),
        (["--full"], Wanted(Asked(), full=True)),
        (["--role", "gastown/polecats/nux"], Wanted(Asked("gastown/polecats/nux"))),
        (["--reduced", "--role=crew", "--rig", "g", "--bead=b-1"], Wanted(Asked("crew", "g", "b-1", forced=True))),
        (
            ["--town", "/t", "--state-dir=/s", "--config", "/c"],
            Wanted(Asked(), town=Path("/t"), state_dir=Path("/s"), config=Path("/c")),
        ),
    ],
)
def test_plain_words_are_understood(words: list[str], wanted: Wanted) -> None:
    """Each option of the start of a session."""
    assert wanted == understood(words)


@pytest.mark.parametrize(
    "words",
    [
        ["install"],
        ["--help"],
        ["-h"],
        ["--explain"],
        ["--json"],
        ["--role"],
        ["--role="],
        ["--role", "piper"],
        ["--rig", ""],
        ["--full", "--reduced"],
        ["--hook=yes"],
        ["--unknown"],
        ["report", "--role", "crew"],
    ],
)
def test_everything_else_is_for_typer(words: list[str]) -> None:
    """It has the words for mistakes, and the other commands."""
    assert understood(words) is None


@pytest.mark.parametrize("module", ["gtftd.ctl.prime_fast", "gtftd.ctl.prime_quick"])
def test_the_start_of_a_session_waits_for_nothing_heavy(module: str) -> None:
    """Not even when the daemon is asked."""
    code = f"import sys, {module}, gtftd.control.client; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert [] == told.stdout.split()


def test_the_scripts_words_are_understood() -> None:
    """Options, and gt's command behind the dashes."""
    given, command = read_arguments(["--state-dir", "/s", "--town", "/t x", "--", "/b/gt", "prime", "--hook"])
    assert ({"--state-dir": Path("/s"), "--town": Path("/t x")}, ["/b/gt", "prime", "--hook"]) == (given, command)


@pytest.mark.parametrize(
    "words", [[], ["--state-dir", "/s"], ["--", "gt"], ["--state-dir", "--", "gt"], ["--x", "y", "--", "gt"]]
)
def test_a_script_of_another_version_is_told(words: list[str]) -> None:
    """It then runs gt."""
    with pytest.raises(Invalid):
        read_arguments(words)


@pytest.mark.parametrize(
    ("raw", "is_understood", "source"),
    [
        (b'{"source": "startup"}\n', True, "startup"),
        (b'{"source": "clear"}', True, "clear"),
        (b'{"source": "clear"}\nmore', True, "clear"),
        (b'{"source": 7}\n', True, ""),
        (b'{"hook_event_name": "PreCompact"}\n', True, ""),
        (b"", False, ""),
        (b"\n", False, ""),
        (b'{\n"source": "clear"}', False, ""),
        (b"\xff\xfe", False, ""),
        (b"[" * 100_000, False, ""),
    ],
)
def test_a_hooks_input_is_read_as_gt_reads_it(raw: bytes, is_understood: bool, source: str) -> None:
    """One line of JSON; what comes back is what came in."""
    found = parse_hook_input(raw)
    assert (raw, is_understood, source) == (found.raw, found.is_understood, found.source)
