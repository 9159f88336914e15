"""Runs the hooks of a Claude configuration directory as Claude Code does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gtftd.logs import get_logger
from gtftd.sampletown.beadhooks import run_limited

TIMEOUT_S = 60.0
log = get_logger("sampletown")


def run_claude_hooks(
    claude_dir: Path, event: str, payload: Mapping[str, object], environ: Mapping[str, str], cwd: Path
) -> int:
    """Run the commands for `event` one after the other, payload on standard input; how many ran.

    A matcher is a pattern for the whole of `source` or `reason`; empty or `*` matches everything.
    """
    subject = str(payload.get("source") or payload.get("reason") or "")
    text = json.dumps({**payload, "hook_event_name": event}, ensure_ascii=False)
    ran = 0
    for command, timeout_s in _commands(claude_dir / "settings.json", event, subject):
        ran += run_limited(["/bin/sh", "-c", command], text, environ, cwd=cwd, timeout_s=timeout_s)
    return ran


def _commands(settings: Path, event: str, subject: str) -> Iterator[tuple[str, float]]:
    try:
        entries = json.loads(settings.read_text(encoding="utf-8")).get("hooks", {}).get(event, [])
    except (OSError, ValueError) as error:
        log.warning("settings.unread", path=str(settings), error=str(error))
        return
    for entry in entries:
        matcher = str(entry.get("matcher") or "*")
        if matcher != "*" and not re.fullmatch(matcher, subject):
            continue
        for hook in entry.get("hooks", []):
            if hook.get("type") == "command" and hook.get("command"):
                yield str(hook["command"]), float(hook.get("timeout") or TIMEOUT_S)
