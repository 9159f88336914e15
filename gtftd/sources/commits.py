"""The commits source: which commits reached the main branches of the rigs, and which were taken back.

Looks at each repository every `poll_s`, and reads no more than what is new since the head that was seen last. Facts
and position are committed together, and the facts' ids follow from the commits: a kill repeats a look, and a
repeated look says the same. A history that was rewritten is read again as at the first look; what it dropped without
a revert is not told.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gtftd.errors import Retriable
from gtftd.logs import get_logger
from gtftd.schemas.event import event_id
from gtftd.schemas.settings import CommitSettings
from gtftd.schemas.town import CommitsLanded, LandedCommit, RevertedCommit
from gtftd.sources.surroundings import LatestTown, Patience, Surroundings
from gtftd.state.crash import crash_point
from gtftd.state.outbox import Outgoing, read_cursor, write_cursor
from gtftd.town.bead_fields import find_branch
from gtftd.town.history import Commit, History, HistoryUnreadable, main_branches, repository_of
from gtftd.town.identity import parse_role
from gtftd.town.layout import Rig, Town

SOURCE = "commits"
IN_ONE_EVENT = 200
_PARENTHESES = re.compile(r"\(([A-Za-z0-9_.,;:# -]{3,200})\)")
_BEAD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}(?:-[A-Za-z0-9_]+){1,6}(?:\.\d+)*")
_REVERTS = re.compile(r"^This reverts commit ([0-9a-f]{7,64})\b", re.IGNORECASE | re.MULTILINE)
_REVERT_SUBJECT = re.compile(r"Revert \"(?P<of>.*)\"?\s*$", re.IGNORECASE)
log = get_logger(SOURCE)


@dataclass(frozen=True)
class _Seen:
    """How far one repository was read."""

    repository: str
    head: str | None

    @property
    def cursor(self) -> str:
        return f"{SOURCE}:{self.repository}"


class CommitsSource:
    """A repository that cannot be read degrades by name and is tried again; the others go on."""

    def __init__(self, around: Surroundings, settings: CommitSettings, town: LatestTown) -> None:
        self._around = around
        self._settings = settings
        self._town = town
        self._patience = Patience(SOURCE, around)

    async def run(self) -> None:
        """Look until cancelled."""
        if not self._settings.enabled:
            self._around.health.off(SOURCE, "commits.enabled is false")
            return
        while True:
            try:
                await self.look()
            except Retriable as error:
                await self._patience.bear(error)
            else:
                self._patience.over()
                await asyncio.sleep(self._settings.poll_s)

    async def look(self) -> int:
        """Look at every rig's repository once; how many facts came of it. Raises Retriable when the state fails."""
        town = await asyncio.to_thread(self._town.read)
        failed: list[str] = []
        told = 0
        for rig in town.rigs:
            try:
                told += await self._look_at(town, rig)
            except HistoryUnreadable as error:
                failed.append(str(error))
                self._around.metrics.source_errors.labels(source=SOURCE, condition="git.unreadable").inc()
        if failed:
            more = f" (and {len(failed) - 1} more)" if failed[1:] else ""
            self._around.health.degraded(SOURCE, "git.unreadable", f"{failed[0]}{more}")
        else:
            self._around.health.ok(SOURCE)
        return told

    async def _look_at(self, town: Town, rig: Rig) -> int:
        folder = await asyncio.to_thread(repository_of, rig)
        if folder is None:
            return 0
        history = History(folder, timeout_s=self._settings.timeout_s)
        head = await history.head(await asyncio.to_thread(main_branches, rig))
        seen = await self._around.database.read(lambda connection: _read_seen(connection, rig.name))
        if head is None or head == seen.head:
            return 0
        since = seen.head if seen.head and await history.holds(seen.head, head) else None
        limits = {"days": self._settings.look_back_days, "most": self._settings.max_commits}
        commits = await history.commits(since, head, **limits)  # type: ignore[arg-type]  # days and most as they are
        reverts = await history.reverts(since, head, **limits)  # type: ignore[arg-type]
        if len(commits) == self._settings.max_commits:
            log.warning("commits.cut", repository=rig.name, most=self._settings.max_commits)
        events = list(_events(rig.name, read_landed(commits, town), read_reverts(reverts, town)))
        await self._commit(_Seen(rig.name, head), events)
        log.info("commits.read", repository=rig.name, commits=len(commits), facts=len(events))
        return len(events)

    async def _commit(self, seen: _Seen, events: Sequence[CommitsLanded]) -> None:
        outgoing = [Outgoing(_identity(event), event, time=event.at) for event in events]
        crash_point("commits.read")
        await self._around.outbox.put(
            outgoing, also=lambda connection: write_cursor(connection, seen.cursor, {"head": seen.head})
        )
        crash_point("commits.committed")
        self._around.metrics.count_facts(SOURCE, len(outgoing))


def read_landed(commits: Iterable[Commit], town: Town) -> list[LandedCommit]:
    """The commits that name beads of the town, each once for each bead; reverts bear no work."""
    found = []
    for commit in commits:
        if _REVERT_SUBJECT.match(commit.text):
            continue
        who = parse_role(commit.author)
        branch = find_branch(commit.text)
        beads = [branch.bead] if branch and _is_of(branch.bead, town) else list(_named(commit.text, town))
        for bead in dict.fromkeys(beads):
            found.append(
                LandedCommit(
                    sha=commit.sha,
                    bead=bead,
                    actor=who.actor if who else None,
                    authored_at=commit.authored_at,
                    landed_at=commit.landed_at,
                )
            )
    return found


def read_reverts(commits: Iterable[Commit], town: Town) -> list[RevertedCommit]:
    """What each takes back: every commit that its message names, or the bead in the subject that it quotes."""
    found = []
    for commit in commits:
        taken = list(dict.fromkeys(sha.lower() for sha in _REVERTS.findall(commit.text)))
        found += [RevertedCommit(by=commit.sha, at=commit.landed_at, sha=sha) for sha in taken]
        subject = _REVERT_SUBJECT.match(commit.text.partition("\n")[0])
        # `Revert "Revert "x""` brings x back: it names the bead all the same, but takes nothing of it away
        if subject and not taken and not subject["of"].startswith("Revert "):
            beads = dict.fromkeys(_named(subject["of"], town))
            found += [RevertedCommit(by=commit.sha, at=commit.landed_at, bead=bead) for bead in beads]
    return found


def _named(subject: str, town: Town) -> Iterator[str]:
    """`fix: the lock is released (hb-1, hb-2)`."""
    for group in _PARENTHESES.findall(subject.partition("\n")[0][:1000]):
        yield from (word for word in re.split(r"[\s,;]+", group.strip("#: ")) if _is_of(word, town))


def _is_of(bead: str, town: Town) -> bool:
    return _BEAD.fullmatch(bead) is not None and (town.rig_of_bead(bead) is not None or bead.startswith("hq-"))


def _events(
    repository: str, landed: Sequence[LandedCommit], reverts: Sequence[RevertedCommit]
) -> Iterator[CommitsLanded]:
    """In pieces that a message can hold."""
    for start in range(0, max(len(landed), len(reverts)), IN_ONE_EVENT):
        commits, taken = landed[start : start + IN_ONE_EVENT], reverts[start : start + IN_ONE_EVENT]
        at = max([commit.landed_at for commit in commits] + [revert.at for revert in taken])
        yield CommitsLanded(
            at=min(at, datetime.now(UTC)),
            seen_by="poll",
            repository=repository,
            commits=tuple(commits),
            reverts=tuple(taken),
        )


def _identity(event: CommitsLanded) -> str:
    commits = [f"{commit.sha}/{commit.bead}" for commit in event.commits]
    taken = [f"{revert.by}/{revert.sha or revert.bead}" for revert in event.reverts]
    return event_id(CommitsLanded.subject, event.repository, *commits, *taken)


def _read_seen(connection: sqlite3.Connection, repository: str) -> _Seen:
    cursor = read_cursor(connection, f"{SOURCE}:{repository}")
    head = cursor.get("head") if cursor else None
    return _Seen(repository, head if isinstance(head, str) else None)
