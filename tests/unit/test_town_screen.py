# ruff: noqa: RUF001 - the signs that Claude Code draws
"""The last resort: a real tmux on a socket of its own, and what a Claude Code screen says."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gtftd.town.layout import Town
from gtftd.town.screen import capture, parse_screen, socket_name

SCREEN = """\
╭──────────────────────────────────────────╮
│ ✻ Welcome to Claude Code!                │
╰──────────────────────────────────────────╯

❯ gt prime; work on your hook
  and do not ask

● I'll look at the bead first.
  It is short.

● Bash(bd show gt-abc12)
  ⎿  gt-abc12 · Fix the parser
     status: hooked

● Done.
✶ Pondering… (12s · esc to interrupt)
────────────────────────────────────────────
>
────────────────────────────────────────────
  ⏵⏵ bypass permissions on (shift+tab to cycle)
"""


def test_a_screen_is_read_as_a_conversation() -> None:
    """Prompts, answers, calls with their results; frames and status lines are dropped."""
    messages = parse_screen(SCREEN)
    assert [
        ("user", "gt prime; work on your hook\nand do not ask"),
        ("assistant", "I'll look at the bead first.\nIt is short."),
        ("assistant", ""),
        ("tool", "gt-abc12 · Fix the parser\nstatus: hooked"),
        ("assistant", "Done."),
    ] == [(message.role, message.content.replace(" \n", "\n")) for message in messages]
    call = messages[2].tool_calls[0]
    assert ("Bash", {"command": "bd show gt-abc12"}, call.id) == (call.name, call.arguments, messages[3].tool_call_id)


def test_nothing_from_a_screen_is_trainable() -> None:
    """Who said what on a screen is a guess."""
    messages = parse_screen(SCREEN)
    assert {("terminal", False)} == {(message.kind, message.trainable) for message in messages}


@pytest.mark.parametrize(
    "text", ["", "\n\n", "just a shell\n$ ls\na b\n", "⎿  a result of nothing", "● Bash(half", "❯ "]
)
def test_other_screens_do_no_harm(text: str) -> None:
    """A shell, half a call, a result without a call: no call is invented."""
    assert not any(message.tool_calls or message.role == "tool" for message in parse_screen(text))


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    if shutil.which("tmux") is None:
        pytest.skip("no tmux on this machine")
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("GT_TMUX_SOCKET", raising=False)
    found = Town(tmp_path / "gt")
    found.root.mkdir()
    yield found
    subprocess.run(["tmux", "-L", found.slug, "kill-server"], stderr=subprocess.DEVNULL, check=False)


async def test_the_whole_scrollback_of_the_right_session_is_captured(town: Town, tmp_path: Path) -> None:
    """More lines than the pane is high, and lines longer than it is wide, come back whole and unwrapped."""
    wide = "wide-" + "0123456789" * 30
    (tmp_path / "show").write_text("\n".join(["❯ go", wide, *(f"line {n}" for n in range(200)), "THE END"]) + "\n")
    for name in ("gt-nux", "gt-nux2"):
        command = f"cat {tmp_path / 'show'}; exec sleep 60" if name == "gt-nux" else "exec sleep 60"
        subprocess.run(
            ["tmux", "-L", town.slug, "-u", "new-session", "-d", "-s", name, "-x", "80", "-y", "24", command],
            check=True,
        )
    async with asyncio.timeout(20):
        while "THE END" not in (screen := await capture(town, "gt-nux") or ""):
            await asyncio.sleep(0.05)
    lines = screen.splitlines()
    assert wide in lines and "line 0" in lines and "❯ go" in lines
    assert "THE END" not in (await capture(town, "gt-nux2") or "")
    assert await capture(town, "gt-nu") is None  # no match by prefix


async def test_no_server_no_session_no_screen(town: Town) -> None:
    """None, and no tmux server is left behind by asking; odd names are not even asked for."""
    assert await capture(town, "gt-nux") is None
    assert await capture(town, "gt-nux:0; kill-server") is None


def test_the_socket_is_that_of_gt(tmp_path: Path) -> None:
    """Named after the town, unless the environment names another one."""
    town = Town(tmp_path)
    assert town.slug == socket_name(town, {}) == socket_name(town, {"GT_TMUX_SOCKET": "auto"})
    assert "mine" == socket_name(town, {"GT_TMUX_SOCKET": "mine"})
