"""The short prime in gt's settings: put in, kept, lost to gt and put in again, taken out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtftd.town import prime_hooks
from gtftd.town.json_file import JsonFile
from gtftd.town.prime_command import TRAP, is_prime, spell, unspell, unwrap, wrap, wrapped_by
from gtftd.town.prime_settings import BACKUP_SUFFIX, role_settings
from tests.support.prime import PrimeTown, command_of, make_prime_town

SCRIPT = Path("/state/hooks/gtftd-prime")
OURS = "if [ -x '/state/hooks/gtftd-prime' ]; then {a}'/state/hooks/gtftd-prime' {p}; else {a}{p}; fi"


@pytest.fixture
def made(tmp_path: Path) -> PrimeTown:
    return make_prime_town(tmp_path)


@pytest.mark.parametrize(
    ("command", "wrapped"),
    [
        ("gt prime --hook", OURS.format(a="", p="gt prime --hook")),
        ("/go/bin/gt prime --hook", OURS.format(a="", p="/go/bin/gt prime --hook")),
        (
            "/b/gt prime --hook && /b/gt mail check --inject",
            OURS.format(a="", p="/b/gt prime --hook") + " && /b/gt mail check --inject",
        ),
        ('export PATH="$HOME/x:$PATH" && gt prime --hook',
         'export PATH="$HOME/x:$PATH" && ' + OURS.format(a="", p="gt prime --hook")),
        ("cd /x; gt prime --hook 2>/dev/null", "cd /x; " + OURS.format(a="", p="gt prime --hook") + " 2>/dev/null"),
        ("A=1 B='x y' gt prime --hook", OURS.format(a="A=1 B='x y' ", p="gt prime --hook")),
        ("'/my bin/gt' prime --hook || true", OURS.format(a="", p="'/my bin/gt' prime --hook") + " || true"),
        ("(gt prime --hook)", "(" + OURS.format(a="", p="gt prime --hook") + ")"),
        ("gt prime --hook & gt prime --hook",
         OURS.format(a="", p="gt prime --hook") + " & " + OURS.format(a="", p="gt prime --hook")),
    ],
)  # fmt: skip
def test_only_the_prime_of_a_command_changes(command: str, wrapped: str) -> None:
    """Everything around it stays, twice is once, and back is back; a shell can read it."""
    assert wrapped == wrap(command, SCRIPT)
    assert wrapped == wrap(wrapped, SCRIPT)
    assert command == unwrap(wrapped)
    assert ["'/state/hooks/gtftd-prime'"] == sorted(set(wrapped_by(wrapped)))
    subprocess.run(["/bin/sh", "-n", "-c", wrapped], check=True)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "gt mail check --inject",
        "gt prime",
        "gt prime --hook --explain",
        "timeout 30 gt prime --hook",
        "exec gt prime --hook",
        "echo 'gt prime --hook'",
        "mygt prime --hook",
        "echo gt prime --hook",
        "gt prime --hooked",
        "x=$(gt prime --hook --dry-run)",
    ],
)
def test_a_command_in_another_form_is_left_alone(command: str) -> None:
    """Rather than broken."""
    assert command == wrap(command, SCRIPT)
    assert not is_prime(command)


@given(st.text(alphabet="gt prime-hok&|;(){}'\"/$=xA1 \n", max_size=60), st.text(max_size=8))
def test_whatever_stands_there_comes_back(around: str, folder: str) -> None:
    """A state directory may have any name."""
    script = Path(f"/s{folder.replace(chr(0), '')}/hooks/gtftd-prime")
    for command in (around, f"gt prime --hook && {around}", f"{around}; gt prime --hook"):
        assert command == unwrap(wrap(command, script))


@pytest.mark.parametrize("value", ['"$HOME/go/bin:$PATH"', "'/x y'", "/a:/b"])
def test_the_path_is_set_in_other_words(value: str) -> None:
    """The same for a shell, without the text that makes gt write the file anew."""
    command = f"export PATH={value} && gt tap guard x"
    assert TRAP not in spell(command)
    assert command == unspell(spell(command))
    told = [
        subprocess.run(
            ["/bin/sh", "-c", f"{one.partition(' && gt')[0]} && /usr/bin/env"], check=True, capture_output=True
        )
        for one in (command, spell(command))
    ]
    assert told[0].stdout == told[1].stdout


def test_every_settings_file_of_gt_is_known(made: PrimeTown) -> None:
    """Of the town's roles and of each rig's, with gt's own name for its override."""
    found = {one.who: one.target for one in role_settings(made.town)}
    assert {"mayor": "mayor", "deacon": "deacon", "gastown/polecat": "gastown/polecats"}.items() <= found.items()
    assert {"gastown/crew", "gastown/witness", "gastown/refinery", "beads/polecat"} <= found.keys()
    only = role_settings(made.town, roles=("polecat",), rigs=("gastown",))
    assert ["gastown/polecat"] == [one.who for one in only]


@pytest.mark.parametrize("role", ["polecat", "crew", "witness", "refinery", "mayor", "deacon"])
def test_gts_settings_come_back_byte_for_byte(made: PrimeTown, role: str) -> None:
    """In: the prime alone is another. Out: nothing is, and nothing of ours is left anywhere."""
    file = made.settings(role)
    before = file.path.read_bytes()
    for _ in range(2):
        changes = prime_hooks.install(made.scope(), made.known)
        assert all(change.ok for change in changes)
        assert all(status.ok for status in prime_hooks.verify(made.scope(), made.known))
    value, was = json.loads(file.path.read_bytes()), json.loads(before)
    assert f"{made.gt} prime --hook" in command_of(file)
    assert str(made.state_dir / "hooks" / "gtftd-prime") in command_of(file)
    assert [*was] == [*value]
    assert [*was["hooks"]] == [*value["hooks"]]
    for event in set(was["hooks"]) - {"SessionStart", "PreCompact", "PreToolUse"}:
        assert was["hooks"][event] == value["hooks"][event]
    prime_hooks.uninstall(made.scope())
    assert before == file.path.read_bytes()
    assert [] == leftovers(made)


@pytest.mark.parametrize("form", ["one line", "tabs", "no end of line", "escaped", "by hand"])
def test_any_form_comes_back_byte_for_byte(made: PrimeTown, form: str) -> None:
    """What another program would write otherwise is kept aside."""
    file = made.settings("polecat")
    text = file.path.read_text()
    file.path.write_text(
        {
            "one line": json.dumps(json.loads(text)),
            "tabs": json.dumps(json.loads(text), indent="\t"),
            "no end of line": text.rstrip("\n"),
            "escaped": text.replace("&", "\\u0026"),
            "by hand": text.replace("{\n", "{").replace("},\n", "},  "),
        }[form]
    )
    before = file.path.read_bytes()
    prime_hooks.install(made.scope(), made.known)
    assert "gtftd-prime" in command_of(file)
    prime_hooks.uninstall(made.scope())
    assert before == file.path.read_bytes()


def test_hooks_that_are_switched_off_are_told(made: PrimeTown) -> None:
    """Then nobody primes."""
    prime_hooks.install(made.scope(), made.known)
    file = made.settings("mayor")
    file.path.write_text(json.dumps(json.loads(file.path.read_text()) | {"disableAllHooks": True}))
    [told] = [one for one in prime_hooks.verify(made.scope(), made.known) if one.path == file.path]
    assert (False, True) == (told.ok, "disableAllHooks" in told.detail)


def leftovers(made: PrimeTown) -> list[Path]:
    mine = [path for path in made.folder.rglob("*") if "gtftd-prime" in path.name or "hooks-overrides" in path.name]
    return [*mine, *made.state_dir.iterdir()]


def test_what_else_the_start_runs_is_kept(made: PrimeTown) -> None:
    """Autonomous roles check their mail after it."""
    prime_hooks.install(made.scope(), made.known)
    assert command_of(made.settings("polecat")).endswith(f"; fi && {made.gt} mail check --inject")


def test_gt_leaves_the_file_alone_at_the_next_start(made: PrimeTown) -> None:
    """Its template has the text that makes it write the file anew; ours says the same in other words."""
    file = made.settings("polecat")
    assert TRAP.encode() in file.path.read_bytes()
    prime_hooks.install(made.scope(), made.known)
    before = file.path.read_bytes()
    made.start_agent(file)
    assert before == file.path.read_bytes()
    guard = json.loads(before)["hooks"]["PreToolUse"][3]["hooks"][0]["command"]
    assert 'PATH="$HOME/go/bin:$HOME/.local/bin:$PATH" && export PATH && gt tap guard dangerous-command' == guard


def test_gts_sync_keeps_the_script(made: PrimeTown) -> None:
    """It finds it in its own overrides, for the prime alone; crew still hand off before a compaction."""
    prime_hooks.install(made.scope(), made.known)
    made.sync()
    for role in ("mayor", "deacon", "polecat", "crew", "witness", "refinery"):
        assert "gtftd-prime" in command_of(made.settings(role)), role
    assert command_of(made.settings("crew"), "PreCompact").endswith("gt handoff --cycle")
    assert "mail check" in command_of(made.settings("witness"))


def test_status_tells_of_a_file_that_gt_will_write_anew(made: PrimeTown) -> None:
    """After a sync the text is there again: this start is short, the next one is not; installing mends it."""
    prime_hooks.install(made.scope(), made.known)
    made.sync()
    file = made.settings("polecat")
    [told] = [one for one in prime_hooks.verify(made.scope(), made.known) if one.path == file.path]
    assert not told.ok
    assert "anew at the next start" in told.detail
    assert "gtftctl prime install" in told.detail
    made.start_agent(file)
    assert "gtftd-prime" not in command_of(file)
    [told] = [one for one in prime_hooks.verify(made.scope(), made.known) if one.path == file.path]
    assert (False, "full prime: the file was written anew; run `gtftctl prime install`") == (told.ok, told.detail)
    prime_hooks.install(made.scope(), made.known)
    assert all(one.ok for one in prime_hooks.verify(made.scope(), made.known))
    made.start_agent(file)
    assert "gtftd-prime" in command_of(file)
    prime_hooks.uninstall(made.scope())
    assert made.template("polecat") == file.path.read_bytes()


def test_only_chosen_roles_get_it(made: PrimeTown) -> None:
    """The rest is as gt made it; the script stays as long as one of them calls it."""
    before = {one.who: one.path.read_bytes() for one in role_settings(made.town) if one.path.exists()}
    prime_hooks.install(made.scope(roles=("polecat", "deacon")), made.known)
    changed = {
        one.who for one in role_settings(made.town) if one.path.exists() and before[one.who] != one.path.read_bytes()
    }
    assert {"gastown/polecat", "deacon"} == changed
    prime_hooks.uninstall(made.scope(roles=("deacon",)))
    assert (made.state_dir / "hooks" / "gtftd-prime").exists()
    assert "gtftd-prime" in command_of(made.settings("polecat"))
    prime_hooks.uninstall(made.scope(roles=("polecat",)))
    assert [] == leftovers(made)


def test_what_changed_meanwhile_is_kept(made: PrimeTown) -> None:
    """Another hook, another setting, in the file and in the overrides."""
    file = made.settings("mayor")
    prime_hooks.install(made.scope(), made.known)
    value = json.loads(file.path.read_text())
    value["model"] = "opus"
    value["hooks"]["Stop"].append({"matcher": "x", "hooks": [{"type": "command", "command": "mine"}]})
    file.path.write_text(json.dumps(value, indent=2))
    override = made.home / ".gt" / "hooks-overrides" / "mayor.json"
    theirs = json.loads(override.read_text()) | {"Stop": [{"matcher": "", "hooks": []}]}
    override.write_text(json.dumps(theirs))
    prime_hooks.uninstall(made.scope())
    left = json.loads(file.path.read_text())
    assert ("opus", f"{made.gt} prime --hook") == (
        left["model"],
        left["hooks"]["SessionStart"][0]["hooks"][0]["command"],
    )
    assert 2 == len(left["hooks"]["Stop"])
    assert {"Stop": [{"matcher": "", "hooks": []}]} == json.loads(override.read_text())


def test_an_override_that_was_there_comes_back_byte_for_byte(made: PrimeTown) -> None:
    """It is merged with, not replaced: its own prime command is what ours stands before."""
    folder = made.home / ".gt" / "hooks-overrides"
    folder.mkdir(parents=True)
    path = folder / "gastown__polecats.json"
    said = '{"SessionStart": [{"matcher": "", "hooks": [\n {"type": "command", "command": "gt prime --hook'
    path.write_text(said + ' \\u0026\\u0026 me"}]}], "Stop": []}')
    before = path.read_bytes()
    prime_hooks.install(made.scope(), made.known)
    [group] = json.loads(path.read_text())["SessionStart"]
    assert group["hooks"][0]["command"].endswith("; fi && me")
    assert [] == json.loads(path.read_text())["Stop"]
    prime_hooks.uninstall(made.scope())
    assert before == path.read_bytes()


@pytest.mark.parametrize("name", ["polecats.json", "../hooks-base.json"])
def test_what_gt_would_write_by_weaker_files_is_what_ours_stands_before(made: PrimeTown, name: str) -> None:
    """Ours is the strongest entry, so it must say what theirs said; one without a prime stays theirs."""
    folder = made.home / ".gt" / "hooks-overrides"
    folder.mkdir(parents=True)

    def entry(command: str) -> list[dict[str, Any]]:
        return [{"matcher": "", "hooks": [{"type": "command", "command": command}]}]

    said = {"SessionStart": entry("first && gt prime --hook"), "PreCompact": entry("echo compacting")}
    (folder / name).write_text(json.dumps(said))
    prime_hooks.install(made.scope(), made.known)
    ours = json.loads((folder / "gastown__polecats.json").read_text())
    assert ["SessionStart"] == [*ours]
    assert ours["SessionStart"][0]["hooks"][0]["command"].startswith("first && if [ -x ")


def test_a_file_that_somebody_writes_meanwhile_is_not_lost(made: PrimeTown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their change is in it, and so is ours."""
    file, replace = made.settings("mayor"), JsonFile.replace
    theirs = iter([True])

    def meddle(self: JsonFile) -> None:
        if self.path == file.path and next(theirs, False):
            value = json.loads(file.path.read_text()) | {"theirs": 1}
            file.path.write_text(json.dumps(value))
        replace(self)

    monkeypatch.setattr(JsonFile, "replace", meddle)
    assert all(change.ok for change in prime_hooks.install(made.scope(), made.known))
    assert 1 == json.loads(file.path.read_text())["theirs"]
    assert "gtftd-prime" in command_of(file)


@pytest.mark.parametrize(
    "content",
    ["{ broken", "[]", '{"hooks": []}', '{"hooks": {"SessionStart": {}}}', '{"hooks": {"SessionStart": [1]}}', "{}",
     '{"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "nice gt prime --hook"}]}]}}'],
)  # fmt: skip
def test_a_file_that_cannot_be_changed_safely_is_left(made: PrimeTown, content: str) -> None:
    """It is told, and the others are done."""
    file = made.settings("mayor")
    file.path.write_text(content)
    changes = prime_hooks.install(made.scope(), made.known)
    [told] = [one for one in changes if one.path == file.path]
    assert (False, "refused") == (told.ok, told.what)
    assert str(file.path) in told.detail or "hand" in told.detail
    assert content == file.path.read_text()
    assert "gtftd-prime" in command_of(made.settings("deacon"))


def test_a_role_that_has_no_settings_yet_is_told(made: PrimeTown) -> None:
    """It makes them at the first start of one, from its template."""
    changes = prime_hooks.install(made.scope(), made.known)
    assert any("no settings for beads/polecat yet" in one.detail for one in changes)
    assert not made.settings("polecat", "beads").path.exists()
    assert not (made.home / ".gt" / "hooks-overrides" / "beads__polecats.json").exists()


def test_status_tells_of_a_script_that_is_another(made: PrimeTown) -> None:
    """Missing, altered, or with patterns that are not the configuration's any more."""
    assert all(one.ok for one in prime_hooks.verify(made.scope(), made.known))
    prime_hooks.install(made.scope(), made.known)
    script = made.state_dir / "hooks" / "gtftd-prime"
    for break_it in (script.unlink, lambda: script.write_text("#!/bin/sh\n"), (script.parent / "prime.conf").unlink):
        break_it()
        assert 1 == len([one for one in prime_hooks.verify(made.scope(), made.known) if not one.ok])
        prime_hooks.install(made.scope(), made.known)
        assert all(one.ok for one in prime_hooks.verify(made.scope(), made.known))


def test_another_state_directory_is_told_and_replaced(made: PrimeTown, tmp_path: Path) -> None:
    """Whoever installs last is called; the backup is still gt's own file."""
    file = made.settings("mayor")
    before = file.path.read_bytes()
    prime_hooks.install(made.scope(), made.known)
    other = prime_hooks.Scope(made.town, tmp_path / "other", environ={"HOME": str(made.home)})
    [told] = [one for one in prime_hooks.verify(other, made.known) if one.path == file.path]
    assert not told.ok
    prime_hooks.install(other, made.known)
    assert "/other/hooks/gtftd-prime" in command_of(file)
    assert before == file.path.with_name(file.path.name + BACKUP_SUFFIX).read_bytes()
    prime_hooks.uninstall(other)
    assert before == file.path.read_bytes()
