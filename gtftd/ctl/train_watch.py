"""Follow a run by its folder: one line that changes on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gtftd.ctl import show

if TYPE_CHECKING:
    from gtftd.schemas.control import RunStatus
    from gtftd.schemas.training_orders import RunView

FRAME_S = 0.25
LINE_EVERY_S = 5.0
Shown = Literal["line", "json", "nothing"]


def watch(state_dir: Path, run: str, *, until: Callable[[RunView], bool], shown: Shown = "line") -> RunView:
    """Show the run until it has ended, or `until` says so; how it is then."""
    from gtftd.jobs import RunFolder, read_run

    screen = _screen(shown)
    while True:
        view = read_run(state_dir, run)
        is_over = RunFolder(Path(view.folder)).settled() is not None or until(view)
        screen(view, is_over)
        if is_over:
            return view
        time.sleep(FRAME_S)


def line_of(view: RunView) -> str:
    """`deacon-...: step 12 of 300, loss 2.1345, held-out 2.3012, 812 tokens/s, 3 min left`."""
    parts: list[str] = [f"step {view.step:,} of {view.steps:,}"] if view.steps else [view.stage]
    if view.loss is not None:
        parts.append(f"loss {view.loss:.4f}")
    if view.held_out_loss is not None:
        parts.append(f"held-out {view.held_out_loss:.4f}")
    if view.tokens_per_s:
        parts.append(f"{view.tokens_per_s:,.0f} tokens/s")
    if view.eta_s is not None:
        parts.append(f"{show.span(view.eta_s)} left")
    if view.steps and view.stage != "running":
        parts.append(view.stage)
    if view.note and view.stage in ("waiting", "paused"):
        parts.append(show.clean(view.note))
    return f"{view.run}: {', '.join(parts)}"


def end_of(view: RunView | RunStatus) -> str:
    """How it ended, for a person."""
    if view.model is not None:
        return f"{view.run}: done; {view.model} is registered"
    return f"{view.run}: {view.stage}: {show.clean(view.note) or 'no reason is given'}"


def measured(folder: Path) -> dict[str, object]:
    """What lies in a run's folder beside its view: what it began at, what the audit found, what was made and is still
    there, and where the loss is drawn.
    """
    from gtftd.jobs import RunFolder
    from gtftd.schemas.training import CURVE

    result = RunFolder(folder).result()
    found: dict[str, object] = {"audit": result.details.get("audit") if result else None}
    if result is not None:
        found["held_out_before"] = result.held_out_before
        made = {form: folder / path for form, path in result.outputs.items()}
        found["outputs"] = {form: str(path) for form, path in made.items() if path.exists()} or None
        found["problems"] = list(result.problems) or None
    drawn = folder / CURVE
    found["curve"] = str(drawn) if drawn.is_file() else None
    return {name: value for name, value in found.items() if value is not None}


def audit_of(found: object) -> str:
    """`3.1 of 40 bits of exposure, 1.9 with the adapter off; 0 of 4 canaries said outright, 2e-09 by chance`."""
    from pydantic import ValidationError

    from gtftd.schemas.training import Audited

    try:
        audited = Audited.model_validate(found)
    except ValidationError:
        return "-"
    highest, before = max(audited.exposure_bits, default=0.0), max(audited.exposure_bits_before, default=0.0)
    return (
        f"{highest:.1f} of {audited.space_bits:.0f} bits of exposure, {before:.1f} with the adapter off; "
        f"{audited.extracted} of {audited.canaries} canaries said by greedy decoding, by samples with a chance of "
        f"{audited.chance:.1g}"
    )


def _screen(shown: Shown) -> Callable[[RunView, bool], None]:
    if shown == "nothing":
        return lambda _view, _is_over: None
    if shown == "json":
        return _Changes(lambda view: view.model_dump_json())
    return _on_terminal if sys.stdout.isatty() else _Changes(line_of, every_s=LINE_EVERY_S)


def _on_terminal(view: RunView, is_over: bool) -> None:
    from shutil import get_terminal_size

    line = line_of(view)[: get_terminal_size().columns - 1]
    sys.stdout.write(f"\r{line}\x1b[K" + ("\n" if is_over else ""))
    sys.stdout.flush()


class _Changes:
    """A line for what is new, at most one in a while; what a run is in the end is always told."""

    def __init__(self, text: Callable[[RunView], str], *, every_s: float = 0.0) -> None:
        self._text = text
        self._every_s = every_s
        self._said: RunView | None = None
        self._said_at = 0.0

    def __call__(self, view: RunView, is_over: bool) -> None:
        is_soon = time.monotonic() - self._said_at < self._every_s
        is_same_stage = self._said is not None and self._said.stage == view.stage
        if view == self._said or (is_soon and is_same_stage and not is_over):
            return
        self._said, self._said_at = view, time.monotonic()
        show.print_line(self._text(view))
        sys.stdout.flush()
