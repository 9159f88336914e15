"""Doubts: listed without their values, looked up where the text came from, given back or kept redacted."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gtftd.corpus import Filing
from gtftd.corpus.artifacts import read_artifact
from gtftd.corpus.documents import IN_TOWN
from gtftd.corpus.filing import Document, Tally
from gtftd.corpus.review import Review, open_doubts, read_restored
from gtftd.corpus.rows import EntryRow
from gtftd.errors import Invalid, Missing
from gtftd.schemas.corpus import EntryKind
from gtftd.schemas.corpus_orders import DoubtRow
from gtftd.schemas.town import SessionEnded, SessionStarted
from gtftd.scrub.scrubber import Scrubber
from gtftd.state.database import open_reader
from gtftd.town.artifact_files import town_file
from gtftd.town.conversation import RawMessage
from gtftd.town.layout import Town, load_town
from tests.support.corpus import Bench, bench
from tests.support.sources import make_town
from tests.support.transcripts import TranscriptBuilder

VALUE = "q9Zk3Xv7Lm2Pw8Rt5Yb1Nc6Df4Gh0Js"
"""Random letters without a name: redacted, and nobody is sure."""
OTHER = "w4Hn8Tc2Vd6Km1Xs9Bz5Qf3Jr7Lp0Gy"
ACTOR = "harbor/polecats/nux"


@dataclass
class Desk:
    """A review, what it has to look at, and what was to be collected again."""

    town: Town
    made: Bench
    review: Review
    filing: Filing
    again: list[str] = field(default_factory=list)

    async def only(self) -> DoubtRow:
        (doubt,) = await self.review.doubts()
        return doubt

    async def file(self, kind: EntryKind, origin: str) -> None:
        """A document that says the value."""
        said = (RawMessage("system", f"The blob is {VALUE} here."),)
        await self.filing.put(Document(kind=kind, origin=origin, source="file", messages=said), Tally(""))


def scrubber() -> Scrubber:
    """That of the bench."""
    return Scrubber({}, key=b"k" * 32)


@contextlib.asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    root = make_town(folder / "gt", "harbor")
    async with bench(folder / "state", root) as made:
        again: list[str] = []

        async def collect_again(rows: Sequence[EntryRow]) -> None:
            again.extend(row.entry_id for row in rows)

        town = load_town(root)
        review = Review(made.database, made.store, made.collector, scrubber, collect_again, lambda: town)
        yield Desk(town, made, review, Filing(made.database, made.store, scrubber), again)


async def tell_session(at: Desk, number: int, text: str) -> Path:
    """A polecat said it; its transcript."""
    folder = at.town.root / "harbor" / "polecats" / "nux"
    session = f"00000000-0000-4000-8000-{number:012}"
    builder = TranscriptBuilder(session, cwd=str(folder))
    builder.user("Begin.")
    builder.say("I look into it.")
    builder.bash(f"echo {text}", f"It says {text} there.")
    path = builder.write(at.made.state.parent / "claude")
    start = SessionStarted(
        at=builder.now, seen_by="hook", session_id=session, actor=ACTOR, role="polecat", rig="harbor", agent="claude",
        cwd=str(folder), transcript_path=str(path),
    )  # fmt: skip
    end = SessionEnded(at=builder.now, seen_by="hook", session_id=session, reason="exit", transcript_path=str(path))
    await at.made.tell(start, end)
    return path


async def test_doubts_are_listed_without_their_values(tmp_path: Path) -> None:
    """That which stands in the most entries first; the same without a daemon."""
    async with desk(tmp_path) as at:
        assert [] == await at.review.doubts()
        await tell_session(at, 1, f"{VALUE} {OTHER}")
        await tell_session(at, 2, VALUE)
        first, second = await at.review.doubts()
        assert (2, 1) == (first.entries, second.entries)
        digest = scrubber().digest(VALUE)
        assert (digest, "SECRET", "random") == (first.digest, first.kind, first.rule)
        assert f"<SECRET:{digest[:6]}>" == first.placeholder
        assert VALUE not in first.model_dump_json()
        with contextlib.closing(open_reader(tmp_path / "state" / "state.db")) as connection:
            assert [first, second] == open_doubts(connection, 100)
            assert [second] == open_doubts(connection, 100, begin=second.digest[:8])
        assert [first] == await at.review.doubts(1)


async def test_a_value_is_looked_up_in_the_transcript(tmp_path: Path) -> None:
    """With its line, in which it is redacted; when the transcript has gone, nobody knows it any more."""
    async with desk(tmp_path) as at:
        path = await tell_session(at, 1, VALUE)
        doubt = await at.only()
        looked = await at.review.look(doubt.digest[:8])
        assert (VALUE, "session", doubt) == (looked.value, looked.kind, looked.doubt)
        assert (True, False) == (doubt.placeholder in looked.context, VALUE in looked.context)
        path.unlink()
        assert None is (await at.review.look(doubt.digest[:8])).value


async def test_a_value_is_looked_up_in_a_file_of_the_town(tmp_path: Path) -> None:
    """As it reads now; not when the file is gone, and never outside of the town."""
    async with desk(tmp_path) as at:
        file = at.town.root / "CLAUDE.md"
        file.write_text(f"# Rules\n\nThe blob is {VALUE} here.\n")
        found = town_file(at.town, "CLAUDE.md")
        assert found is not None
        document = read_artifact(found, IN_TOWN)
        assert document is not None
        await at.filing.put(document, Tally(""))
        doubt = await at.only()
        looked = await at.review.look(doubt.digest)
        told = (looked.value, looked.kind, looked.origin)
        assert (VALUE, "artifact", "file:CLAUDE.md") == told
        assert f"The blob is {doubt.placeholder} here." == looked.context
        outside = tmp_path / "elsewhere.md"
        file.rename(outside)
        assert None is (await at.review.look(doubt.digest)).value
        file.symlink_to(outside)
        assert None is (await at.review.look(doubt.digest)).value


@pytest.mark.parametrize(
    ("kind", "origin"),
    [
        ("operational", "bead:harbor/ha-1"),
        ("interactions", "interactions:harbor/ha-1"),
        ("curated", "curated:b1b1"),
        ("prime", "prime:mayor/"),
        ("artifact", "folder:docs-a1b2c3/README.md"),
        ("artifact", "file:../elsewhere.md"),
    ],
)
async def test_other_documents_are_named(tmp_path: Path, kind: EntryKind, origin: str) -> None:
    """Nobody reads these again for a look: who asks is told where to look."""
    (tmp_path / "elsewhere.md").write_text(f"The blob is {VALUE} here.")
    async with desk(tmp_path) as at:
        await at.file(kind, origin)
        looked = await at.review.look((await at.only()).digest)
        assert (None, "", kind, origin) == (looked.value, looked.context, looked.kind, looked.origin)


async def test_a_restored_value_passes(tmp_path: Path) -> None:
    """Its entries are made again, every one; the scrubber to come knows it; the question is over."""
    async with desk(tmp_path) as at:
        await tell_session(at, 1, VALUE)
        await at.file("prime", "prime:mayor/")
        doubt = await at.only()
        restored = await at.review.restore(doubt.digest[:6], by="ada")
        assert (doubt, {"session", "prime"}) == (restored.doubt, restored.kinds)
        rows = await at.made.store.newest()
        assert sorted(row.entry_id for row in rows) == sorted(at.again)
        passes = read_restored(tmp_path / "state" / "state.db")
        assert {doubt.digest} == passes
        assert VALUE in Scrubber({}, key=b"k" * 32, allowed=passes).scrub_text(f"The blob is {VALUE} here.")
        assert [] == await at.review.doubts()


async def test_a_kept_value_stays_redacted(tmp_path: Path) -> None:
    """Nothing is collected again, and nobody is asked once more."""
    async with desk(tmp_path) as at:
        await tell_session(at, 1, VALUE)
        doubt = await at.only()
        assert doubt == await at.review.keep(doubt.digest, by="ada")
        assert ([], []) == (at.again, await at.review.doubts())
        assert frozenset() == read_restored(tmp_path / "state" / "state.db")
        with pytest.raises(Missing, match="no open doubt begins with"):
            await at.review.look(doubt.digest)


async def test_a_doubt_is_named_by_its_beginning(tmp_path: Path) -> None:
    """Unless several begin so."""
    async with desk(tmp_path) as at:
        await tell_session(at, 1, f"{VALUE} {OTHER}")
        with pytest.raises(Invalid, match="give more letters"):
            await at.review.restore("", by="ada")
        with pytest.raises(Missing, match="no open doubt begins with zzzz"):
            await at.review.restore("zzzz", by="ada")
