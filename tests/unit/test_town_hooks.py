"""Install, uninstall and verify, over a whole town with two accounts and two beads databases."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gtftd.town.hook_script import script_content, script_path
from gtftd.town.hooks import HookStatus, install, uninstall, verify
from gtftd.town.layout import Town, load_town
from gtftd.town.spool import Spool, parse_spool_file
from tests.support.hooks import claude_payload, hook_env, make_town


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    root = tmp_path / "town"
    make_town(root)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    account = {"config_dir": str(tmp_path / "account two")}
    (root / "mayor" / "accounts.json").write_text(json.dumps({"accounts": {"two": account}}))
    return load_town(root)


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes()) for path in files}


def bad(statuses: list[HookStatus]) -> dict[str, str]:
    return {f"{status.path.name} {status.what}": status.detail for status in statuses if not status.ok}


@pytest.mark.parametrize("name", ["state", "st'ate $(id) dir"])
def test_installed_once_everything_verifies_and_fires(town: Town, tmp_path: Path, name: str) -> None:
    """The commands that stand in the settings and in the beads hooks, run as Claude and bd run them."""
    state = tmp_path / name
    assert all(change.ok for change in install(town, state))
    assert {} == bad(verify(town, state))
    assert {"kept"} == {change.what for change in install(town, state)}
    settings = json.loads((tmp_path / "claude" / "settings.json").read_bytes())
    assert settings == json.loads((tmp_path / "account two" / "settings.json").read_bytes())
    for event in ("SessionStart", "Stop", "SessionEnd"):
        [group] = settings["hooks"][event]
        [hook] = group["hooks"]
        assert ("command", 5, "") == (hook["type"], hook["timeout"], group["matcher"])
        subprocess.run(["sh", "-c", hook["command"]], input=claude_payload(event), env=hook_env(), check=True)
    for folder in (town.beads_dir, town.rigs[0].beads_dir):
        for change in ("create", "update", "close"):
            subprocess.run([folder / "hooks" / f"on_{change}", "gt-1", change], input=b"{}", check=True)
    files = [parse_spool_file(path) for path in Spool(state / "spool").pending()]
    assert ["bead"] * 6 + ["claude"] * 3 == sorted(file.kind for file in files)
    changes = [file.args[1] for file in files if file.kind == "bead"]
    assert ["close", "close", "create", "create", "update", "update"] == sorted(changes)


def test_uninstalling_leaves_the_town_as_it_was(town: Town, tmp_path: Path) -> None:
    before = tree(tmp_path)
    install(town, tmp_path / "state")
    assert all(change.ok for change in uninstall(town, tmp_path / "state"))
    assert before == tree(tmp_path)
    assert [] == uninstall(town, tmp_path / "state")


def test_two_towns_share_one_users_settings(town: Town, tmp_path: Path) -> None:
    """Each daemon installs and removes its own hooks only."""
    install(town, tmp_path / "one")
    install(town, tmp_path / "two")
    settings = tmp_path / "claude" / "settings.json"
    assert 2 == len(json.loads(settings.read_bytes())["hooks"]["Stop"])
    uninstall(town, tmp_path / "two")
    assert {} == {key: text for key, text in bad(verify(town, tmp_path / "one")).items() if "settings" in key}
    assert "another state directory" in bad(verify(town, tmp_path / "two"))["settings.json Stop"]


def test_a_broken_account_does_not_keep_the_others_out(town: Town, tmp_path: Path) -> None:
    broken = tmp_path / "account two" / "settings.json"
    broken.parent.mkdir()
    broken.write_text('{"hooks": {')
    changes = {change.path: change for change in install(town, tmp_path / "state")}
    assert ("refused", False) == (changes[broken].what, changes[broken].ok)
    assert "not valid JSON" in changes[broken].detail
    assert '{"hooks": {' == broken.read_text()
    assert changes[tmp_path / "claude" / "settings.json"].ok
    assert {f"settings.json {event}" for event in ("SessionStart", "Stop", "SessionEnd")} == set(
        bad(verify(town, tmp_path / "state"))
    )


def test_verify_names_each_damage(town: Town, tmp_path: Path) -> None:
    state = tmp_path / "state"
    install(town, state)
    script, beads = script_path(state), town.beads_dir / "hooks"
    script.write_bytes(script_content() + b"# edited\n")
    (state / "hooks" / "town").write_text("/elsewhere\n")
    (beads / "on_close").unlink()
    (beads / "on_create").write_text("#!/bin/sh\nexit 0\n")
    (beads / "on_update").chmod(0o644)
    other = town.rigs[0].beads_dir / "hooks"
    other.joinpath("on_close").write_bytes((other / "on_close").read_bytes() + b"# edited\n")
    shifted = (other / "on_update").read_bytes().replace(bytes(state), b"/elsewhere")
    other.joinpath("on_update").write_bytes(shifted)
    Spool(state / "spool").new.rmdir()
    found = verify(town, state)
    details = {f"{one.path.parent.parent.parent.name}/{one.path.name}": one.detail for one in found if not one.ok}
    parts = {
        f"{tmp_path.name}/gtftd-hook": "not the script of this gtftd",
        f"{tmp_path.name}/town": "does not name the town",
        f"{tmp_path.parent.name}/spool": "cannot be written",
        "town/on_close": "missing",
        "town/on_create": "somebody else's",
        "town/on_update": "cannot be executed",
        "rig/on_close": "altered",
        "rig/on_update": "another state directory",
    }
    assert parts.keys() == details.keys()
    assert [] == [name for name, part in parts.items() if part not in details[name]]
    script.unlink()
    assert "which is missing" in {one.detail.split(", ")[-1].split(";")[0] for one in verify(town, state)}


def test_install_repairs_what_verify_names(town: Town, tmp_path: Path) -> None:
    state = tmp_path / "state"
    install(town, state)
    script_path(state).write_text("gone")
    (town.beads_dir / "hooks" / "on_update").chmod(0o644)
    (tmp_path / "claude" / "settings.json").unlink()
    install(town, state)
    assert {} == bad(verify(town, state))


def test_verify_tells_what_switches_hooks_off_or_weakens_them(town: Town, tmp_path: Path) -> None:
    install(town, tmp_path / "state")
    (town.beads_dir / "config.yaml").write_text("issue-prefix: hq\nno-hooks: true  # slow\n")
    assert {f"on_{change} bead {change}" for change in ("create", "update", "close")} == set(
        bad(verify(town, tmp_path / "state"))
    )
    if Path("/dev/shm").is_dir() and Path("/dev/shm").stat().st_dev != tmp_path.stat().st_dev:
        (tmp_path / "claude" / "projects").symlink_to("/dev/shm")
        [note] = [one for one in verify(town, tmp_path / "state") if one.what == "link" and one.detail]
        assert note.ok
        assert "another file system" in note.detail


def foreign_hook(town: Town, text: str = 'cat > "$0.stdin"; echo "$@" > "$0.args"') -> Path:
    hook = town.beads_dir / "hooks" / "on_close"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{text}\n")
    hook.chmod(0o755)
    return hook


def test_somebody_elses_beads_hook_still_runs(town: Town, tmp_path: Path) -> None:
    """With the same arguments, the same input and the same exit status."""
    hook = foreign_hook(town, 'cat > "$0.stdin"; printf "%s|" "$@" > "$0.args"; exit 3')
    install(town, tmp_path / "state")
    done = subprocess.run([hook, "gt-1 x", "close"], input=b'{"id": 1}', check=False)
    chained = hook.with_name("on_close.before-gtftd")
    assert 3 == done.returncode
    assert b'{"id": 1}' == chained.with_name(chained.name + ".stdin").read_bytes()
    assert "gt-1 x|close|" == chained.with_name(chained.name + ".args").read_text()
    assert 1 == len(Spool(tmp_path / "state" / "spool").pending())


def test_somebody_elses_beads_hook_comes_back(town: Town, tmp_path: Path) -> None:
    foreign_hook(town)
    before = tree(town.beads_dir)
    install(town, tmp_path / "state")
    install(town, tmp_path / "state")
    uninstall(town, tmp_path / "state")
    assert before == tree(town.beads_dir)


def test_a_beads_hook_survives_without_gtftd(town: Town, tmp_path: Path) -> None:
    """The state directory may be deleted by hand: bd and the other hook notice nothing."""
    hook = foreign_hook(town)
    install(town, tmp_path / "state")
    script_path(tmp_path / "state").unlink()
    done = subprocess.run([hook, "gt-1", "close"], input=b"", capture_output=True, check=False)
    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


def test_a_hook_that_replaced_ours_is_not_lost(town: Town, tmp_path: Path) -> None:
    """Two foreign hooks and one name: we say so and touch neither."""
    foreign_hook(town, "echo first")
    install(town, tmp_path / "state")
    hook = foreign_hook(town, "echo second")
    hook.unlink()
    foreign_hook(town, "echo second")
    before = tree(town.beads_dir)
    refused = [change for change in install(town, tmp_path / "state") if not change.ok]
    assert [hook] == [change.path for change in refused]
    assert "decide which" in refused[0].detail
    assert before == tree(town.beads_dir)


def kill_install_at(point: str, town: Town, state: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gtftd.town.hooks import install; "
        "from gtftd.town.layout import load_town; install(load_town(Path(sys.argv[1])), Path(sys.argv[2]))"
    )
    env = {**os.environ, "GTFTD_CRASH_AT": point}
    done = subprocess.run([sys.executable, "-c", code, town.root, state], env=env, check=False)
    assert -9 == done.returncode


@pytest.mark.parametrize("point", ["beads_hook.linked", "settings.written", "file.synced:1", "file.synced:4"])
def test_an_install_killed_anywhere_can_be_repeated_and_undone(town: Town, tmp_path: Path, point: str) -> None:
    """What stood there still works in between: valid settings, a runnable hook."""
    hook, settings = foreign_hook(town, "echo theirs"), tmp_path / "claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"model": "opus"}\n')
    kill_install_at(point, town, tmp_path / "state")
    assert "opus" == json.loads(settings.read_bytes())["model"]
    done = subprocess.run([hook, "gt-1", "close"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert b"theirs\n" == done.stdout
    install(town, tmp_path / "state")
    assert {} == bad(verify(town, tmp_path / "state"))
    uninstall(town, tmp_path / "state")
    assert "#!/bin/sh\necho theirs\n" == hook.read_text()
    assert '{"model": "opus"}\n' == settings.read_text()


def test_undoing_a_killed_install_leaves_no_second_name(town: Town, tmp_path: Path) -> None:
    hook = foreign_hook(town, "echo theirs")
    kill_install_at("beads_hook.linked", town, tmp_path / "state")
    uninstall(town, tmp_path / "state")
    assert ["on_close"] == [path.name for path in hook.parent.iterdir() if not path.name.startswith("on_c.")]


def test_the_command_is_one_safe_word(town: Town, tmp_path: Path) -> None:
    state = tmp_path / "it's; $(touch pwned)"
    install(town, state)
    settings = json.loads((tmp_path / "claude" / "settings.json").read_bytes())
    command = settings["hooks"]["Stop"][0]["hooks"][0]["command"]
    assert [str(script_path(state)), "claude"] == shlex.split(command)
