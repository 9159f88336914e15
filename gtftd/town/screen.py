"""The last resort where no transcript exists: what stands on an agent's tmux screen and in its scrollback."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from contextlib import suppress

from gtftd.town.conversation import RawCall, RawMessage
from gtftd.town.jsonl import clean
from gtftd.town.layout import Town

MAX_SCREEN_CHARS = 16 * 1024 * 1024
_SESSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_@+-]{0,127}")

_PROMPT = re.compile(r"\s?[>\u276f]\s(?P<text>\S.*)")
_INPUT_BOX = re.compile(r"\s?[>\u276f]\s*")
_SPOKEN = re.compile(r"\s?[●⏺]\s(?P<text>\S.*)")
_CALL = re.compile(r"(?P<name>[A-Z][A-Za-z]{1,30}|mcp__\w{1,100}|[a-z_-]{1,40} - [a-z_]{1,60} \(MCP\))\((?P<input>.*)")
_RESULT = re.compile(r"\s{0,4}⎿\s{0,2}(?P<text>.*)")
_DRAWING = re.compile(r"[\s─━│┃╭╮╰╯┌┐└┘├┤▐▛▜▌▘▝█▔▁═║╔╗╚╝╌…-]*")
_STATUS = re.compile(
    r"\s*(?:[✢✳✶✻✽\u2217·*]\s.{0,200}(?:…|esc to interrupt|for \d+[hms]).*|\? for shortcuts.*|⏵⏵.*|⏸.*"
    r"|.{0,80}(?:bypass permissions on|auto-accept edits on|plan mode on|Context left until|esc to interrupt).*"
    r"|.{0,20}ctrl\+[a-z] to (?:expand|run|see).*)"
)


async def capture(
    town: Town, tmux_session: str, *, environ: Mapping[str, str] = os.environ, timeout_s: float = 5.0
) -> str | None:
    """The whole pane with its scrollback, wrapped lines joined; None when there is no such session.

    gt's agents live on a private socket named after the town (gastown.md 1.6).
    """
    if not _SESSION.fullmatch(tmux_session):
        return None
    command = ("tmux", "-u", "-L", socket_name(town, environ), "capture-pane", "-p", "-J", "-S", "-")
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            "-t",
            f"={tmux_session}:",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:  # no tmux on this machine
        return None
    try:
        async with asyncio.timeout(timeout_s):
            printed, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        return None
    return clean(printed.decode(errors="replace"))[-MAX_SCREEN_CHARS:]


def socket_name(town: Town, environ: Mapping[str, str] = os.environ) -> str:
    """The socket of gt: the town's slug, unless `GT_TMUX_SOCKET` names another (registry.go)."""
    named = environ.get("GT_TMUX_SOCKET", "")
    return town.slug if named in ("", "default", "auto") else named


def parse_screen(text: str) -> tuple[RawMessage, ...]:
    """Read a Claude Code screen. Everything is of kind `terminal`; nothing is trainable: a screen drops,
    folds and redraws text, and who said what is a guess.
    """
    messages: list[RawMessage] = []
    block: list[str] = []
    kind = ""

    def flush() -> None:
        said = "\n".join(block).strip("\n")
        if kind and said:
            messages.append(_message(kind, said, len(messages), messages))
        block.clear()

    for line in text.splitlines():
        bare = line.rstrip()
        if bare and (_DRAWING.fullmatch(bare) or _STATUS.fullmatch(bare)):
            continue
        bare = bare.strip("│").rstrip() if bare.lstrip().startswith("│") else bare
        for pattern, name in ((_PROMPT, "user"), (_SPOKEN, "assistant"), (_RESULT, "tool")):
            if (match := pattern.fullmatch(bare)) is not None:
                flush()
                kind = name
                block.append(match["text"])
                break
        else:
            if _INPUT_BOX.fullmatch(bare) or (not bare and kind == "user"):
                flush()
                kind = ""
            elif kind:
                block.append(bare.removeprefix("  " if kind != "tool" else "     "))
    flush()
    return tuple(messages)


def _message(kind: str, said: str, place: int, before: list[RawMessage]) -> RawMessage:
    if kind == "user":
        return RawMessage("user", said, kind="terminal")
    if kind == "tool":
        calls = before[-1].tool_calls if before else ()
        if not calls:
            return RawMessage("user", said, kind="terminal")
        return RawMessage("tool", said, tool_call_id=calls[-1].id, kind="terminal")
    if (call := _CALL.match(said)) is not None and said.endswith(")"):
        inside = said[call.start("input") : -1]
        arguments = {"command": inside} if call["name"] == "Bash" else {"input": inside}
        return RawMessage(
            "assistant", tool_calls=(RawCall(f"screen_{place}", call["name"], arguments),), kind="terminal"
        )
    return RawMessage("assistant", said, kind="terminal")
