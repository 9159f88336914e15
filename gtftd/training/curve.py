"""The loss curve of a run: `loss.svg` and `loss.png` in its folder, drawn by its child; never a reason to fail."""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from gtftd.errors import GtftdError
from gtftd.logs import get_logger
from gtftd.schemas.training import CURVE, RunSpec, StepLine
from gtftd.state.files import write_atomic
from gtftd.training.progress import read_progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = get_logger("training")
_PNG = "loss.png"
_FAILURES = (ImportError, OSError, GtftdError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError,
             MemoryError)  # fmt: skip
"""What a library that draws may raise: a run goes on without its picture."""
_MOST_POINTS = 2_000
MOST_SHARE = 1 / 200
"""Of the time of a run: a picture takes a third of a second, and a checkpoint may come with every step."""
_SMOOTH_SHARE = 1 / 40
_INK, _FAINT, _TRAIN, _HELD_OUT, _BAD = "#768390", "#76839055", "#3b82f6", "#e8833a", "#e5484d"
"""Each is told from white and from black alike: the picture has no ground of its own."""


@dataclass(frozen=True)
class _Point:
    loss: float
    learning_rate: float
    held_out: float | None
    is_skipped: bool


class Curve:
    """Hears each step of a run, and draws, not often, at a look at the held-out loss and at a checkpoint."""

    def __init__(self, folder: Path, spec: RunSpec, *, most_share: float = math.inf) -> None:
        """`most_share`: of the time, after the first picture."""
        self._folder = folder
        self._most_share = most_share
        self._spec = spec
        self._points: dict[int, _Point] = {}
        self._steps = 0
        self._has_read = False
        self._has_failed = False
        self._not_before = 0.0

    def note(self, line: StepLine) -> None:
        """The line is in the progress already. A step that is told again counts as it was told last."""
        self._read()
        self._add(line)
        if (line.held_out_loss is not None or line.checkpoint_s) and time.monotonic() >= self._not_before:
            self.draw()

    def draw(self) -> None:
        """Both files, each there whole or as it was; none of a run without a step."""
        began = time.monotonic()
        self._read()
        points = dict(sorted(self._points.items()))
        if not points:
            return
        try:
            self._draw(points)
        except _FAILURES as error:
            if not self._has_failed:
                log.warning("curve.skipped", reason=f"{type(error).__name__}: {error}")
            self._has_failed = True
        else:
            self._not_before = time.monotonic() + (time.monotonic() - began) / self._most_share
            log.debug("curve.drawn", step=max(points), took_s=round(time.monotonic() - began, 3))

    def _read(self) -> None:
        """What lives before this one told."""
        if not self._has_read:
            self._has_read = True
            for line in read_progress(self._folder):
                self._add(line)

    def _add(self, line: StepLine) -> None:
        self._points[line.step] = _Point(line.loss, line.learning_rate, line.held_out_loss, line.skipped)
        self._steps = line.steps

    def _draw(self, points: dict[int, _Point]) -> None:
        from matplotlib import rc_context  # here: its import takes as long as several steps of a small model

        before = _held_out_before(self._folder)
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": "gtftd", "font.size": 9.0}):
            figure = _figure(points, before, self._steps)
            _title(figure, self._headline(), _state(points, before, self._steps))
            for name, form in ((CURVE, "svg"), (_PNG, "png")):
                drawn = io.BytesIO()
                metadata = {"Date": None} if form == "svg" else {"Software": None}
                figure.savefig(drawn, format=form, dpi=144, transparent=True, metadata=metadata)
                write_atomic(self._folder / name, drawn.getvalue())

    def _headline(self) -> str:
        return f"{self._spec.role} · {self._spec.settings.objective.upper()} on {self._spec.base_name}"


def _held_out_before(folder: Path) -> float | None:
    """Before the first step; each checkpoint says it."""
    for state in sorted(folder.glob("checkpoints/step_*/state.json"), reverse=True):
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(state.read_bytes()).get("held_out_before")
            return float(found) if isinstance(found, (int, float)) else None
    return None


def smoothed(losses: Sequence[float]) -> list[float]:
    """An exponential mean over about a fortieth of the run, without the pull of its beginning (Kingma and Ba 2015)."""
    keep = 1 - 1 / max(4.0, len(losses) * _SMOOTH_SHARE)
    sums = list(accumulate(losses, lambda mean, loss: keep * mean + (1 - keep) * loss, initial=0.0))[1:]
    return [mean / (1 - keep**number) for number, mean in enumerate(sums, start=1)]


def _figure(points: dict[int, _Point], before: float | None, steps: int) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.6))
    upper, lower = figure.subplots(
        2, 1, sharex=True,
        gridspec_kw={"height_ratios": (5, 1), "hspace": 0.12, "left": 0.075, "right": 0.975, "top": 0.85,
                     "bottom": 0.095},
    )  # fmt: skip
    _losses(upper, points, before)
    _rates(lower, points)
    for axes in (upper, lower):
        _plain(axes)
    lower.set_xlim(0, max(steps, *points))
    lower.set_xlabel("step", color=_INK)
    return figure


def _losses(axes: Axes, points: dict[int, _Point], before: float | None) -> None:
    learned = {step: one.loss for step, one in points.items() if not one.is_skipped}
    stride = -(-len(learned) // _MOST_POINTS) or 1
    steps, losses = list(learned)[::stride], list(learned.values())
    axes.plot(steps, losses[::stride], color=_TRAIN, linewidth=0.8, alpha=0.3)
    axes.plot(steps, smoothed(losses)[::stride], color=_TRAIN, linewidth=1.8, label="training, smoothed")
    held_out = {0: before} if before is not None else {}
    held_out |= {step: one.held_out for step, one in points.items() if one.held_out is not None}
    if held_out:
        axes.plot(
            list(held_out), list(held_out.values()), color=_HELD_OUT, linewidth=1.2, marker="o", markersize=4,
            label="held out", clip_on=False, zorder=4,
        )  # fmt: skip
    skipped = {step: one.loss for step, one in points.items() if one.is_skipped}
    if skipped:
        axes.plot(
            list(skipped), list(skipped.values()), color=_BAD, linestyle="", marker="x", markersize=5,
            label="skipped: NaN or Inf", zorder=5,
        )  # fmt: skip
    if losses:
        low, high = _range([*losses, *(one for one in held_out.values() if one is not None)])
        axes.set_ylim(low, high)
    axes.set_ylabel("loss", color=_INK)
    legend = axes.legend(frameon=False, labelcolor=_INK, loc="upper right", ncols=3, borderaxespad=0.2)
    legend.set_zorder(6)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """All but the worst hundredth, which would press the rest flat."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
    room = max((high - low) * 0.08, 1e-3)
    return low - room, high + room


def _rates(axes: Axes, points: dict[int, _Point]) -> None:
    stride = -(-len(points) // _MOST_POINTS) or 1
    rates = [one.learning_rate for one in points.values()][::stride]
    axes.fill_between(list(points)[::stride], rates, color=_INK, alpha=0.18, linewidth=0)
    axes.plot(list(points)[::stride], rates, color=_INK, linewidth=1.0)
    top = max(rates)
    axes.set_ylim(0, top * 1.15 or 1.0)
    axes.set_yticks([0, top], labels=["0", f"{top:.0e}".replace("e-0", "e-")])
    axes.set_ylabel("rate", color=_INK)


def _plain(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    axes.tick_params(colors=_INK, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)


def _title(figure: Figure, headline: str, state: str) -> None:
    """Plain text: a dollar in a name begins no formula."""
    figure.text(0.075, 0.945, headline, color=_INK, fontsize=12, fontweight="bold", parse_math=False)
    figure.text(0.075, 0.89, state, color=_INK, parse_math=False)


def _state(points: dict[int, _Point], before: float | None, steps: int) -> str:
    step = max(points)
    told = [f"step {step:,} of {steps:,}", f"loss {points[step].loss:.4f}"]
    held_out = [one.held_out for one in points.values() if one.held_out is not None]
    if held_out:
        told.append(f"held out {held_out[-1]:.4f}" + (f", {before:.4f} before" if before is not None else ""))
    skipped = sum(one.is_skipped for one in points.values())
    return " · ".join([*told, f"{skipped} skipped"] if skipped else told)
