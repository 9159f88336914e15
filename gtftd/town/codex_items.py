"""The response items of Codex's rollouts: one item in, the words and calls that it holds out."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gtftd.town.conversation import SHELL_TOOLS, Kind, RawCall
from gtftd.town.jsonl import clean, parse

_META = re.compile(
    r"\s*(?:# AGENTS\.md instructions\b|<(?:environment_context|user_instructions|instructions|skill|"
    r"skills_instructions|user_shell_command|turn_aborted|subagent_notification|goal_context|codex_internal_context|external_\w+|"
    r"permissions instructions|collaboration_mode|model_switch|personality_spec)[\s>])",
    re.IGNORECASE,
)
_HOOK = re.compile(r"\s*<hook_prompt[\s>]", re.IGNORECASE)
_SUMMARY = "Another language model started to solve this problem and produced a summary"
_HEADER_CHARS = 512
_FREEFORM = re.compile(r"Exit code: (-?\d{1,10})\nWall time: ")
_EXITED = re.compile(r"(?:Chunk ID: \S*\n)?Wall time: [^\n]{1,40}\nProcess exited with code (-?\d{1,10})\n")
_ABORTED = re.compile(r"(?:Wall time: [^\n]{1,40}\n)?aborted(?: by user\b|\Z)")
_SHELLS = frozenset({"sh", "bash", "zsh", "dash"})


@dataclass(frozen=True)
class Result:
    """What a tool answered."""

    content: str
    is_error: bool


def kind_of(text: str) -> Kind:
    """Whether the harness wrote a user's message (context, instructions, a hook, a summary) or somebody else."""
    head = text[:200]
    if _HOOK.match(head):
        return "hook"
    if head.lstrip().startswith(_SUMMARY):
        return "compaction"
    return "meta" if _META.match(head) else "turn"


def texts(content: object, dropped: Counter[str]) -> Iterator[str]:
    """The texts of a message's or an output's content items; others are counted."""
    if isinstance(content, str):
        yield clean(content)
        return
    if not isinstance(content, list):
        dropped["unknown_block"] += 1
        return
    for item in content:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind in ("input_text", "output_text", "text") and isinstance(item.get("text"), str):
            yield clean(item["text"])
        else:
            dropped["image" if kind == "input_image" else "unknown_block"] += 1


def reasoning(item: Mapping[str, object]) -> str:
    """The summary of the model's reasoning, or what the file has of it; most of it is encrypted."""
    said = []
    for part in (item.get("summary"), item.get("content")):
        for entry in part if isinstance(part, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("text"), str):
                said.append(clean(entry["text"]))
    return "\n\n".join(said)


def read_call(item: Mapping[str, object], dropped: Counter[str]) -> RawCall:
    """A call of a function, of a free-form tool, or of the local shell; a script is under `command`, always."""
    ident = short(item.get("call_id")) or short(item.get("id")) or ""
    name = short(item.get("name")) or ""
    match item.get("type"):
        case "local_shell_call":
            action = item.get("action")
            name, arguments = "local_shell", dict(action) if isinstance(action, dict) else {}
            arguments.pop("type", None)
        case "custom_tool_call":
            arguments = {"input": item.get("input")}
        case _:
            arguments = _arguments(item.get("arguments"), dropped)
    if name in SHELL_TOOLS:
        arguments = _with_script(arguments)
    return RawCall(ident, name, arguments)


def read_result(item: Mapping[str, object], dropped: Counter[str]) -> Result:
    """What a tool answered; an error when it says so: by its exit code, by `success`, or that it was aborted."""
    output = item.get("output")
    failed = False
    if isinstance(output, dict):
        failed = output.get("success") is False
        output = output.get("content")
    content = "\n".join(texts(output, dropped))
    structured = _structured(content)
    if structured is not None:
        return Result(structured.content, failed or structured.is_error)
    return Result(content, failed or _says_failed(content[:_HEADER_CHARS]))


def short(value: object) -> str | None:
    """A short name or id; None when it is missing or absurd."""
    return clean(value) if isinstance(value, str) and 0 < len(value) <= 4096 else None


def _arguments(given: object, dropped: Counter[str]) -> dict[str, object]:
    if isinstance(given, dict):
        return given
    loaded = parse(clean(given).encode(), Counter()) if isinstance(given, str) else None
    if loaded is None:
        dropped["bad_input"] += 1
        return {}
    return loaded


def _with_script(arguments: dict[str, object]) -> dict[str, object]:
    """The same call with its script as one string, where the shell's own arguments held it."""
    given = dict(arguments)
    command = given.pop("cmd", None) if "command" not in given else given["command"]
    if isinstance(command, list) and all(isinstance(word, str) for word in command):
        command = _script(command)
    if command is not None:
        given["command"] = command
    return given


def _script(argv: list[str]) -> str:
    if len(argv) == 3 and argv[0].rpartition("/")[2] in _SHELLS and argv[1] in ("-c", "-lc"):
        return argv[2]
    return shlex.join(argv)


def _structured(content: str) -> Result | None:
    """`{"output": ..., "metadata": {"exit_code": ...}}`, which Codex makes of a command's output."""
    if not content.startswith("{") or '"metadata"' not in content:
        return None
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(loaded, dict) or not isinstance(loaded.get("metadata"), dict):
        return None
    output, code = loaded.get("output"), loaded["metadata"].get("exit_code")
    if not isinstance(output, str) or not isinstance(code, int):
        return None
    return Result(clean(output), code != 0)


def _says_failed(head: str) -> bool:
    found = _FREEFORM.match(head) or _EXITED.match(head)
    return int(found[1]) != 0 if found else bool(_ABORTED.match(head))
