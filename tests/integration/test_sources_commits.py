"""The commits source on real repositories: every commit that names a bead once, whatever the repository holds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gtftd.schemas.settings import CommitSettings
from gtftd.schemas.town import CommitsLanded
from gtftd.sources.commits import IN_ONE_EVENT, CommitsSource
from gtftd.sources.surroundings import LatestTown, Surroundings
from gtftd.town.history import History, HistoryUnreadable
from tests.support.git import Repository
from tests.support.sources import make_town, opened

NUX = "harbor/polecats/nux"
RECENT = datetime.now(UTC).replace(microsecond=0) - timedelta(days=2)


@pytest.fixture
def town(tmp_path: Path) -> Path:
    return make_town(tmp_path / "town", "harbor", "lantern")


@pytest.fixture
def around(tmp_path: Path, town: Path) -> Iterator[Surroundings]:
    (tmp_path / "state").mkdir()
    with opened(tmp_path / "state", town) as around:
        yield around


def source(around: Surroundings, **settings: object) -> CommitsSource:
    return CommitsSource(around, CommitSettings.model_validate(settings), LatestTown(around))


async def told(around: Surroundings) -> list[CommitsLanded]:
    """What waits in the outbox, in order."""
    rows = await around.database.read(lambda c: c.execute("SELECT body FROM outbox ORDER BY seq").fetchall())
    return [CommitsLanded.model_validate(json.loads(body)["data"]) for (body,) in rows]


def rig(town: Path, **more: object) -> Repository:
    return Repository(town / "harbor" / ".repo.git", bare=True, start=RECENT, **more)


async def test_commits_and_reverts_are_told_once(town: Path, around: Surroundings) -> None:
    """By their subjects, by polecat branches that they merge; reverts by what they take back."""
    repository = rig(town)
    fix = repository.commit("fix: let bookings touch (ha-a1b)", NUX)
    merge = repository.commit("Merge branch 'polecat/slit/ha-c2d@mm5n4urn' into main")
    repository.commit("docs: nothing to see (non-trivial, by all means)")
    several = repository.commit("feat: two at once (ha-e3f, la-g4h.2)")
    back = repository.revert(fix, "fix: let bookings touch (ha-a1b)")
    named = repository.commit('Revert "feat: two at once (ha-e3f, la-g4h.2)"')
    looking = source(around)
    assert 1 == await looking.look()
    [event] = await told(around)
    assert "harbor" == event.repository
    assert [
        (several, "ha-e3f", None), (several, "la-g4h.2", None), (merge, "ha-c2d", None), (fix, "ha-a1b", NUX),
    ] == [(commit.sha, commit.bead, commit.actor) for commit in event.commits]  # fmt: skip
    assert {(named, None, "ha-e3f"), (named, None, "la-g4h.2"), (back, fix, None)} == {
        (revert.by, revert.sha, revert.bead) for revert in event.reverts
    }
    assert 0 == await looking.look()
    later = repository.commit("fix: one more (ha-a1b)")
    assert (1, 0) == (await looking.look(), await source(around).look())
    assert [later] == [commit.sha for commit in (await told(around))[-1].commits]


async def test_where_the_rig_was_pushed_to_counts_more_than_what_lies_here(town: Path, around: Surroundings) -> None:
    """The mayor's clone serves where there is no shared repository; a rig may call its main branch as it likes."""
    repository = Repository(town / "harbor" / "mayor" / "rig", start=RECENT)
    pushed = repository.commit("fix: pushed (ha-a1b)")
    repository.git("update-ref", "refs/remotes/origin/trunk", pushed)
    repository.commit("fix: only here (ha-c2d)")
    (town / "harbor" / "config.json").write_text('{"type": "rig", "default_branch": "trunk"}')
    await source(around).look()
    assert [[pushed]] == [[commit.sha for commit in event.commits] for event in await told(around)]


async def test_a_rewritten_history_is_read_again(town: Path, around: Surroundings) -> None:
    repository = rig(town)
    first = repository.commit("fix: one (ha-a1b)")
    repository.commit("fix: two (ha-c2d)")
    looking = source(around)
    await looking.look()
    repository.git("update-ref", "refs/heads/main", first)
    other = repository.commit("fix: another two (ha-e3f)")
    await looking.look()
    assert [other, first] == [commit.sha for commit in (await told(around))[-1].commits]


async def test_the_first_look_goes_back_so_far_and_no_further(town: Path, around: Surroundings) -> None:
    """What is many comes in pieces that a message can hold."""
    old = Repository(town / "lantern" / ".repo.git", bare=True, start=RECENT - timedelta(days=100))
    old.commit("fix: long ago (la-old)")
    recent = old.commit("fix: of late (la-new)", after=timedelta(days=95))
    repository = rig(town)
    for number in range(12):
        repository.commit(f"fix: many ({', '.join(f'ha-{number:02d}x{one}' for one in range(20))})")
    await source(around, look_back_days=20).look()
    events = await told(around)
    assert [200, 40, 1] == [len(event.commits) for event in events]
    assert IN_ONE_EVENT == 200
    assert [recent] == [commit.sha for commit in events[-1].commits]


async def test_a_hostile_repository_runs_nothing_and_costs_itself_alone(
    town: Path, around: Surroundings, tmp_path: Path
) -> None:
    """Programs that its configuration names, hooks, attributes; bad bytes and long lines in messages."""
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    repository = rig(town)
    for name in ("core.fsmonitor", "core.pager", "gpg.program", "core.sshCommand", "diff.external"):
        repository.git("config", name, str(trap))
    repository.git("config", "log.showSignature", "true")
    repository.git("config", "core.hooksPath", str(tmp_path))
    sha = repository.commit("fix: \x1b[31m" + "(" * 5000 + "x" * 100_000 + "\n\n" + "This reverts commit zzz\n" * 1000)
    good = repository.commit("fix: it holds (ha-a1b)")
    broken = Repository(town / "lantern" / ".repo.git", bare=True, start=RECENT)
    broken.commit("fix: gone (la-a1b)")
    for path in sorted((broken.folder / "objects").rglob("*")):
        if path.is_file():
            path.unlink()
    await source(around).look()
    assert [[good]] == [[commit.sha for commit in event.commits] for event in await told(around)]
    assert sha != good
    assert not (tmp_path / "sprung").exists()
    [condition] = [one for one in around.health.board() if one.component == "commits"]
    assert ("degraded", "git.unreadable") == (condition.state, condition.name)


async def test_a_look_writes_nothing(town: Path, around: Surroundings) -> None:
    repository = Repository(town / "harbor" / "mayor" / "rig", start=RECENT)
    repository.commit("fix: one (ha-a1b)")
    files = {path: path.stat().st_mtime_ns for path in repository.folder.rglob("*")}
    await source(around).look()
    assert files == {path: path.stat().st_mtime_ns for path in repository.folder.rglob("*")}


async def test_git_that_hangs_is_ended(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(HistoryUnreadable, match="took over"):
        await History(tmp_path, timeout_s=0.5).head(["main"])
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
