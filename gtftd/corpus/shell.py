"""Shell text as the simple commands that it runs; a reader of shell, never a runner of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

MAX_CHARS = 64 * 1024
_MAX_DEPTH = 8
_MAX_NESTING = 3

_PLAIN = re.compile(r"[^\s'\"\\;&|()<>`#$]+")
_QUOTED = re.compile(r"[^\"\\$`]+")
_SINGLE = re.compile(r"'([^']*)'?")
_ANSI = re.compile(r"\$'((?:[^'\\]|\\.)*)'?", re.DOTALL)
_BLANKS = re.compile(r"[^\S\n]+")
_OPERATOR = re.compile(r"&>>?|<<<|<<-?|<>|<&|>&|>>|>\||&&|\|\||\|&|;;|[;&|<>]")
_MARK = re.compile(r"[^\S\n]*(?:'([^'\n]*)'|\"([^\"\n]*)\"|\\?([^\s'\";&|()<>]+))")
_WRITES = frozenset({">", ">>", ">|", "&>", "&>>"})
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=(.*)", re.DOTALL)
_DURATION = re.compile(r"\d+(?:\.\d+)?[smhd]?")
_SHELLS = frozenset({"sh", "bash", "zsh", "dash"})
_KEYWORDS = frozenset({"if", "then", "else", "elif", "while", "until", "do", "!", "{", "time", "coproc"})
_WRAPPERS: Mapping[str, frozenset[str]] = {
    "nohup": frozenset(), "command": frozenset(), "builtin": frozenset(), "setsid": frozenset(),
    "exec": frozenset({"-a"}), "stdbuf": frozenset(), "nice": frozenset({"-n"}), "ionice": frozenset({"-c", "-n"}),
    "sudo": frozenset({"-u", "-g", "-p", "-C", "-h", "-r", "-t", "-U"}), "doas": frozenset({"-u", "-C"}),
    "env": frozenset({"-u", "-C", "--unset", "--chdir"}),
    "timeout": frozenset({"-s", "-k", "--signal", "--kill-after"}),
    "xargs": frozenset({"-I", "-n", "-P", "-L", "-d", "-s", "-a", "-E"}),
}  # fmt: skip
"""Programs that run the program in their arguments, and the flags of theirs that take a value."""


@dataclass(frozen=True)
class Command:
    """One simple command: its words without quotes, what stands before it, and the files that it writes to."""

    words: tuple[str, ...]
    joint: str = ""
    writes: tuple[str, ...] = ()
    nested: bool = False
    """In a subshell or a substitution: it moves nobody else's working directory."""


@dataclass(frozen=True)
class Run:
    """One program as it is run: past assignments, keywords and wrappers such as `timeout 60`."""

    name: str
    arguments: tuple[str, ...] = ()
    sets: Mapping[str, str] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    joint: str = ""
    feeds_pipe: bool = False
    """Its output, and so its exit code, is lost to the program after it."""
    writes: tuple[str, ...] = ()
    nested: bool = False


def read_commands(text: str) -> tuple[Command, ...]:
    """The simple commands of a shell text; one pass, never raises, whatever the text is.

    Commands in `$(...)`, backticks and subshells stand before the command that holds them. Here-documents
    and comments are skipped: what they hold is text. Only the first 64 Ki characters are read.
    """
    reader = _Reader(text[:MAX_CHARS])
    while reader.place < len(reader.text):
        reader.read("", 0)
    return tuple(reader.found)


def read_runs(text: str, nesting: int = 0) -> Iterator[Run]:
    """The programs that a shell text runs; those inside `sh -c '...'` and `eval` in place of the shell."""
    commands = read_commands(text)
    for place, command in enumerate(commands):
        piped = place + 1 < len(commands) and commands[place + 1].joint in ("|", "|&")
        run = as_run(command, feeds_pipe=piped)
        script = _script(run)
        if script is None or nesting >= _MAX_NESTING:
            yield run
        else:
            yield from read_runs(script, nesting + 1)


def as_run(command: Command, *, feeds_pipe: bool = False) -> Run:
    """Which program a command runs, and how."""
    sets: dict[str, str] = {}
    wrappers: list[str] = []
    valued: frozenset[str] | None = None
    waiting = False
    for place, word in enumerate(command.words):
        if waiting:
            waiting = False
        elif assigned := _ASSIGNMENT.fullmatch(word):
            sets[assigned[1]] = assigned[2]
        elif valued is not None and word.startswith("-"):
            waiting = word in valued
        elif (wrappers and wrappers[-1] == "timeout" and _DURATION.fullmatch(word)) or word in _KEYWORDS:
            continue
        elif word in _WRAPPERS:
            wrappers.append(word)
            valued = _WRAPPERS[word]
        else:
            found = Run(word.rpartition("/")[2], command.words[place + 1 :])
            break
    else:
        found = Run("")
    return replace(
        found,
        sets=sets,
        wrappers=tuple(wrappers),
        joint=command.joint,
        feeds_pipe=feeds_pipe,
        writes=command.writes,
        nested=command.nested,
    )


def sort_arguments(arguments: Sequence[str], valued: frozenset[str]) -> tuple[list[str], dict[str, str]]:
    """Plain words, and flags with their values; `--flag value` only for the flags known to take one."""
    plain: list[str] = []
    flags: dict[str, str] = {}
    waiting: str | None = None
    for place, word in enumerate(arguments):
        if waiting is not None:
            flags[waiting] = word
            waiting = None
        elif word == "--":
            plain.extend(arguments[place + 1 :])
            break
        elif word.startswith("-") and len(word) > 1:
            name, equals, value = word.partition("=")
            flags[name] = value if equals else ""
            if not equals and word in valued:
                waiting = word
        else:
            plain.append(word)
    return plain, flags


def _script(run: Run) -> str | None:
    if run.name == "eval":
        return " ".join(run.arguments)
    if run.name in _SHELLS:
        for place, word in enumerate(run.arguments[:-1]):
            if word.startswith("-") and not word.startswith("--") and word.endswith("c"):
                return run.arguments[place + 1]
    return None


class _Reader:
    """Reads forward only, so that the time is that of the text's length however broken the text is."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.found: list[Command] = []

    def read(self, closer: str, depth: int) -> str:
        """Read commands up to `closer`; gives back what `cat <<EOF` would print, when that is all there is."""
        line = _Pending(depth)
        start, body = len(self.found), ""
        while self.place < len(self.text):
            sign = self.text[self.place]
            if sign == closer and not line.parens:
                self.place += 1
                break
            if sign == "\n":
                self.place += 1
                self._end(line, "\n")
                body = self._documents(line) or body
            elif not self._part(line, depth) and not self._operator(line, depth):
                self.place += 1
                line.end_word()
        self._end(line, "")
        held = self.found[start:]
        return body if len(held) == 1 and held[0].words == ("cat",) else "$()"

    def _part(self, line: _Pending, depth: int) -> bool:
        """Take what adds to the word; False when nothing here does."""
        text, place, sign = self.text, self.place, self.text[self.place]
        if found := _PLAIN.match(text, place):
            return self._take(line, found.group(), found.end())
        if sign == "'" and (found := _SINGLE.match(text, place)):
            return self._take(line, found[1], found.end())
        if sign == '"':
            self.place += 1
            return self._take(line, self._double(depth), None)
        if sign == "\\":
            following = text[place + 1 : place + 2]
            return self._take(line, "" if following == "\n" else following, place + 2, opens=following != "\n")
        if sign == "$":
            if found := _ANSI.match(text, place):
                return self._take(line, found[1], found.end())
            if text.startswith("$(", place) and depth < _MAX_DEPTH:
                self.place += 2
                return self._take(line, self.read(")", depth + 1), None)
            return self._take(line, "$", place + 1)
        if sign == "`" and depth < _MAX_DEPTH:
            self.place += 1
            return self._take(line, self.read("`", depth + 1), None)
        if sign == "#":
            if line.in_word:
                return self._take(line, "#", place + 1)
            end = text.find("\n", place)
            self.place = len(text) if end < 0 else end
            return True
        return False

    def _take(self, line: _Pending, part: str, end: int | None, *, opens: bool = True) -> bool:
        if end is not None:
            self.place = end
        line.word.append(part)
        line.in_word = line.in_word or opens
        return True

    def _double(self, depth: int) -> str:
        """The inside of double quotes; commands in it are found, as a shell would run them."""
        parts: list[str] = []
        while self.place < len(self.text):
            sign = self.text[self.place]
            if found := _QUOTED.match(self.text, self.place):
                parts.append(found.group())
                self.place = found.end()
            elif sign == '"':
                self.place += 1
                break
            elif sign == "\\":
                following = self.text[self.place + 1 : self.place + 2]
                parts.append("" if following == "\n" else following)
                self.place += 2
            elif depth < _MAX_DEPTH and (sign == "`" or self.text.startswith("$(", self.place)):
                self.place += 1 if sign == "`" else 2
                parts.append(self.read("`" if sign == "`" else ")", depth + 1))
            else:
                parts.append(sign)
                self.place += 1
        return "".join(parts)

    def _operator(self, line: _Pending, depth: int) -> bool:
        sign = self.text[self.place]
        if sign in "()":
            self.place += 1
            if sign == "(":
                self._end(line, ";" if line.words or line.in_word else line.joint)
                line.parens += 1
            else:
                self._end(line, ";")
                line.parens = max(0, line.parens - 1)
            return True
        if blanks := _BLANKS.match(self.text, self.place):
            self.place = blanks.end()
            line.end_word()
            return True
        found = _OPERATOR.match(self.text, self.place)
        if found is None:
            return False
        self.place, sign = found.end(), found.group()
        if sign in (";", ";;", "&", "&&", "||", "|", "|&"):
            self._end(line, sign)
        else:
            self._redirect(line, sign, depth)
        return True

    def _redirect(self, line: _Pending, sign: str, depth: int) -> None:
        line.end_descriptor()
        if sign in ("<<", "<<-"):
            mark = _MARK.match(self.text, self.place)
            if mark:
                self.place = mark.end()
                line.documents.append(mark[1] or mark[2] or mark[3] or "")
        elif sign in ("<", ">") and self.text.startswith("(", self.place) and depth < _MAX_DEPTH:
            self.place += 1
            self.read(")", depth + 1)
            line.word.append("$()")
            line.in_word = True
        else:
            line.redirect = sign

    def _end(self, line: _Pending, joint: str) -> None:
        line.end_word()
        if line.words or line.writes:
            nested = line.depth > 0 or line.parens > 0
            self.found.append(Command(tuple(line.words), line.joint, tuple(line.writes), nested))
        if line.words or line.writes or joint != "\n":
            line.joint = joint
        line.words, line.writes, line.redirect = [], [], ""

    def _documents(self, line: _Pending) -> str:
        """Go past the here-documents that the line began; gives back the last one's text."""
        body = ""
        for mark in line.documents:
            begin = self.place
            while self.place < len(self.text):
                end = self.text.find("\n", self.place)
                end = len(self.text) if end < 0 else end
                row, at = self.text[self.place : end].strip(), self.place
                self.place = end + 1
                if row == mark:
                    body = self.text[begin:at]
                    break
        line.documents = []
        return body


class _Pending:
    """The command that is being read."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.words: list[str] = []
        self.word: list[str] = []
        self.in_word = False
        self.joint = ""
        self.writes: list[str] = []
        self.redirect = ""
        self.documents: list[str] = []
        self.parens = 0

    def end_word(self) -> None:
        if self.in_word:
            word = "".join(self.word)
            if not self.redirect:
                self.words.append(word)
            elif self.redirect in _WRITES or (self.redirect == ">&" and not word.rstrip("-").isdigit() and word != "-"):
                self.writes.append(word)
            self.redirect = ""
        self.word, self.in_word = [], False

    def end_descriptor(self) -> None:
        """A number right before a redirection is no argument."""
        if self.in_word and "".join(self.word).isdigit():
            self.word, self.in_word = [], False
        self.end_word()
