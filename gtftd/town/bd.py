"""The `bd` command, in the town's own beads: what we read there, and the few things that we write."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gtftd.errors import Retriable
from gtftd.town.layout import Town
from gtftd.town.programs import find_program

ACTOR = "gtftd"
TIMEOUT_S = 30.0
MAX_BYTES = 8 * 1024 * 1024
_ERROR_CHARS = 500
_PRIVATE = ("GT_", "BD_", "BEADS_", "CLAUDE", "TMUX")
_SERVER = ("GT_DOLT_", "BEADS_DOLT_")
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}-[A-Za-z0-9_.-]{1,200}")


class BdFailed(Retriable):
    """It refused, did not answer, or did not say that it did what it was asked for."""


@dataclass(frozen=True)
class NewBead:
    """A bead to be made. Labels without commas and quotes: `bd` splits at them."""

    title: str
    description: str
    labels: Sequence[str]


@dataclass(frozen=True)
class BeadOfBd:
    """A bead as `bd` shows it."""

    id: str
    status: str
    labels: frozenset[str]
    notes: str
    created_at: str


class Bd:
    """Every call is a process of its own, killed with its group when it is late, and in the town's beads alone.

    `bd` ends well after some failures, so a write counts when it shows the bead that it wrote.
    Nobody's session, role or actor is in its environment; it starts no server, and the hooks of beads run.
    """

    def __init__(self, town: Town, environ: Mapping[str, str] = os.environ, *, timeout_s: float = TIMEOUT_S) -> None:
        self._town = town
        self._environ = environ
        self._timeout_s = timeout_s

    def problem(self) -> str | None:
        """Why it cannot be asked at all; None when it can."""
        if find_program("bd", self._environ) is None:
            return "bd is not on the PATH"
        return None if self._town.beads_dir.is_dir() else f"the town has no beads: {self._town.beads_dir} is not there"

    async def answers(self) -> bool:
        """Whether it reads from its database."""
        try:
            await self.find("gtftd-nothing")
        except BdFailed:
            return False
        return True

    async def find(self, label: str) -> list[BeadOfBd]:
        """All with this label, closed ones too; the oldest first."""
        told = await self._ask("list", f"--label={label}", "--all", "--flat", "--limit=0")
        return sorted(map(_bead, told), key=lambda bead: (bead.created_at, bead.id))

    async def show(self, bead: str) -> BeadOfBd:
        return _bead(_of(bead, await self._ask("show", _checked(bead))))

    async def create(self, new: NewBead) -> str:
        """Its id. It is ours from the first moment, so that nobody takes it for work that waits for somebody."""
        told = await self._ask(
            "create", f"--title={new.title}", f"--description={new.description}", "--type=task", "--priority=3",
            f"--assignee={ACTOR}", f"--labels={','.join(new.labels)}", "--repo=.",
        )  # fmt: skip
        if not told:
            raise BdFailed("bd create does not say which bead it made")
        return _bead(told[0]).id

    async def start(self, bead: str) -> None:
        await self._update(bead, "--status=in_progress")

    async def relabel(self, bead: str, add: Collection[str], remove: Collection[str]) -> None:
        await self._update(
            bead, *(f"--remove-label={label}" for label in remove), *(f"--add-label={label}" for label in add)
        )

    async def append_notes(self, bead: str, text: str) -> None:
        await self._update(bead, f"--append-notes={text}")

    async def needs(self, bead: str) -> frozenset[str]:
        """What it depends on."""
        told = await self._ask("dep", "list", _checked(bead))
        return frozenset(str(one.get("depends_on_id") or one.get("id")) for one in told)

    async def add_need(self, bead: str, needed: str) -> None:
        await self._ask("dep", "add", _checked(bead), _checked(needed))

    async def close(self, bead: str, reason: str) -> None:
        """What blocks it does not keep it open: what it stands for has ended."""
        _of(bead, await self._ask("close", _checked(bead), f"--reason={reason}", "--force"))

    async def _update(self, bead: str, *flags: str) -> None:
        _of(bead, await self._ask("update", _checked(bead), *flags))

    async def _ask(self, *arguments: str) -> list[Mapping[str, object]]:
        code, told, said = await self._run([*arguments, f"--actor={ACTOR}", "--json"])
        what = " ".join(part for part in arguments[:2] if not part.startswith("-"))
        if code != 0:
            raise BdFailed(f"bd {what} ended with {code}: {_short(said or told)}")
        try:
            return _objects(told)
        except (ValueError, RecursionError) as error:
            raise BdFailed(f"bd {what} printed no JSON ({_short(said or told)!r})") from error

    async def _run(self, arguments: Sequence[str]) -> tuple[int, bytes, bytes]:
        program = find_program("bd", self._environ)
        if program is None:
            raise BdFailed("bd is not on the PATH")
        try:
            process = await asyncio.create_subprocess_exec(
                program, *arguments, cwd=self._town.root, env=self._environment(), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise BdFailed(f"{program} cannot be started: {error}") from error
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                told, said = await asyncio.gather(_read(process.stdout), _read(process.stderr))
                return await process.wait(), told, said
        except TimeoutError as error:
            raise BdFailed(f"bd {arguments[0]} did not end within {self._timeout_s:.0f} seconds") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def _environment(self) -> dict[str, str]:
        """How to reach the server is kept; `BEADS_DIR` says whose beads are meant, wherever we stand."""
        kept = {
            name: value
            for name, value in self._environ.items()
            if name.startswith(_SERVER) or not name.startswith(_PRIVATE)
        }
        ours = {"BEADS_DIR": str(self._town.beads_dir), "BEADS_ACTOR": ACTOR, "BD_ACTOR": ACTOR, "NO_COLOR": "1"}
        return kept | ours | {"BEADS_DOLT_AUTO_START": "0"}


async def _read(stream: asyncio.StreamReader) -> bytes:
    """Its first MAX_BYTES; the rest is read and forgotten, so that the command can end."""
    told = bytearray()
    while piece := await stream.read(65_536):
        told += piece[: MAX_BYTES - len(told)]
    return bytes(told)


def _objects(printed: bytes) -> list[Mapping[str, object]]:
    """An array, one object, or either of them in an envelope: it depends on the command and on the version."""
    text = printed.decode("utf-8", "replace").strip()
    if not text:
        return []
    told = json.loads(text)
    if isinstance(told, dict) and "schema_version" in told and isinstance(told.get("data"), dict | list):
        told = told["data"]
    return [one for one in (told if isinstance(told, list) else [told]) if isinstance(one, dict)]


def _bead(told: Mapping[str, object]) -> BeadOfBd:
    labels = told.get("labels")
    return BeadOfBd(
        id=_checked(str(told.get("id"))),
        status=str(told.get("status") or ""),
        labels=frozenset(map(str, labels)) if isinstance(labels, list) else frozenset(),
        notes=str(told.get("notes") or ""),
        created_at=str(told.get("created_at") or ""),
    )


def _of(bead: str, told: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    found = next((one for one in told if one.get("id") == bead), None)
    if found is None:
        raise BdFailed(f"bd does not show {bead}, which it was asked for")
    return found


def _checked(bead: str) -> str:
    """An id goes where a flag could stand."""
    if not _ID.fullmatch(bead):
        raise BdFailed(f"bd names a bead {bead[:80]!r}, which is no id")
    return bead


def _short(said: bytes) -> str:
    """Its first words: for people, and in our records."""
    text = " ".join(said[:4096].decode("utf-8", "replace").split())
    return "".join(char for char in text if char.isprintable())[:_ERROR_CHARS] or "nothing was said"
