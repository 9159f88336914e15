"""The spool's format, its reader, and the way from a file to an event."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.errors import Invalid, Missing
from gtftd.schemas.town import SessionEnded, SessionStarted, TurnEnded
from gtftd.town.layout import Rig, Town
from gtftd.town.spool import MAX_FILE_BYTES, Spool, SpoolFile, parse_spool_file, to_event

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
WHOLE = b"gtftd-hook 1 claude n1\nGT_ROLE=mayor\n\n{}\n# end n1\n"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.ensure()
    return spool


def put(folder: Path, name: str, content: bytes, *, at: datetime = AT) -> Path:
    path = folder / name
    path.write_bytes(content)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def claude(said: object, **env: str) -> SpoolFile:
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    return SpoolFile(Path("n1"), "n1", AT, "claude", env, (), payload)


def test_a_whole_file_is_read_as_written(spool: Spool) -> None:
    file = parse_spool_file(put(spool.new, "n1", WHOLE))
    expected = ("n1", AT, "claude", {"GT_ROLE": "mayor"}, (), b"{}")
    assert expected == (file.name, file.written_at, file.kind, dict(file.env), file.args, file.payload)


def test_every_prefix_of_a_file_is_torn(spool: Spool) -> None:
    """Wherever a power cut ends it, the reader says so and nothing else."""
    for length in range(len(WHOLE)):
        path = put(spool.tmp, "n1", WHOLE[:length])
        with pytest.raises(Invalid):
            parse_spool_file(path)
    assert [] == spool.adoptable(AT + timedelta(hours=1), 30)
    assert ["n1"] == [path.name for path in spool.torn(AT + timedelta(hours=1), 30)]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="ordinary file systems know no such time")
def test_an_impossible_time_is_refused() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = put(Path(folder), "n1", WHOLE)
        os.utime(path, (0, 400_000_000_000))
        with pytest.raises(Invalid, match="calendar"):
            parse_spool_file(path)


def test_a_payload_cannot_fake_the_end(spool: Spool) -> None:
    """The trailer repeats a name that whoever wrote the payload could not know."""
    torn = b"gtftd-hook 1 claude n2\n\n{}\n# end n1\n"
    with pytest.raises(Invalid, match="torn"):
        parse_spool_file(put(spool.new, "n2", torn))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "first line"),
        (b"\0" * 4096, "first line"),
        (b"gtftd-hook 2 claude n\n\n\n# end n\n", "format 2"),
        (b"gtftd-hook 1 other n\n\n\n# end n\n", "kind other"),
        (b"gtftd-hook 1 claude ../n\n\n\n# end ../n\n", "first line"),
        (b"gtftd-hook 1 claude n\nlower=1\n\n{}\n# end n\n", "KEY=value"),
        (b"gtftd-hook 1 claude n\nKEY\n\n{}\n# end n\n", "KEY=value"),
        (b"gtftd-hook 1 claude n\nKEY=1\n# end n\n", "empty line"),
        (b"x" * (MAX_FILE_BYTES + 1), "at most"),
    ],
)
def test_garbage_is_refused_with_its_reason(spool: Spool, content: bytes, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        parse_spool_file(put(spool.new, "n", content))


def test_what_is_no_ordinary_file_is_refused(spool: Spool, tmp_path: Path) -> None:
    """A pipe is not waited for, a link not followed, a vanished file is Missing."""
    os.mkfifo(spool.new / "pipe")
    (spool.new / "link").symlink_to(put(tmp_path, "n1", WHOLE))
    (spool.new / "folder").mkdir()
    for name in ("pipe", "link", "folder"):
        with pytest.raises(Invalid):
            parse_spool_file(spool.new / name)
    with pytest.raises(Missing):
        parse_spool_file(spool.new / "gone")


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for whole in (content, b"gtftd-hook 1 claude n\n" + content + b"\n# end n\n"):
        try:
            parse_spool_file(put(folder, "n", whole))
        except Invalid as error:
            assert str(error)


def test_pending_is_oldest_first(spool: Spool) -> None:
    for minutes, name in ((3, "a"), (1, "b"), (2, "c")):
        put(spool.new, name, WHOLE, at=AT + timedelta(minutes=minutes))
    put(spool.new, ".aside.tmp", WHOLE)
    assert ["b", "c", "a"] == [path.name for path in spool.pending()]
    assert [] == Spool(spool.root / "nowhere").pending()


def test_only_old_whole_files_are_adopted(spool: Spool) -> None:
    put(spool.tmp, "n1", WHOLE)
    assert [] == spool.adoptable(AT + timedelta(seconds=29), 30)
    [path] = spool.adoptable(AT + timedelta(seconds=30), 30)
    assert spool.new / "n1" == spool.adopt(path) == spool.adopt(path)
    assert ["n1"] == [waiting.name for waiting in spool.pending()]
    assert spool.parked / "n1" == spool.park(spool.new / "n1")
    assert [] == spool.pending()


def test_an_emitted_event_comes_back_whole(spool: Spool) -> None:
    envelope = b'{"id":"x",\n\n"data":{}}\n# end n\n'
    path = spool.put_event(envelope)
    file = parse_spool_file(path)
    assert ("emit", envelope, [path]) == (file.kind, file.payload, spool.pending())
    assert [] == list(spool.tmp.iterdir())
    with pytest.raises(Invalid, match="envelope"):
        to_event(file, Town(spool.root))
    with pytest.raises(Invalid, match="too large"):
        spool.put_event(b"x" * MAX_FILE_BYTES)


def test_folders_are_for_their_owner_alone(spool: Spool) -> None:
    spool.ensure()
    folders = (spool.root, spool.tmp, spool.new, spool.transcripts, spool.parked)
    assert [0o700] * 5 == [folder.stat().st_mode & 0o777 for folder in folders]


@pytest.mark.parametrize(
    ("env", "cwd", "expected"),
    [
        ({"GT_ROLE": "gastown/polecats/nux"}, None, ("polecat", "gastown", "gastown/polecats/nux")),
        ({"GT_ROLE": "mayor/"}, None, ("mayor", None, "mayor")),
        ({"GT_ROLE": "deacon/boot"}, None, ("boot", None, "deacon/boot")),
        ({"GT_ROLE": "dog", "GT_DOG_NAME": "rex"}, None, ("dog", None, "deacon/dogs/rex")),
        (
            {"GT_ROLE": "polecat", "GT_RIG": "gastown", "GT_POLECAT": "nux"},
            None,
            ("polecat", "gastown", "gastown/polecats/nux"),
        ),
        ({"GT_ROLE": "crew", "GT_RIG": "g", "GT_CREW": "joe"}, None, ("crew", "g", "g/crew/joe")),
        ({"GT_ROLE": "polecat", "BD_ACTOR": "g/polecats/p"}, None, ("polecat", "g", "g/polecats/p")),
        ({"GT_ROLE": "what?", "BD_ACTOR": "g/witness"}, None, ("witness", "g", "g/witness")),
        ({"GT_ROLE": "what?"}, "/town/g/crew/joe/src", ("crew", "g", "g/crew/joe")),
        ({"GT_ROLE": "what?", "BD_ACTOR": "Ann"}, "/elsewhere", (None, None, "Ann")),
        ({"GT_ROLE": "dog"}, None, ("dog", None, "dog")),
        ({}, "/town\0x", (None, None, None)),
    ],
)
def test_who_it_was(env: dict[str, str], cwd: str | None, expected: tuple[str | None, ...]) -> None:
    """GT_ROLE, else BD_ACTOR, else the working directory; a stranger keeps his own name."""
    said = {"session_id": "s", "hook_event_name": "SessionStart", "source": "startup", "cwd": cwd}
    event = to_event(claude(said, **env), Town(Path("/town"), (Rig("g", Path("/town/g"), "g"),)))
    assert isinstance(event, SessionStarted)
    assert expected == (event.role, event.rig, event.actor)


def test_stop_and_end_are_told_apart() -> None:
    town = Town(Path("/town"))
    stop = to_event(claude({"session_id": "s", "hook_event_name": "Stop", "transcript_path": "/t"}), town)
    end = to_event(
        claude({"session_id": "s", "hook_event_name": "SessionEnd", "reason": "logout"}, GT_SESSION="gt-nux"), town
    )
    assert TurnEnded(at=AT, seen_by="hook", session_id="s", transcript_path="/t") == stop
    assert SessionEnded(at=AT, seen_by="hook", session_id="s", tmux_session="gt-nux", reason="logout") == end


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"not json",
        b"[]",
        b'{"session_id": "s", "hook_event_name": "Sto',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"n": ' + b"9" * 10_000 + b"}",
        {"session_id": "s"},
        {"session_id": "s", "hook_event_name": "PreToolUse"},
        {"session_id": "s", "hook_event_name": ["Stop"]},
        {"hook_event_name": "Stop"},
        {"hook_event_name": "SessionEnd"},
        {"hook_event_name": "SessionStart"},
        {"session_id": "x" * 129, "hook_event_name": "Stop"},
        {"session_id": 5, "hook_event_name": "Stop"},
        {"session_id": "s", "hook_event_name": "Stop", "transcript_path": {"a": 1}},
        {"session_id": "\ud800", "hook_event_name": "Stop"},
        {"session_id": "s", "hook_event_name": "SessionEnd", "reason": {"a": 1}},
    ],
)
def test_a_payload_that_we_do_not_understand_is_invalid(said: object) -> None:
    with pytest.raises(Invalid):
        to_event(claude(said, GT_ROLE="mayor"), Town(Path("/town")))


def test_an_unknown_source_does_not_lose_the_start() -> None:
    said = {"session_id": "s", "hook_event_name": "SessionStart", "source": "future", "unknown": 1}
    event = to_event(claude(said, GT_ROLE="mayor"), Town(Path("/town")))
    assert isinstance(event, SessionStarted)
    assert "unknown" == event.start


def test_another_town_is_refused(tmp_path: Path) -> None:
    said = {"session_id": "s", "hook_event_name": "Stop"}
    with pytest.raises(Invalid, match="another town"):
        to_event(claude(said, GT_ROOT="/elsewhere"), Town(tmp_path))
    assert "turn.ended" == to_event(claude(said, GT_ROOT=str(tmp_path)), Town(tmp_path)).subject


def test_a_packed_ref_is_read_unless_it_moved(tmp_path: Path) -> None:
    """A later commit would be a lie about the session's start: then the head is unknown."""
    said = {"session_id": "s", "hook_event_name": "SessionStart"}
    file = claude(said, GIT_REF="refs/heads/main", GIT_COMMON_DIR=str(tmp_path))
    packed = put(tmp_path, "packed-refs", b"# pack-refs\n" + b"a" * 40 + b" refs/heads/main\n")

    def head() -> str | None:
        event = to_event(file, Town(Path("/town")))
        assert isinstance(event, SessionStarted)
        return event.git_head

    assert "a" * 40 == head()
    os.utime(packed, (AT.timestamp() + 60, AT.timestamp() + 60))
    assert head() is None
    os.utime(packed, (AT.timestamp(), AT.timestamp()))
    (tmp_path / "refs" / "heads").mkdir(parents=True)
    (tmp_path / "refs" / "heads" / "main").write_text("b" * 40)
    assert head() is None
