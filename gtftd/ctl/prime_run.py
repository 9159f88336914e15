"""Begin a session: print the short prime, or be gt's own; for everybody who types or calls `gtftctl prime`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from gtftd.ctl.locating import Target, resolve
from gtftd.ctl.prime_ask import Asked, Decision, Place, decide, here
from gtftd.ctl.prime_gt import COMMAND, become_gt, record_session
from gtftd.ctl.prime_options import read_options
from gtftd.errors import GtftdError, Missing, NotReady
from gtftd.settings import find_socket
from gtftd.town.layout import find_town
from gtftd.town.session_files import HookInput, read_hook_input


@dataclass(frozen=True)
class Wanted:
    """What was typed."""

    asked: Asked
    hook: bool = False
    full: bool = False
    town: Path | None = None
    state_dir: Path | None = None
    config: Path | None = None


@dataclass(frozen=True)
class Decided:
    """And what came of it; `state_dir` is None where no daemon could be meant."""

    decision: Decision
    hook: HookInput | None = None
    state_dir: Path | None = None


def begin(wanted: Wanted) -> None:
    """Print the short prime, or be gt from here on. Raises NotReady when the short one was to be shown and is not."""
    made = decide_for(wanted)
    if made.decision.reduced is not None:
        sys.stdout.write(made.decision.reduced.text)
        sys.stdout.flush()  # what gt records of the session must not keep it waiting
        if made.hook is not None and made.state_dir is not None:
            record_session([*COMMAND, "--hook"], made.hook.raw, made.state_dir)
        return
    if wanted.asked.forced:
        raise NotReady(made.decision.reason)
    asker = made.decision.asker
    typed = asker.actor if wanted.asked.role is not None and asker is not None else None
    become_gt(hook=wanted.hook, raw=made.hook.raw if made.hook else b"", role=typed)


def decide_for(wanted: Wanted) -> Decided:
    """Which prime; reads the hook's input where there is one. Never raises: a doubt is a decision."""
    hook = read_hook_input() if wanted.hook else None
    if wanted.full:
        return Decided(Decision("it was asked for"), hook)
    try:
        target = resolve(wanted.town, wanted.state_dir, wanted.config)
        options = read_options(target.config)
    except (GtftdError, OSError) as error:
        return Decided(Decision(str(error)), hook)
    place = Place(_town(target), find_socket(target.state_dir), here(), os.environ)
    return Decided(decide(wanted.asked, place, options, hook), hook, target.state_dir)


def _town(target: Target) -> Path | None:
    """A state directory alone does not tell the town; it is where the agent is, or not known."""
    if target.town is not None:
        return target.town
    try:
        return find_town()
    except Missing:
        return None
