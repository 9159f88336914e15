"""A `bd` for tests: keeps beads in a file, knows the commands and flags that gtftd uses, and refuses any other.

Modelled on the documented command line. `install` puts it on a PATH; `FakeBd.fail` switches its failures.
As the real one it ends well after an update or a close that it did not do, and says so on standard error only.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

GLOBAL = {"--actor", "--json"}
FLAGS = {
    "list": {"--label", "--all", "--flat", "--limit"},
    "show": set(),
    "create": {"--title", "--description", "--type", "--priority", "--assignee", "--labels", "--repo"},
    "update": {"--status", "--add-label", "--remove-label", "--append-notes"},
    "close": {"--reason", "--force"},
    "dep list": set(),
    "dep add": set(),
}
STATUSES = {"open", "in_progress", "blocked", "deferred", "closed", "pinned", "hooked"}
SWITCHES = {"--all", "--flat", "--force", "--json"}


class FakeBd:
    """What a test sees of it."""

    def __init__(self, bin_folder, beads_dir):
        self.bin_folder = Path(bin_folder)
        self.beads_dir = Path(beads_dir)

    def beads(self):
        file = self.beads_dir / "fake-beads.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def calls(self):
        """The arguments of each call, in order."""
        file = self.beads_dir / "fake-calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def fail(self, **modes):
        """`refuse`, `hang`, `hang_after`, `die_after`, `silent`: lists of commands; `down`: a text."""
        (self.beads_dir / "fake-modes.json").write_text(json.dumps(modes))

    def remove(self):
        (self.bin_folder / "bd").unlink()

    def environ(self):
        return {**os.environ, "PATH": f"{self.bin_folder}:/usr/bin:/bin"}


def install(bin_folder, beads_dir):
    """Put it into `bin_folder` as `bd`, serving the beads of `beads_dir`."""
    bin_folder.mkdir(parents=True, exist_ok=True)
    beads_dir.mkdir(parents=True, exist_ok=True)
    (bin_folder / "fake_bd.py").write_bytes(Path(__file__).read_bytes())
    program = bin_folder / "bd"
    program.write_text(
        f"#!{sys.executable} -IS\nimport sys\nsys.path.insert(0, {str(bin_folder)!r})\n"
        "from fake_bd import main\nmain(sys.argv[1:])\n"  # imported, so that it is compiled once
    )
    program.chmod(0o755)
    return FakeBd(bin_folder, beads_dir)


def main(arguments):
    folder = Path(os.environ["BEADS_DIR"])
    with (folder / "fake-calls").open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    modes = _load(folder / "fake-modes.json")
    command, words, flags = _parse(arguments)
    if modes.get("down"):
        _fatal(modes["down"])
    if command in modes.get("hang", []):
        time.sleep(3600)
    if command in modes.get("refuse", []):
        _fatal(f"{command} is refused")
    if command in modes.get("silent", []):
        print(f"Error: {command} did nothing", file=sys.stderr)
        return
    with (folder / "fake-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        beads = _load(folder / "fake-beads.json")
        told, changed = _act(command, words, flags, beads)
        if changed:
            aside = folder / "fake-beads.json.tmp"
            aside.write_text(json.dumps(beads))
            aside.rename(folder / "fake-beads.json")
    for bead, hook in changed:
        _run_hook(folder, hook, beads[bead])
    if command in modes.get("hang_after", []):
        time.sleep(3600)
    if command in modes.get("die_after", []):
        os.kill(os.getpid(), signal.SIGKILL)
    if told is not None:
        print(json.dumps(told))


def _parse(arguments):
    words, flags = [], {}
    for argument in arguments:
        if argument.startswith("-"):
            name, equals, value = argument.partition("=")
            if bool(equals) == (name in SWITCHES):
                _fatal(f"flag needs an argument, or none: {name}")
            flags.setdefault(name, []).append(value)
        else:
            words.append(argument)
    command = " ".join(words[:2]) if words[:1] == ["dep"] else words[0]
    if command not in FLAGS:
        _fatal(f'unknown command "{command}" for "bd"')
    unknown = set(flags) - FLAGS[command] - GLOBAL
    if unknown:
        _fatal(f"unknown flag: {sorted(unknown)[0]}")
    if flags.get("--actor") != ["gtftd"] or "--json" not in flags:
        _fatal("a test wants to know who writes, and JSON")
    return command, words[len(command.split()) :], flags


def _act(command, words, flags, beads):
    """What is printed, and `(bead, hook)` of what was written."""
    if command == "create":
        return _create(flags, beads)
    if command == "list":
        wanted = flags["--label"][0]
        return [bead for bead in beads.values() if wanted in bead["labels"]], []
    if command == "dep add":
        one, other = words
        if other in _get(beads, one, fatal=True)["needs"]:
            _fatal("UNIQUE constraint failed: dependencies.issue_id, dependencies.depends_on_id")
        _get(beads, other, fatal=True)
        beads[one]["needs"].append(other)
        return {"status": "added", "issue_id": one, "depends_on_id": other, "type": "blocks"}, [(one, "update")]
    bead = _get(beads, words[0], fatal=command in {"show", "dep list"})
    if bead is None:
        return None, []
    if command == "show":
        return [bead], []
    if command == "dep list":
        return [beads[needed] | {"dependency_type": "blocks"} for needed in bead["needs"]], []
    return _update(bead, flags) if command == "update" else _close(bead, flags, beads)


def _create(flags, beads):
    title = flags["--title"][0]
    if not title or len(title) > 500:
        _fatal("title must be 500 characters or less")
    bead = {
        "id": f"hq-{len(beads) + 1:03x}", "title": title, "description": flags["--description"][0], "status": "open",
        "issue_type": flags["--type"][0], "priority": int(flags["--priority"][0]), "notes": "",
        "assignee": flags["--assignee"][0], "labels": sorted(filter(None, flags["--labels"][0].split(","))),
        "needs": [], "created_at": f"2026-01-01T00:{len(beads) // 60:02}:{len(beads) % 60:02}Z",
    }  # fmt: skip
    beads[bead["id"]] = bead
    return {"schema_version": 1, **bead}, [(bead["id"], "create")]


def _update(bead, flags):
    for status in flags.get("--status", []):
        if status not in STATUSES:
            print(f"Error updating {bead['id']}: invalid status: {status}", file=sys.stderr)
            return None, []
        bead["status"] = status
    for text in flags.get("--append-notes", []):
        bead["notes"] = f"{bead['notes']}\n{text}" if bead["notes"] else text
    labels = set(bead["labels"]) - set(flags.get("--remove-label", [])) | set(flags.get("--add-label", []))
    bead["labels"] = sorted(labels)
    return [bead], [(bead["id"], "update")]


def _close(bead, flags, beads):
    open_ones = [needed for needed in bead["needs"] if beads[needed]["status"] != "closed"]
    if open_ones and "--force" not in flags:
        print(f"cannot close {bead['id']}: blocked by open issues {open_ones}", file=sys.stderr)
        return None, []
    bead["status"] = "closed"
    bead["close_reason"] = flags["--reason"][0]
    return [bead], [(bead["id"], "close")]


def _get(beads, bead, *, fatal):
    if bead in beads:
        return beads[bead]
    if fatal:
        _fatal(f"issue not found: {bead}")
    print(f"Issue {bead} not found", file=sys.stderr)
    return None


def _run_hook(folder, change, bead):
    hook = folder / "hooks" / f"on_{change}"
    if os.environ.get("BD_NO_HOOKS") != "1" and os.access(hook, os.X_OK):
        import subprocess  # slow to load, and every call of every test would pay

        subprocess.run([str(hook), bead["id"], change], input=json.dumps(bead).encode(), check=False, timeout=10)


def _load(file):
    return json.loads(file.read_text()) if file.exists() else {}


def _fatal(message):
    print(json.dumps({"schema_version": 1, "error": message}), file=sys.stderr)
    sys.exit(1)
