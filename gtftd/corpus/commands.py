"""The commands in a shell line that end the work on a bead; a reader of shell, never a runner of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Ending = Literal["close", "done", "handoff", "unhook"]
BEAD_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}(?:-[A-Za-z0-9_]+){1,6}(?:\.\d+)*")
_MAX_CHARS = 64 * 1024
_MAX_NESTING = 3

_TOKEN = re.compile(
    r"""
      (?P<word>[^\s'"\\;&|()<>`#]+)
    | (?P<single>'[^']*'?)
    | (?P<double>"(?P<inside>(?:[^"\\]|\\.)*)"?)
    | (?P<escape>\\.?)
    | (?P<document><<-?[ \t]*['"]?(?P<mark>[A-Za-z_][A-Za-z0-9_]*)['"]?)
    | (?P<comment>\#)
    | (?P<end>[;&|()`\n])
    | .
    """,
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_DURATION = re.compile(r"\d+(?:\.\d+)?[smhd]?")
_PREFIXES = frozenset({
    "if", "then", "else", "elif", "while", "until", "do", "!", "{", "time", "nohup", "command", "exec",
    "builtin", "sudo", "env", "timeout",
})  # fmt: skip
_SHELLS = frozenset({"sh", "bash", "zsh", "dash"})
_VALUED = frozenset({
    "-r", "--reason", "--reason-file", "-m", "--message", "--comment", "--resolution", "--session",
    "--actor", "--db", "-C", "--directory", "--notes", "--note", "--subject", "-s", "--status",
    "--exit", "--cleanup-status", "--branch", "-p", "--priority", "--author", "--rig", "--issue",
    "--title", "-d", "--description", "--design", "--assignee", "-a", "--message-file",
})  # fmt: skip


@dataclass(frozen=True)
class Closing:
    """One command that ends work: on `bead`, or on whatever is on the agent's hook when it is None."""

    bead: str | None
    kind: Ending


def closings(command: str) -> tuple[Closing, ...]:
    """What a shell command line ends, in order. Unbalanced quotes and half commands do no harm."""
    return tuple(_of_text(command[:_MAX_CHARS], 0))


def _of_text(text: str, nesting: int) -> Iterator[Closing]:
    for words in split_commands(text):
        program, arguments = _program(words)
        if program in _SHELLS or program == "eval":
            if nesting < _MAX_NESTING:
                yield from _nested(program, arguments, nesting)
        elif program in ("bd", "gt"):
            yield from _of_command(program, arguments)


def _nested(program: str, arguments: list[str], nesting: int) -> Iterator[Closing]:
    if program == "eval":
        yield from _of_text(" ".join(arguments), nesting + 1)
        return
    for flag, script in pairwise(arguments):
        if flag.startswith("-") and flag.endswith("c"):
            yield from _of_text(script, nesting + 1)
            return


def _of_command(program: str, arguments: list[str]) -> Iterator[Closing]:
    if not {"--help", "-h", "--dry-run"}.isdisjoint(arguments):
        return
    plain, flags = _sorted(arguments)
    verb, beads = (plain[0], [word for word in plain[1:] if BEAD_ID.fullmatch(word)]) if plain else ("", [])
    match program, verb:
        case ("bd" | "gt", "close") | ("bd", "done"):
            yield from (Closing(bead, "close") for bead in beads)
        case ("bd", "update") if flags.get("--status", flags.get("-s")) == "closed":
            yield from (Closing(bead, "close") for bead in beads)
        case ("gt", "mq") if plain[1:2] == ["post-merge"]:
            yield from (Closing(bead, "close") for bead in beads[1:])
        case ("gt", "done"):
            yield Closing(flags.get("--issue"), "done")
        case ("gt", "handoff"):
            yield Closing(None, "handoff")
        case ("gt", "unsling" | "unhook"):
            yield Closing(beads[0] if beads else None, "unhook")


def _sorted(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Plain words and flags with their values; `--flag value` only for the flags known to take one."""
    plain: list[str] = []
    flags: dict[str, str] = {}
    waiting: str | None = None
    for word in arguments:
        if waiting is not None:
            flags[waiting] = word
            waiting = None
        elif word.startswith("-") and len(word) > 1:
            name, equals, value = word.partition("=")
            if equals:
                flags[name] = value
            elif word in _VALUED:
                waiting = word
        else:
            plain.append(word)
    return plain, flags


def _program(words: list[str]) -> tuple[str, list[str]]:
    """The program's own name and its arguments, past assignments and wrappers such as `timeout 60`."""
    wrapped = False
    for place, word in enumerate(words):
        if _ASSIGNMENT.match(word) or (wrapped and (word.startswith("-") or _DURATION.fullmatch(word))):
            continue
        if word in _PREFIXES:
            wrapped = True
            continue
        return word.rpartition("/")[2], words[place + 1 :]
    return "", []


def split_commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell text as lists of words, quotes removed; one pass, never raises.

    Here-documents and comments are skipped: what they hold is text, not commands.
    """
    words: list[str] = []
    word: list[str] = []
    in_word = False
    documents: list[str] = []
    place = 0
    while (token := _TOKEN.match(text, place)) is not None:
        place, sign = token.end(), token.group()
        part = _part(token, in_word)
        if part is not None:
            word.append(part)
            in_word = True
            continue
        if in_word:
            words.append("".join(word))
            word, in_word = [], False
        if token.lastgroup == "comment":
            place = _line_end(text, place)
        elif token.lastgroup == "document":
            documents.append(token.group("mark"))
        elif token.lastgroup == "end":
            if words:
                yield words
                words = []
            if sign == "\n":
                place = _past(text, place, documents)
                documents = []
    if in_word:
        words.append("".join(word))
    if words:
        yield words


def _part(token: re.Match[str], in_word: bool) -> str | None:
    """What a token adds to a word; None when it ends the word. A backslash before a newline adds nothing."""
    sign = token.group()
    match token.lastgroup:
        case "word":
            return sign
        case "single":
            return sign[1:-1] if len(sign) > 1 and sign.endswith("'") else sign[1:]
        case "double":
            return _ESCAPE.sub(r"\1", token.group("inside"))
        case "escape":
            return "" if sign == "\\\n" else sign[1:]
        case "comment" if in_word:
            return sign
        case _:
            return None


def _line_end(text: str, place: int) -> int:
    end = text.find("\n", place)
    return len(text) if end < 0 else end


def _past(text: str, place: int, documents: list[str]) -> int:
    """The place after the bodies of the here-documents that a line began."""
    for mark in documents:
        while place < len(text):
            end = _line_end(text, place)
            line = text[place:end].strip()
            place = end + 1
            if line == mark:
                break
    return place
