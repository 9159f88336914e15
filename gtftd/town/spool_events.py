"""From a spool file to the event that it reports."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from gtftd.errors import Invalid
from gtftd.schemas.town import BeadTouched, SessionEnded, SessionStarted, TownEvent, TurnEnded
from gtftd.town.identity import Identity, identity_of_path, normal_actor, parse_role
from gtftd.town.layout import Town
from gtftd.town.spool_file import SpoolFile

_STARTS = ("startup", "resume", "clear", "compact")
_BEAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def to_event(file: SpoolFile, town: Town) -> TownEvent:
    """What a hook's file says. Raises Invalid, with the reason, for what it does not understand.

    Files of kind `emit` hold an envelope of their own, which the caller decodes.
    """
    try:
        if file.kind == "bead":
            return _bead_touched(file)
        if file.kind == "claude":
            return _session_event(file, town)
    except ValidationError as error:
        raise Invalid(f"{file.name} does not make an event: {_first_problem(error)}") from error
    raise Invalid(f"{file.name} is of kind {file.kind}: its payload is an envelope, not a hook's report")


def _bead_touched(file: SpoolFile) -> BeadTouched:
    if len(file.args) != 2 or not _BEAD.fullmatch(file.args[0]):
        raise Invalid(f"{file.name} must name a bead and a change; its {len(file.args)} arguments do not")
    bead, change = file.args
    said = {"at": file.written_at, "seen_by": "hook", "bead": bead, "change": change}
    return BeadTouched.model_validate(said)


def _session_event(file: SpoolFile, town: Town) -> TownEvent:
    _refuse_other_town(file, town)
    said = _payload(file)
    common: dict[str, object] = {
        "at": file.written_at,
        "seen_by": "hook",
        "session_id": said.get("session_id"),
        "transcript_path": said.get("transcript_path"),
    }
    hook = said.get("hook_event_name")
    if hook == "SessionStart":
        return _session_started(file, town, said, common)
    if not common["session_id"]:
        raise Invalid(f"{file.name} has no session_id in its payload")
    if hook == "Stop":
        return TurnEnded.model_validate(common)
    if hook == "SessionEnd":
        ended = {"tmux_session": file.env.get("GT_SESSION"), "reason": said.get("reason") or "unknown"}
        return SessionEnded.model_validate(common | ended)
    raise Invalid(f"{file.name} reports a hook event that is none of SessionStart, Stop and SessionEnd")


def _session_started(
    file: SpoolFile, town: Town, said: Mapping[str, object], common: dict[str, object]
) -> SessionStarted:
    env = file.env
    cwd = said.get("cwd") or env.get("CWD")
    identity = _who(env, cwd if isinstance(cwd, str) else None, town)
    source = said.get("source")
    return SessionStarted.model_validate(
        common
        | {
            "start": source if source in _STARTS else "unknown",
            "role": identity.role if identity else None,
            "rig": identity.rig if identity else env.get("GT_RIG"),
            "actor": identity.actor if identity else normal_actor(env.get("BD_ACTOR")),
            "agent": env.get("GT_AGENT"),
            "run_id": env.get("GT_RUN"),
            "tmux_session": env.get("GT_SESSION"),
            "work_bead": env.get("GT_WORK_BEAD"),
            "cwd": cwd,
            "git_head": _git_head(file),
        }
    )


def _who(env: Mapping[str, str], cwd: str | None, town: Town) -> Identity | None:
    """GT_ROLE (bare roles completed from the other variables), else BD_ACTOR, else the working directory."""
    told = [_completed(parse_role(env.get(key, "")), env) for key in ("GT_ROLE", "BD_ACTOR")]
    place = _identity_of_cwd(cwd, town)
    whole = [one for one in (*told, place) if one is not None and _is_whole(one)]
    return whole[0] if whole else next((one for one in told if one is not None), None)


def _completed(identity: Identity | None, env: Mapping[str, str]) -> Identity | None:
    """A bare `polecat` or `dog` with the rig and name that its own variables say."""
    if identity is None or _is_whole(identity):
        return identity
    names = {"polecat": "GT_POLECAT", "crew": "GT_CREW", "dog": "GT_DOG_NAME"}
    name = env.get(names[identity.role]) if identity.role in names else None
    rig = None if identity.role == "dog" else identity.rig or env.get("GT_RIG")
    return Identity(identity.role, rig, identity.name or name)


def _is_whole(identity: Identity) -> bool:
    needs_rig = identity.role in ("witness", "refinery", "polecat", "crew")
    needs_name = identity.role in ("polecat", "crew", "dog")
    return not (needs_rig and not identity.rig) and not (needs_name and not identity.name)


def _identity_of_cwd(cwd: str | None, town: Town) -> Identity | None:
    if not cwd or "\0" in cwd:
        return None
    for root in (town.root, town.root.resolve()):
        try:
            return identity_of_path(Path(cwd).relative_to(root))
        except ValueError:
            continue
    return None


def _git_head(file: SpoolFile) -> str | None:
    """The commit that the hook read, or that packed-refs gave its ref then; None rather than a later one."""
    head = file.env.get("GIT_HEAD", "")
    if _HASH.fullmatch(head):
        return head
    ref, common = file.env.get("GIT_REF", ""), file.env.get("GIT_COMMON_DIR", "")
    if not ref.startswith("refs/") or ".." in ref or not common:
        return None
    packed = Path(common) / "packed-refs"
    try:
        moved_since = (Path(common) / ref).exists() or packed.stat().st_mtime > file.written_at.timestamp()
        if moved_since or not packed.is_file():
            return None
        with packed.open("rb") as lines:
            wanted = ref.encode()
            found = (line.split()[0] for line in lines if line.rstrip(b"\n").endswith(b" " + wanted))
            commit = next(found, b"").decode("ascii", "replace")
    except (OSError, ValueError):
        return None
    return commit if _HASH.fullmatch(commit) else None


def _refuse_other_town(file: SpoolFile, town: Town) -> None:
    """Two towns may share one user's settings; the hook of each looks first, this is the second lock."""
    named = file.env.get("GT_ROOT")
    if named and "\0" not in named and Path(named).resolve() != town.root.resolve():
        raise Invalid(f"{file.name} comes from an agent of another town, {named!r:.200}")


def _payload(file: SpoolFile) -> dict[str, object]:
    try:
        said = json.loads(file.payload)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{file.name} has a payload of {len(file.payload)} bytes that is not JSON") from error
    if not isinstance(said, dict):
        raise Invalid(f"{file.name} has a JSON {type(said).__name__} as its payload, not an object")
    return said


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
