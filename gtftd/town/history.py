"""The main branch of a rig's repository, read with git: never written, never fetched, nothing of it is run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gtftd.errors import NotReady
from gtftd.town.layout import Rig

MAX_OUTPUT_BYTES = 64 * 1024 * 1024
MAX_TEXT_CHARS = 4000
"""Of a subject or a message; who reverts says so in the first lines."""
_LEAST_POLITE = 10
_REFS = ("refs/remotes/origin/{}", "refs/heads/{}")
_HARDENED = {
    "core.fsmonitor": "", "core.hooksPath": os.devnull, "core.pager": "cat", "log.showSignature": "false",
    "protocol.allow": "never", "core.attributesFile": os.devnull, "log.mailmap": "false",
}  # fmt: skip
"""A repository's own configuration may name programs: none of them is to run because we look."""


class HistoryUnreadable(NotReady):
    """git failed, took too long, or is not there."""


@dataclass(frozen=True)
class Commit:
    """One commit of a main branch; `text` is its subject, or of a revert its message."""

    sha: str
    author: str
    authored_at: datetime
    landed_at: datetime
    text: str


class History:
    """Reads one rig's main branch; every call is one short run of git, at low priority."""

    def __init__(self, folder: Path, *, timeout_s: float) -> None:
        self.folder = folder
        self._timeout_s = timeout_s

    async def head(self, branches: Sequence[str]) -> str | None:
        """What the main branch points at: as it was pushed, where that is known, else as it is here."""
        names = [ref.format(branch) for ref in _REFS for branch in branches]
        told = await self._git("for-each-ref", "--format=%(refname) %(objectname)", *names)
        found = dict(line.split(" ", 1) for line in told.splitlines() if " " in line)
        return next((found[name] for name in names if name in found), None)

    async def commits(self, since: str | None, head: str, *, days: float, most: int) -> list[Commit]:
        """The commits that `head` has and `since` has not; without `since` those of so many days. The newest first."""
        told = await self._log(since, head, days, most, "%H%n%at%n%ct%n%an%n%s")
        return [commit for commit in map(_commit, told) if commit is not None]

    async def reverts(self, since: str | None, head: str, *, days: float, most: int) -> list[Commit]:
        """Those of the commits that say that they take one back, with their whole messages."""
        only = ("--extended-regexp", "--regexp-ignore-case", r"--grep=^This reverts commit [0-9a-f]|^Revert ")
        told = await self._log(since, head, days, most, "%H%n%at%n%ct%n%an%n%B", *only)
        return [commit for commit in map(_commit, told) if commit is not None]

    async def holds(self, sha: str, head: str) -> bool:
        """Whether the commit is there still and `head` follows it; False after its history was rewritten."""
        try:
            await self._git("merge-base", "--is-ancestor", sha, head)
        except HistoryUnreadable:
            return False
        return True

    async def _log(
        self, since: str | None, head: str, days: float, most: int, form: str, *more: str
    ) -> list[Sequence[str]]:
        bound = f"{since}..{head}" if since else head
        recent = () if since else (f"--since={int(days * 86_400)} seconds ago",)
        told = await self._git(
            "log", "-z", f"--format={form}", f"--max-count={most}", "--no-show-signature", "--no-notes",
            "--no-decorate", "--no-color", "--no-patch", *recent, *more, bound, "--",
        )  # fmt: skip
        return [record.split("\n", 4) for record in told.split("\0") if record]

    async def _git(self, *arguments: str) -> str:
        """Raises HistoryUnreadable. The child dies with the wait."""
        settings = _HARDENED | {"safe.directory": str(self.folder)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        polite = ["nice", "-n", str(_LEAST_POLITE)] if shutil.which("nice") else []
        try:
            process = await asyncio.create_subprocess_exec(
                *polite, "git", "--no-pager", "--no-optional-locks", *options, "-C", str(self.folder), *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=_environ(),
            )  # fmt: skip
        except OSError as error:
            raise HistoryUnreadable(
                f"git cannot be run ({error}); install it or set commits.enabled = false"
            ) from error
        try:
            async with asyncio.timeout(self._timeout_s):
                told, errors = await _bounded(process)
        except TimeoutError as error:
            raise HistoryUnreadable(f"git {arguments[0]} in {self.folder} took over {self._timeout_s} s") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            said = errors.decode("utf-8", "replace").strip()[:300]
            raise HistoryUnreadable(f"git {arguments[0]} failed in {self.folder}: {said or process.returncode}")
        return told.decode("utf-8", "replace")


def repository_of(rig: Rig) -> Path | None:
    """The bare repository that the rig's worktrees share, else the mayor's clone; None where there is neither."""
    places = (rig.path / ".repo.git", rig.path / "mayor" / "rig")
    return next((path for path in places if (path / "HEAD").is_file() or (path / ".git").exists()), None)


def main_branches(rig: Rig) -> tuple[str, ...]:
    """What the rig calls its main branch, then what everybody does."""
    try:
        loaded = json.loads((rig.path / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        loaded = {}
    named = loaded.get("default_branch") if isinstance(loaded, dict) else None
    is_name = isinstance(named, str) and named and not named.startswith("-") and not set(named) & set(" *?[\\\n\0")
    return tuple(dict.fromkeys([*([str(named)] if is_name else []), "main", "master"]))


async def _bounded(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """What it prints, up to a limit; more is a history that nobody should read at once."""
    assert process.stdout is not None
    assert process.stderr is not None
    told, errors = await asyncio.gather(_read(process.stdout, MAX_OUTPUT_BYTES), _read(process.stderr, MAX_TEXT_CHARS))
    await process.wait()
    return told, errors


async def _read(stream: asyncio.StreamReader, most: int) -> bytes:
    """All of it is read, so that the writer ends; what is over `most` is dropped."""
    kept = bytearray()
    while chunk := await stream.read(65_536):
        kept += chunk[: max(0, most - len(kept))]
    return bytes(kept)


def _commit(record: Sequence[str]) -> Commit | None:
    """None for half a record."""
    if len(record) < 5 or not record[1].isdigit() or not record[2].isdigit():
        return None
    sha, authored, landed, author, text = record
    try:
        times = [datetime.fromtimestamp(int(at), UTC) for at in (authored, landed)]
    except (ValueError, OverflowError, OSError):
        return None
    return Commit(sha, author[:256], times[0], times[1], text[:MAX_TEXT_CHARS])


def _environ() -> Mapping[str, str]:
    """Nothing of anybody's configuration, no prompts, no locks, no fetching of what a partial clone lacks."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {
        "LC_ALL": "C.UTF-8", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_PAGER": "cat",
    }  # fmt: skip
