"""Where an agent stands: its working directory through a span, and which paths of the town are its own."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace

from gtftd.corpus.rulebook import Worker
from gtftd.corpus.shell import Run
from gtftd.town.identity import Identity, parse_role

_OWN_OF_CWD = re.compile(r"(?P<town>/.{1,1000})/(?P<rig>[^/]+)/(?P<kind>polecats|crew)/(?P<name>[^/]+)(?:/.*)?")
_HOME = re.compile(r"(/(?:home|Users)/[^/]+|/root)(?:/|$)")
_PATH_CHARS = 4096
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class Ground:
    """The town's root, the agent's own directory, its home, and where it stands now; unknown is None."""

    town: str | None
    own: str | None
    home: str | None
    cwd: str | None
    before: str | None = field(default=None, compare=False)

    def path(self, written: str) -> str | None:
        """The absolute path that a word means here; None when that can't be told."""
        names = {"HOME": self.home, "PWD": self.cwd, "GT_ROOT": self.town, "GT_TOWN_ROOT": self.town}
        if written == "~" or written.startswith("~/"):
            written = f"$HOME{written[1:]}"
        for found in _VARIABLE.finditer(written):
            value = names.get(found[1] or found[2])
            if value is None:
                return None
            written = written.replace(found.group(), value, 1)
        if len(written) > _PATH_CHARS or "$" in written or "\0" in written or written.startswith("~"):
            return None
        if not written.startswith("/"):
            if self.cwd is None or len(self.cwd) > _PATH_CHARS:
                return None
            written = f"{self.cwd}/{written}"
        return posixpath.normpath(written)

    def after(self, run: Run) -> Ground:
        """Where the agent stands after a program has run: only `cd` and its like move it."""
        if run.name not in ("cd", "pushd") or run.nested or run.joint in ("|", "|&"):
            return self
        word = next((word for word in run.arguments if not word.startswith("-") or word == "-"), "~")
        target = self.before if word == "-" else self.path(word)
        return replace(self, cwd=target, before=self.cwd)

    def is_foreign(self, path: str) -> bool:
        """Inside the town, below its root, and not the agent's own."""
        if self.town is None or self.own is None or not path.startswith(f"{self.town}/"):
            return False
        return path != self.own and not path.startswith(f"{self.own}/")

    def inside_town(self, path: str) -> tuple[str, ...]:
        """The parts of a path below the town's root; empty for a path elsewhere."""
        if self.town is None or not path.startswith(f"{self.town}/"):
            return ()
        return tuple(path[len(self.town) + 1 :].split("/"))


def ground_of(worker: Worker) -> Ground:
    """What the worker's record and its first working directory tell."""
    cwd = posixpath.normpath(worker.cwd) if worker.cwd and worker.cwd.startswith("/") else None
    town = posixpath.normpath(worker.town_root) if worker.town_root and worker.town_root.startswith("/") else None
    found = _OWN_OF_CWD.fullmatch(cwd) if cwd else None
    own = None
    if found and (town is None or town == found["town"]):
        town = found["town"]
        own = "/".join((town, found["rig"], found["kind"], found["name"]))
    identity = parse_role(worker.actor) if worker.actor else None
    if town and identity and identity.rig and identity.name:
        own = _home_in(town, identity)
    home = _HOME.match(cwd or town or "")
    return Ground(town, own, home[1] if home else None, cwd or own)


def _home_in(town: str, identity: Identity) -> str:
    folder = "polecats" if identity.role == "polecat" else "crew"
    return f"{town}/{identity.rig}/{folder}/{identity.name}"
