"""Which agent serves a role, as gt resolves it, and where that is in doubt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gtftd.ctl.prime_options import PrimeOptions, read_options
from gtftd.errors import Invalid
from gtftd.schemas.settings import PrimeSettings, SnapshotSettings
from gtftd.town.agents import ServingAgent, is_ours, serving_agent

OURS = {"command": "node0-inference", "args": []}
FOR_POLECATS = {"agents": {"node0-p": OURS}, "role_agents": {"polecat": "node0-p"}}
OVER_CLAUDE = {"provider": "claude", "command": "claude", "args": ["--model", "node0-polecat"]}


def resolve(
    folder: Path,
    role: str,
    town: Any = None,
    rig: Any = None,
    *,
    name: str | None = None,
    registered: Any = None,
    **environ: str,
) -> ServingAgent:
    """As gt would find it in a town with these settings; the program `there` is on the PATH and no other."""
    for value, path in ((town, "settings/config.json"), (rig, "gastown/settings/config.json")):
        if value is not None:
            write(folder / path, value)
    if registered is not None:
        write(folder / "settings/agents.json", {"version": 1, "agents": registered})
    in_rig = None if role in ("mayor", "deacon", "boot", "dog") else "gastown"
    which = {"there": "/bin/there"}.get
    return serving_agent(role, folder, in_rig, name=name, environ=environ, which=which)


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def test_what_runs_is_what_the_session_says(tmp_path: Path) -> None:
    """GT_AGENT is evidence; settings may have changed since the session began."""
    agent = resolve(tmp_path, "polecat", "{ broken", GT_AGENT="node0-polecat")
    assert ("node0-polecat", True) == (agent.alias, agent.is_certain)


@pytest.mark.parametrize(
    ("town", "rig", "alias"),
    [
        (None, None, "claude"),
        ({}, {}, "claude"),
        ({"default_agent": "codex"}, {}, "codex"),
        ({"default_agent": "codex"}, {"agent": "gemini"}, "gemini"),
        ({"agents": {"node0-p": OURS}, "role_agents": {"polecat": "node0-p"}}, {"agent": "gemini"}, "node0-p"),
        (
            {"agents": {"node0-p": OURS, "node0-r": OURS}, "role_agents": {"polecat": "node0-p"}},
            {"role_agents": {"polecat": "node0-r"}},
            "node0-r",
        ),
        ({"role_agents": {"polecat": "node0-p"}}, {"agents": {"node0-p": OURS}}, "node0-p"),
        ({"agents": {"node0-p": OURS}, "role_agents": {"witness": "node0-p"}}, None, "claude"),
        (FOR_POLECATS, {"runtime": {"provider": "codex"}}, "codex"),
        (FOR_POLECATS, {"runtime": {"args": []}}, "claude"),
    ],
)  # fmt: skip
def test_the_strongest_place_wins(tmp_path: Path, town: Any, rig: Any, alias: str) -> None:
    """The rig's runtime, its role_agents, the town's, the rig's agent, the town's default, claude."""
    assert alias == resolve(tmp_path, "polecat", town, rig).alias


def test_roles_of_the_town_know_no_rig(tmp_path: Path) -> None:
    """The deacon is what the town's settings say."""
    town = {"agents": {"node0-d": OURS}, "role_agents": {"deacon": "node0-d", "boot": "node0-d"}}
    for role in ("deacon", "boot"):
        assert "node0-d" == resolve(tmp_path, role, town, {"agent": "gemini"}).alias


def test_a_member_of_the_crew_may_have_an_agent_of_their_own(tmp_path: Path) -> None:
    """The rig's word on a worker, then the town's, then the role's."""
    town = {"agents": {"a": OURS, "b": OURS, "c": OURS}, "crew_agents": {"max": "b"}, "role_agents": {"crew": "c"}}
    assert "b" == resolve(tmp_path, "crew", town, {}, name="max").alias
    assert "a" == resolve(tmp_path, "crew", town, {"worker_agents": {"max": "a"}}, name="max").alias
    assert "c" == resolve(tmp_path, "crew", town, {}, name="ann").alias


def test_dogs_run_on_haiku_unless_their_role_says_otherwise(tmp_path: Path) -> None:
    """Only another platform counts: Claude under another name is still Haiku."""
    assert "claude-haiku" == resolve(tmp_path, "dog", {"default_agent": "claude"}).alias
    claude = {"agents": {"node0-dog": OVER_CLAUDE}, "role_agents": {"dog": "node0-dog"}}
    assert "claude-haiku" == resolve(tmp_path, "dog", claude).alias
    other = {"agents": {"node0-dog": OURS}, "role_agents": {"dog": "node0-dog"}}
    assert "node0-dog" == resolve(tmp_path, "dog", other).alias


def test_a_default_for_dogs_is_a_doubt(tmp_path: Path) -> None:
    """Versions of gt differ."""
    agent = resolve(tmp_path, "dog", {"agents": {"node0-all": OURS}, "default_agent": "node0-all"})
    assert agent.alias is None
    assert "dogs" in agent.reason


def test_a_cost_tier_decides_for_claude_alone(tmp_path: Path) -> None:
    """Its table is not ours to know; an agent of another platform stays."""
    over_claude = {"agents": {"node0-p": OVER_CLAUDE}, "role_agents": {"polecat": "node0-p"}}
    agent = resolve(tmp_path, "polecat", over_claude, GT_COST_TIER="economy")
    assert agent.alias is None
    assert "GT_COST_TIER" in agent.reason
    assert "node0-p" == resolve(tmp_path, "polecat", over_claude).alias
    other = {"agents": {"node0-p": OURS}, "role_agents": {"polecat": "node0-p"}}
    assert "node0-p" == resolve(tmp_path, "polecat", other, GT_COST_TIER="economy").alias


@pytest.mark.parametrize(
    ("registered", "alias"),
    [
        ({"node0-p": {"command": "there"}}, "node0-p"),
        ({"node0-p": {"command": "gone"}}, None),
        ({"node0-p": {}}, None),
        ({}, None),
    ],
)
def test_what_gt_would_replace_is_a_doubt(tmp_path: Path, registered: Any, alias: str | None) -> None:
    """A registered agent whose program is missing, an alias that nothing defines."""
    town = {"role_agents": {"polecat": "node0-p"}}
    assert alias == resolve(tmp_path, "polecat", town, registered=registered).alias


@pytest.mark.parametrize(
    "town",
    [
        "{ broken",
        "[]",
        "",
        "\x00\xff",
        "[" * 100_000,
        {"role_agents": []},
        {"role_agents": {"polecat": 7}},
        {"default_agent": {"a": 1}},
        {"agents": "node0-p"},
        json.dumps({"default_agent": "codex"}) + " " * 2_000_000,
    ],
)
def test_settings_that_gt_could_not_read_are_a_doubt(tmp_path: Path, town: Any) -> None:
    """It takes its defaults then, and says so to nobody."""
    agent = resolve(tmp_path, "polecat", {} if town == "" else town, "" if town == "" else None)
    assert agent.alias is None
    assert agent.reason


def test_without_a_town_or_a_role_there_is_a_doubt(tmp_path: Path) -> None:
    """Nothing is guessed."""
    assert serving_agent("polecat", None, "gastown", environ={}).alias is None
    assert serving_agent("overseer", tmp_path, environ={}).alias is None


@pytest.mark.parametrize(
    ("alias", "ours"),
    [
        ("node0-polecat", True),
        ("gtftd-x", True),
        ("gtft-x", True),
        ("claude", False),
        ("my-node0-x", False),
        ("", False),
    ],
)
def test_our_agents_are_known_by_their_names(alias: str, ours: bool) -> None:
    """The whole name is compared, case and all."""
    assert ours == is_ours(alias)


def test_the_quick_defaults_are_the_configurations() -> None:
    """What is read without the models is what the models say."""
    quick, prime = PrimeOptions(), PrimeSettings()
    assert quick.own_agents == SnapshotSettings().own_agents
    assert (quick.roles, quick.timeout_s, quick.most_tokens) == (prime.roles, prime.timeout_s, prime.most_tokens)


def test_options_are_read_as_the_daemon_reads_them(tmp_path: Path) -> None:
    """From the file, and the environment before it."""
    file = tmp_path / "config.toml"
    file.write_text("[prime]\nroles = ['polecat']\ntimeout_s = 1\n[snapshots]\nown_agents = ['mine-*']\n")
    assert PrimeOptions(("mine-*",), ("polecat",), 1.0) == read_options(file, {})
    environ = {"GTFTD_PRIME__ROLES": '["crew"]', "GTFTD_PRIME__MOST_TOKENS": "900"}
    assert PrimeOptions(("mine-*",), ("crew",), 1.0, 900) == read_options(file, environ)


@pytest.mark.parametrize("line", ["roles = 'polecat'", "timeout_s = 0", "timeout_s = true", "most_tokens = 4000"])
def test_a_wrong_option_is_told(tmp_path: Path, line: str) -> None:
    """And is no reason to guess."""
    file = tmp_path / "config.toml"
    file.write_text(f"[prime]\n{line}\n")
    with pytest.raises(Invalid, match=f"prime.{line.split(maxsplit=1)[0]}"):
        read_options(file, {})
