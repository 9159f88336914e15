"""What a handler must look like, told all at once at the start."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from gtftd import handlers
from gtftd.bus import bind, discover
from gtftd.errors import Invalid
from gtftd.schemas.town import BeadTouched

GOOD = '''"""When a bead is touched, note it."""
from datetime import timedelta
from gtftd.bus import Retry, on
from gtftd.schemas.event import Event
from gtftd.schemas.town import BeadTouched

class Notes: ...
class Other(Event):
    subject = "not.catalogued"

@on(BeadTouched, key=lambda event: event.bead, retry=Retry(attempts=2), concurrency=3, timeout=timedelta(seconds=9))
async def note_bead(event: BeadTouched, notes: Notes) -> None:
    """A second note overwrites the first."""
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An empty package `reactions_under_test`, forgotten afterwards."""
    name = "reactions_under_test"
    (tmp_path / name).mkdir()
    module = ModuleType(name)
    module.__path__ = [str(tmp_path / name)]
    monkeypatch.setitem(sys.modules, name, module)
    yield module
    for loaded in [loaded for loaded in sys.modules if loaded.startswith(f"{name}.")]:
        del sys.modules[loaded]


def write(package: ModuleType, text: str, name: str = "note_bead") -> None:
    (Path(package.__path__[0]) / f"{name}.py").write_text(text)


def test_a_good_handler_is_read_whole(package: ModuleType) -> None:
    """Everything that it declares reaches the runtime; its services are wanted by type."""
    write(package, GOOD)
    [reaction] = discover(package)
    assert ("note_bead", BeadTouched, 2, 3) == (
        reaction.name,
        reaction.event,
        reaction.retry.attempts,
        reaction.concurrency,
    )
    assert timedelta(seconds=9) == reaction.timeout
    [wanted] = reaction.services.values()
    service = wanted()
    assert {"note_bead": {"notes": service}} == bind([reaction], {wanted: service})
    with pytest.raises(Invalid, match="note_bead wants a Notes as 'notes'"):
        bind([reaction], {})


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"""When a bead', '"""If a bead', 'must begin with "When "'),
        ('    """A second note overwrites the first."""\n', "    ...\n", "why a second run is harmless"),
        ("async def note_bead", "def note_bead", "must be an async function"),
        ("async def note_bead", "async def note", "must hold one reaction called note_bead, it holds: note"),
        ("@on(", "ignored = on(", "it holds: none"),
        ("timedelta(seconds=9)", "timedelta(minutes=6)", "longer work is a job"),
        ("@on(BeadTouched", "@on(Other", "Other is not in the catalog of events"),
        ("concurrency=3", "concurrency=0", "must be at least 1"),
        ("attempts=2", "attempts=0", "must be at least 1"),
        ("notes: Notes", "notes", "needs the plain class of a service"),
        ("notes: Notes", "notes: Notes | None", "needs the plain class of a service"),
        ("event: BeadTouched, notes: Notes", "", "the first parameter must be the event"),
    ],
)
def test_each_breach_is_named(package: ModuleType, old: str, new: str, complaint: str) -> None:
    """The message says which file and what to change."""
    assert old in GOOD
    write(package, GOOD.replace(old, new, 1))
    with pytest.raises(Invalid, match=complaint) as told:
        discover(package)
    assert "note_bead" in str(told.value)


def test_all_breaches_are_told_at_once(package: ModuleType) -> None:
    """One start tells everything that is wrong."""
    write(package, GOOD.replace("concurrency=3", "concurrency=0"))
    write(package, GOOD, name="misnamed")
    with pytest.raises(Invalid, match=r"misnamed\.py must hold.*; note_bead: concurrency"):
        discover(package)


def test_two_reactions_in_one_file_are_refused(package: ModuleType) -> None:
    """One reaction a file, so that the folder is the list of all reactions."""
    write(package, GOOD + "\nsecond = on(BeadTouched, key=str)(note_bead.__class__(note_bead.__code__, globals()))\n")
    with pytest.raises(Invalid, match="it holds: note_bead, note_bead"):
        discover(package)


def test_our_own_handlers_keep_the_contract() -> None:
    """Each has a name of its own, and its file is called like it."""
    found = [reaction.name for reaction in discover(handlers)]
    files = [path.stem for path in Path(handlers.__path__[0]).glob("*.py") if path.stem != "__init__"]
    assert sorted(files) == found
