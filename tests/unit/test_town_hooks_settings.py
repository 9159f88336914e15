"""Claude Code's settings: ours goes in and comes out, everything else stays as it is."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.errors import Busy, Invalid
from gtftd.town.claude_settings import (
    add_hooks,
    install_claude_hooks,
    remove_hooks,
    uninstall_claude_hooks,
    verify_claude_hooks,
)
from gtftd.town.json_file import JsonObject, read_json_file
from gtftd.town.layout import Town

COMMAND = "'/state/hooks/gtftd-hook' claude"
FIXTURES = Path(__file__).parent.parent / "support" / "claude_settings"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    (tmp_path / "claude").mkdir()
    return tmp_path / "claude" / "settings.json"


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path / "town")


STATE = Path("/state")


@pytest.mark.parametrize("name", ["settings-autonomous.json", "settings-interactive.json"])
def test_gts_own_settings_come_back_byte_for_byte(settings: Path, town: Town, name: str) -> None:
    """Installed, gt's hooks are all there, in their order; uninstalled, not a byte differs."""
    original = (FIXTURES / name).read_bytes()
    settings.write_bytes(original)
    [change] = install_claude_hooks(town, STATE)
    assert "added" == change.what
    before, after = json.loads(original), json.loads(settings.read_bytes())
    assert [*before] == [*after]
    assert [*before["hooks"], "SessionEnd"] == [*after["hooks"]]
    for event, groups in before["hooks"].items():
        assert groups == after["hooks"][event][: len(groups)]
    assert original.splitlines()[:20] == settings.read_bytes().splitlines()[:20]
    assert all(status.ok for status in verify_claude_hooks(town, STATE))
    assert original == settings.with_name("settings.json.before-gtftd").read_bytes()
    uninstall_claude_hooks(town, STATE)
    assert original == settings.read_bytes()
    assert [settings] == list(settings.parent.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"{}\n",
        b'{"a":1}',
        b'{"a": 1, "hooks": {}}\n',
        b'{\n\t"a": "\xc3\xbc",\n\t"hooks": {\n\t\t"Stop": []\n\t}\n}\n',
        b'{\r\n    "a": [\r\n        1.5\r\n    ]\r\n}\r\n',
        b'\xef\xbb\xbf{\n  "a": null\n}\n',
        b'{\n  "a": "\\ud800"\n}',
        b'{\n  "hooks": {\n    "Stop": [\n      {\n        "hooks": []\n      }\n    ]\n  }\n}',
    ],
)
def test_whatever_was_there_is_there_afterwards(settings: Path, town: Town, content: bytes) -> None:
    """The same value in the same order; and the same bytes where they were laid out as a program does."""
    settings.write_bytes(content)
    install_claude_hooks(town, STATE)
    json.loads(settings.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    uninstall_claude_hooks(town, STATE)
    if content == b'{"a":1}':
        content = b'{"a": 1}'
    assert content == settings.read_bytes()


def test_hooks_that_the_user_moved_are_ours_still(settings: Path, town: Town) -> None:
    """In a group with others ours alone goes; a group that only held ours goes with it."""
    ours = {"type": "command", "command": COMMAND, "timeout": 60}
    theirs = {"type": "command", "command": "echo hi"}
    mixed = {"hooks": {"Stop": [{"matcher": "*", "hooks": [theirs, ours]}], "SessionEnd": [{"hooks": [ours]}]}}
    settings.write_text(json.dumps(mixed))
    install_claude_hooks(town, STATE)
    installed = json.loads(settings.read_bytes())["hooks"]
    assert mixed["hooks"]["Stop"] == installed["Stop"]
    assert ["Stop", "SessionEnd", "SessionStart"] == [*installed]
    uninstall_claude_hooks(town, STATE)
    left = json.loads(settings.read_bytes())["hooks"]
    assert [{"matcher": "*", "hooks": [theirs]}] == left["Stop"]
    assert "SessionStart" not in left


REFUSED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"a": 1, "a": 2}',
    b'{"a": NaN}',
    b'{"a": 1e999}',
    b'{"a": "\xff"}',
    b"[" * 100_000,
    b'{"hooks": null}',
    b'{"hooks": []}',
    b'{"hooks": {"Stop": {}}}',
    b'{"hooks": {"Stop": "echo"}}',
    b'{"hooks": {"Stop": ["echo"]}}',
    b'{"hooks": {"Stop": [{"hooks": "echo"}]}}',
]


@pytest.mark.parametrize("content", REFUSED)
def test_what_we_could_not_write_back_is_left_alone(settings: Path, town: Town, content: bytes) -> None:
    settings.write_bytes(content)
    [change] = install_claude_hooks(town, STATE)
    assert ("refused", False) == (change.what, change.ok)
    assert change.detail
    assert content == settings.read_bytes()
    assert [settings] == list(settings.parent.iterdir())


def test_a_truncated_file_is_refused_at_every_byte(settings: Path, town: Town) -> None:
    whole = b'{"model": "opus", "hooks": {"Stop": [{"matcher": "", "hooks": []}]}}'
    for length in range(len(whole)):
        settings.write_bytes(whole[:length])
        [change] = install_claude_hooks(town, STATE)
        assert (False, whole[:length]) == (change.ok, settings.read_bytes())


def test_links_are_followed_and_modes_kept(settings: Path, town: Town, tmp_path: Path) -> None:
    """Dotfile managers link settings.json into a repository."""
    target = tmp_path / "dotfiles.json"
    target.write_text("{}\n")
    target.chmod(0o640)
    settings.symlink_to(target)
    install_claude_hooks(town, STATE)
    assert settings.is_symlink()
    assert 0o640 == target.stat().st_mode & 0o777
    assert "Stop" in json.loads(target.read_bytes())["hooks"]


@pytest.mark.root
def test_the_owner_is_kept(settings: Path, town: Town) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving files away needs root")
    settings.write_text("{}\n")
    os.chown(settings, 12345, 12346)
    install_claude_hooks(town, STATE)
    assert (12345, 12346) == (settings.stat().st_uid, settings.stat().st_gid)


def test_a_change_meanwhile_is_not_overwritten(settings: Path) -> None:
    settings.write_text('{"a": 1}')
    file = read_json_file(settings)
    settings.write_text('{"a": 2}')
    file.value["b"] = 3
    with pytest.raises(Busy):
        file.replace()
    assert '{"a": 2}' == settings.read_text()
    assert [settings] == list(settings.parent.iterdir())


def test_an_unruly_neighbour_loses_nothing(settings: Path, town: Town) -> None:
    """While another program rewrites the file, it stays valid, and the neighbour's last word stays in it."""
    settings.write_text('{"n": -1}')
    stop = threading.Event()
    broken = []

    def read() -> None:
        while not stop.is_set():
            try:
                json.loads(settings.read_bytes())
            except ValueError as error:
                broken.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        install_claude_hooks(town, STATE)
        uninstall_claude_hooks(town, STATE)
    stop.set()
    reader.join()
    assert [] == broken
    assert {"n": -1} == json.loads(settings.read_bytes())


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({}, "missing"),
        ({"disableAllHooks": True}, "disableAllHooks"),
        ({"hooks": {"Stop": [{"matcher": "x", "hooks": [{"command": COMMAND}]}]}}, "matcher 'x'"),
        ({"hooks": {"Stop": [{"hooks": [{"command": "'/old/hooks/gtftd-hook' claude"}]}]}}, "/old/hooks"),
        ({"hooks": 5}, "not an object"),
    ],
)
def test_verify_says_why_a_hook_will_not_run(settings: Path, town: Town, value: JsonObject, part: str) -> None:
    settings.write_text(json.dumps(value))
    [status] = [one for one in verify_claude_hooks(town, STATE) if one.what == "Stop"]
    assert not status.ok
    assert part in status.detail


_scalars = st.none() | st.booleans() | st.integers() | st.text("abü", max_size=8)
_commands = st.fixed_dictionaries({"type": st.just("command"), "command": st.text("abü", max_size=8)})
_groups = st.fixed_dictionaries(
    {"hooks": st.lists(_commands, max_size=2)}, optional={"matcher": st.text("*x", max_size=4)}
)
_events = st.sampled_from(["SessionStart", "Stop", "SessionEnd", "PreToolUse"])
_settings = st.fixed_dictionaries(
    {}, optional={"model": _scalars, "hooks": st.dictionaries(_events, st.lists(_groups, max_size=2))}
)


@given(_settings)
def test_removing_is_the_inverse_of_adding(before: JsonObject) -> None:
    """For every well-formed settings value; and adding twice is adding once."""
    value = json.loads(json.dumps(before))
    assert add_hooks(value, COMMAND)
    assert not add_hooks(value, COMMAND)
    assert remove_hooks(value, COMMAND, before)
    assert before == value
    assert json.dumps(before) == json.dumps(value)
    assert not remove_hooks(value, COMMAND, before)


def test_a_wrong_shape_is_invalid() -> None:
    with pytest.raises(Invalid, match="repair it by hand"):
        add_hooks({"hooks": {"Stop": 1}}, COMMAND)
