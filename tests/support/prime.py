"""A town with the settings that gt makes, gt's own ways with them, and a gt that tells how it was called."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtftd.town.layout import Town, load_town
from gtftd.town.prime_hooks import Scope
from gtftd.town.prime_script import Known
from gtftd.town.prime_settings import RoleSettings, role_settings

TEMPLATES = Path(__file__).parent / "claude_settings"
AUTONOMOUS = ("deacon", "boot", "polecat", "witness", "refinery")
ROLE = "gastown/polecats/nux"
PATH_SETUP = 'export PATH="$HOME/go/bin:$HOME/.local/bin:$PATH"'
FULL = "# the full prime of gt\n"
GT = r"""#!{python}
import json, os, sys, time
log = {log!r}
def note(**told):
    with open(log, "a") as file:
        file.write(json.dumps(told) + "\n")
given = "" if os.isatty(0) or sys.argv[1] != "prime" else sys.stdin.read()
inside = os.environ.get("GTFTD_REAL_GT", "")
note(argv=sys.argv[1:], stdin=given, quiet=bool(inside), role=os.environ.get("GT_ROLE"), cwd=os.getcwd())
if sys.argv[1] == "prime":
    import subprocess
    print({full!r}, end="", flush=True)
    mail = subprocess.run(["gt", "mail", "check", "--inject"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    note(argv=["after"], mail=mail.stdout, quiet=bool(inside))
elif sys.argv[1] == "mail":
    print("you have mail")
sys.exit(int(os.environ.get("TEST_GT_EXIT", "0")))
"""


@dataclass(frozen=True)
class PrimeTown:
    """On disk; `home` holds gt's overrides, `bin` the gt that tells."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "town"

    @property
    def town(self) -> Town:
        return load_town(self.root)

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def gt(self) -> Path:
        return self.folder / "bin" / "gt"

    @property
    def cwd(self) -> Path:
        return self.root / "gastown" / "polecats" / "nux" / "gastown"

    @property
    def known(self) -> Known:
        return Known(self.root, ("node0-*", "gtftd-*"))

    def scope(self, **chosen: Any) -> Scope:
        return Scope(self.town, self.state_dir, environ={"HOME": str(self.home)}, **chosen)

    def settings(self, role: str, rig: str | None = None) -> RoleSettings:
        rig = rig or ("gastown" if role in ("crew", "polecat", "witness", "refinery") else None)
        return next(one for one in role_settings(self.town) if (one.role, one.rig) == (role, rig))

    def template(self, role: str) -> bytes:
        """As gt writes it: with the path of its own program."""
        name = "autonomous" if role in AUTONOMOUS else "interactive"
        return (TEMPLATES / f"settings-{name}.json").read_bytes().replace(b"{{GT_BIN}}", str(self.gt).encode())

    def start_agent(self, file: RoleSettings) -> None:
        """What gt does to the settings before a session begins (gastown.md 3.2)."""
        if file.path.exists() and b"export PATH=" not in file.path.read_bytes():
            return
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_bytes(self.template(file.role))

    def sync(self) -> None:
        """`gt hooks sync`: base, then the role's override, then that of role and rig; not atomic, `&` escaped."""
        for file in role_settings(self.town):
            if file.target is None or not file.path.exists():
                continue
            hooks = json.loads(json.dumps(_base()))
            if file.role == "crew":
                handoff = {"type": "command", "command": f"{PATH_SETUP} && gt handoff --cycle"}
                _merge(hooks, {"PreCompact": [{"matcher": "", "hooks": [handoff]}]})
            for key in dict.fromkeys((file.target.rpartition("/")[2], file.target)):
                path = self.home / ".gt" / "hooks-overrides" / f"{key.replace('/', '__')}.json"
                if path.exists():
                    _merge(hooks, json.loads(path.read_text()))
            value = json.loads(file.path.read_text()) | {"hooks": hooks}
            file.path.write_text(json.dumps(value, indent=2).replace("&", "\\u0026") + "\n")

    def environ(self, **more: str) -> dict[str, str]:
        kept = {"HOME": str(self.home), "PATH": f"{self.gt.parent}:/usr/bin:/bin"}
        patient = {"GTFTD_PRIME__TIMEOUT_S": "1.5"}  # a busy machine is not what is tested
        return {**kept, **patient, "GT_ROLE": ROLE, "GT_ROOT": str(self.root), "GT_TOWN_ROOT": str(self.root), **more}

    def calls(self) -> list[dict[str, Any]]:
        """What the gt that tells was called with, in order."""
        log = self.folder / "gt.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def run(
        self, words: list[str | Path], stdin: bytes = b"", *, cwd: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in words],
            input=stdin.decode(),
            env=self.environ(**environ),
            cwd=cwd or self.cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def gtftctl(
        self, *words: str | Path, stdin: bytes = b"", cwd: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-P", "-c", "from gtftd.ctl import main; main()"]
        return self.run([*program, *words, "--state-dir", self.state_dir], stdin, cwd=cwd, **environ)

    def shell(self, command: str, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[str]:
        """A hook's command, as Claude Code runs it."""
        return self.run(["/bin/sh", "-c", command], stdin, **environ)


def make_prime_town(folder: Path) -> PrimeTown:
    """Two rigs; gt has made the settings of one of them and of the town."""
    made = PrimeTown(folder)
    (made.root / "mayor").mkdir(parents=True)
    (made.root / "mayor" / "town.json").write_text("{}")
    rigs = {"gastown": {"beads": {"prefix": "gt"}}, "beads": {"beads": {"prefix": "bd"}}}
    (made.root / "mayor" / "rigs.json").write_text(json.dumps({"rigs": rigs}))
    for one in (made.cwd, made.home, made.gt.parent, made.state_dir, made.root / "deacon" / "dogs" / "boot"):
        one.mkdir(parents=True)
    for file in role_settings(made.town):
        if file.rig != "beads":
            made.start_agent(file)
    made.gt.write_text(GT.format(python=sys.executable, log=str(folder / "gt.log"), full=FULL))
    made.gt.chmod(0o755)
    return made


def make_checkout(folder: Path) -> Path:
    """Of gt, with two roles: the least that a prime is put together from."""
    files = {
        "internal/templates/roles/polecat.md.tmpl": "# {{ cmd }}\n## Who\n{{ .Polecat }}\n",
        "internal/templates/roles/witness.md.tmpl": "# W\n",
        "internal/templates/townroot/claude.md": "Run {{cmd}} prime\n",
        ".beads/PRIME.md": "beads\n",
        "internal/formula/formulas/mol-polecat-work.formula.toml": _formula("mol-polecat-work"),
        "internal/formula/formulas/mol-witness-patrol.formula.toml": _formula("mol-witness-patrol"),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def _formula(name: str) -> str:
    step = '[[steps]]\nid = "a"\ntitle = "First"\ndescription = "' + "long " * 40 + '\\nsecond line"\n'
    return f'formula = "{name}"\nversion = 1\n{step}'


def _base() -> dict[str, Any]:
    def entry(matcher: str, *commands: str) -> dict[str, Any]:
        hooks = [{"type": "command", "command": f"{PATH_SETUP} && {command}"} for command in commands]
        return {"matcher": matcher, "hooks": hooks}

    return {
        "PreToolUse": [entry("Bash(gh pr create*)", "gt tap guard pr-workflow")],
        "SessionStart": [entry("", "gt prime --hook")],
        "PreCompact": [entry("", "gt prime --hook")],
        "UserPromptSubmit": [entry("", "gt mail check --inject")],
        "Stop": [entry("", "gt costs record")],
    }


def _merge(hooks: dict[str, Any], override: Mapping[str, Any]) -> None:
    """The same matcher replaces, an empty list of hooks removes, another matcher is added."""
    for event, groups in override.items():
        theirs = {group["matcher"]: group for group in groups}
        merged = [theirs.pop(group["matcher"], group) for group in hooks.get(event, [])]
        hooks[event] = [group for group in [*merged, *theirs.values()] if group["hooks"]]


def payload(source: str = "startup", event: str = "SessionStart") -> bytes:
    told = {"session_id": "5e551011", "transcript_path": "/x.jsonl", "source": source, "hook_event_name": event}
    return (json.dumps(told) + "\n").encode()


@dataclass
class RawDaemon:
    """Something on the control socket that answers with these bytes, or never."""

    answer: bytes | None = None
    asked: list[bytes] = field(default_factory=list)


@contextlib.contextmanager
def raw_daemon(path: Path, answer: bytes | None = None, *, slowly: bool = False) -> Iterator[RawDaemon]:
    """Answers each question with `answer` (None: not at all; `slowly`: a byte now and then, for ever)."""
    daemon, stop = RawDaemon(answer), threading.Event()
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(0.05)
    open_ends: list[socket.socket] = []

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                end, _ = listener.accept()
                open_ends.append(end)
                daemon.asked.append(end.recv(65_536))
                _tell(end, answer, stop, slowly=slowly)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield daemon
    finally:
        stop.set()
        thread.join()
        for end in (*open_ends, listener):
            end.close()


def _tell(end: socket.socket, answer: bytes | None, stop: threading.Event, *, slowly: bool) -> None:
    while slowly and not stop.wait(0.02):
        end.sendall(b"{")
    if answer is not None and not slowly:
        end.sendall(answer)
        end.shutdown(socket.SHUT_WR)


def until(condition: Callable[[], Any], what: str, *, within_s: float = 30) -> Any:
    """The first true answer; the limit only ends a broken test."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.02)
    return value


def command_of(file: RoleSettings, event: str = "SessionStart") -> str:
    """The one command of this event."""
    [group] = json.loads(file.path.read_text())["hooks"][event]
    return str(group["hooks"][0]["command"])


def as_word(path: Path) -> str:
    return shlex.quote(os.fspath(path))
