"""Whether the short prime is right for who begins here, and the short prime; quick, so it imports next to nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from gtftd.ctl.prime_options import PrimeOptions
from gtftd.errors import GtftdError, Unreachable
from gtftd.town.agents import ServingAgent, is_ours, serving_agent
from gtftd.town.identity import ROLES, Identity, identity_of_path, parse_role
from gtftd.town.session_files import HookInput, has_handoff, step_at_hand

_TOWN_ROLES = ("mayor", "deacon", "boot", "dog")
_NAME_IN = {"polecat": "GT_POLECAT", "crew": "GT_CREW", "dog": "GT_DOG_NAME"}
_LONGEST_TEXT = 200_000
_INVISIBLE = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


@dataclass(frozen=True)
class Asked:
    """What was typed; `forced`: show the short prime whoever begins."""

    role: str | None = None
    rig: str | None = None
    bead: str | None = None
    forced: bool = False


@dataclass(frozen=True)
class Place:
    """Where it was typed."""

    town: Path | None
    socket: Path
    cwd: Path
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Asker:
    """Who begins; `actor` as bead assignees carry it, None when the name is not known."""

    role: str
    rig: str | None
    actor: str | None
    bead: str | None = None
    step: str | None = None


@dataclass(frozen=True)
class Section:
    name: str
    tokens: int


@dataclass(frozen=True)
class Reduced:
    """A short prime, as the daemon made it."""

    text: str
    tokens: int
    counted_by: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Decision:
    """`reduced`, or None: the full prime. `reason` says why, in both cases."""

    reason: str
    reduced: Reduced | None = None
    asker: Asker | None = None
    agent: ServingAgent | None = None


def header(role: str) -> str:
    return f"# Reduced prime: fine-tuned model active for role {role}"


def decide(asked: Asked, place: Place, options: PrimeOptions, hook: HookInput | None = None) -> Decision:
    """The short prime where everything speaks for it, else why not; takes no longer than the daemon may."""
    asker = find_asker(asked, place, hook)
    if isinstance(asker, str):
        return Decision(asker)
    name = asker.actor.rsplit("/", 1)[-1] if asker.role == "crew" and asker.actor else None
    agent = serving_agent(asker.role, place.town, asker.rig, name=name, environ=place.environ)
    if not asked.forced and (doubt := _doubt(asked, asker, agent, place, options, hook)):
        return Decision(doubt, None, asker, agent)
    try:
        reduced = _ask(asker, place.socket, options)
    except GtftdError as error:
        return Decision(str(error), None, asker, agent)
    why = f"{agent.alias} is one of our own models: {agent.reason}" if not asked.forced else "it was asked for"
    return Decision(why, reduced, asker, agent)


def find_asker(asked: Asked, place: Place, hook: HookInput | None = None) -> Asker | str:
    """Who begins here, by what was typed, then by the environment; else what is missing."""
    given = asked.role or place.environ.get("GT_ROLE", "")
    told = parse_role(given)
    if told is None:
        what = f"{given!r} is no role" if given else "GT_ROLE is not set"
        return f"{what}; give one of {', '.join(ROLES)}, or an address as <rig>/polecats/<name>"
    here = parse_role(place.environ.get("GT_ROLE", ""))
    known = here if here is not None and here.role == told.role else None
    rig = asked.rig or told.rig or (known.rig if known else None) or place.environ.get("GT_RIG") or None
    if told.role in _TOWN_ROLES:
        rig = None
    elif rig is None:
        return f"a {told.role} belongs to a rig, and neither GT_ROLE nor GT_RIG names it; give --rig"
    same_rig = known is not None and (known.rig or place.environ.get("GT_RIG")) == rig
    name = told.name or _name(told.role, place.environ, known if same_rig else None, typed=asked.role is not None)
    actor = None if told.role in _NAME_IN and name is None else Identity(told.role, rig, name).actor
    step = step_at_hand(place.cwd) if told.role in ("polecat", "crew") else None
    return Asker(told.role, rig, actor, _bead(asked, place, actor, hook), step)


def _name(role: str, environ: Mapping[str, str], known: Identity | None, *, typed: bool) -> str | None:
    """A name of the environment is that of who runs here: only when nobody typed another role."""
    if known is not None and known.name:
        return known.name
    return None if typed and known is None else environ.get(_NAME_IN.get(role, ""), "") or None


def _bead(asked: Asked, place: Place, actor: str | None, hook: HookInput | None) -> str | None:
    """At a start GT_WORK_BEAD is what an earlier session of this pane worked on: what is on the hook now is right."""
    if asked.bead:
        return asked.bead
    if hook is not None and hook.source == "startup" and actor is not None:
        return None
    return place.environ.get("GT_WORK_BEAD") or None if asked.role is None else None


def _doubt(
    asked: Asked, asker: Asker, agent: ServingAgent, place: Place, options: PrimeOptions, hook: HookInput | None
) -> str:
    """Why this session gets the full prime whatever the daemon says; empty: nothing speaks against the short one."""
    if hook is not None and not hook.is_understood:
        return "the hook's input on stdin is no line of JSON"
    if hook is not None and hook.source in ("compact", "resume"):
        return f"after {hook.source} gt's own prime is short already"
    if options.roles and asker.role not in options.roles:
        return f"prime.roles is {', '.join(options.roles)}, without {asker.role}"
    if agent.alias is None:
        return agent.reason
    if not is_ours(agent.alias, options.own_agents):
        return f"{agent.alias} is none of our own models ({', '.join(options.own_agents)}): {agent.reason}"
    if has_handoff(place.cwd):
        return "a handoff has just happened, and gt's prime tells the successor"
    if asked.role is None and (elsewhere := _elsewhere(asker, place)):
        return elsewhere
    return ""


def _elsewhere(asker: Asker, place: Place) -> str:
    """As gt warns: who begins is not who works in this folder."""
    if place.town is None:
        return ""
    try:
        found = identity_of_path(place.cwd.resolve().relative_to(place.town.resolve()))
    except (ValueError, OSError):
        return ""
    if found is None:
        return ""
    told, seen = (asker.actor, found.actor) if asker.actor else ((asker.role, asker.rig), (found.role, found.rig))
    if told == seen:
        return ""
    return f"GT_ROLE says {asker.role}, but this is the folder of {found.actor}; gt's prime warns of that"


def _ask(asker: Asker, path: Path, options: PrimeOptions) -> Reduced:
    """Raises a GtftdError for whatever is not a whole short prime within the budget and the time."""
    with _deadline(options.timeout_s):
        from gtftd.control.client import ControlClient

        answer = ControlClient(path, timeout_s=options.timeout_s).call(
            "prime", role=asker.role, rig=asker.rig, actor=asker.actor, bead=asker.bead, step=asker.step
        )
    return read_answer(answer, asker.role, options.most_tokens)


def read_answer(answer: object, role: str, most_tokens: int) -> Reduced:
    """By hand: the models of `gtftd.schemas.rag` take longer to import than everything else here together."""
    match answer:
        case {"text": str(text), "tokens": int(tokens), "counted_by": str(counted_by), "sections": list(sections)}:
            pass
        case _:
            raise Unreachable("the daemon's answer is no prime; is it of another version?")
    if not text.strip() or len(text) > _LONGEST_TEXT:
        raise Unreachable(f"the daemon's prime has {len(text):,} characters, which cannot be right")
    if isinstance(tokens, bool) or not 0 < tokens <= most_tokens:
        raise Unreachable(f"the short prime has {tokens:,} tokens, and {most_tokens:,} are allowed")
    found = [
        Section(section["name"], section["tokens"])
        for section in sections
        if isinstance(section, dict) and isinstance(section.get("name"), str) and isinstance(section.get("tokens"), int)
    ]
    return Reduced(_headed(text.translate(_INVISIBLE), role), tokens, counted_by, tuple(found))


def _headed(text: str, role: str) -> str:
    text = text.strip("\n") + "\n"
    return text if text.startswith(header(role) + "\n") else f"{header(role)}\n\n{text}"


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Ends whatever waits, were it for a daemon that sends a byte now and then."""

    def expire(number: int, frame: FrameType | None) -> None:
        raise Unreachable(f"the daemon did not answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def as_json(decision: Decision) -> str:
    """The decision for programs."""
    reduced, asker, agent = decision.reduced, decision.asker, decision.agent
    told: dict[str, object] = {"prime": "reduced" if reduced else "full", "reason": decision.reason}
    if asker is not None:
        told |= {"role": asker.role, "rig": asker.rig, "actor": asker.actor, "bead": asker.bead, "step": asker.step}
    if agent is not None:
        told |= {"agent": agent.alias, "agent_reason": agent.reason}
    if reduced is not None:
        sections = [{"name": one.name, "tokens": one.tokens} for one in reduced.sections]
        told |= {"tokens": reduced.tokens, "counted_by": reduced.counted_by, "sections": sections}
        told["text"] = reduced.text
    return json.dumps(told, indent=2, ensure_ascii=False)


def here() -> Path:
    """The working directory; one that is gone is nowhere."""
    try:
        return Path(os.getcwd())  # noqa: PTH109  # quick
    except OSError:
        return Path("/")
