"""The loop: steps of the optimizer from a checkpoint to the end, whatever happens on the way."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import torch
from torch import Tensor

from gtftd.errors import NonRetriable, NoSpace
from gtftd.logs import get_logger
from gtftd.schemas.training import StepLine, TrainSettings
from gtftd.state.crash import crash_point
from gtftd.training import memory
from gtftd.training.batches import Batch, Cursor, Examples
from gtftd.training.checkpoint import Checkpoint, Checkpoints, TrainState
from gtftd.training.determinism import random_states, restore_random_states
from gtftd.training.diagnosis import diagnose
from gtftd.training.model import Learner
from gtftd.training.objectives import Objective
from gtftd.training.progress import Journal
from gtftd.training.schedule import learning_rate

log = get_logger("training")
SPEED_STEPS = 20


class Diverged(NonRetriable):
    """NaN or Inf, and going back did not help."""


@dataclass(frozen=True)
class Inputs:
    """What a loop works with."""

    learner: Learner
    objective: Objective
    train: Examples
    held_out: Examples | None
    checkpoints: Checkpoints
    journal: Journal
    settings: TrainSettings


@dataclass(frozen=True)
class Outcome:
    state: TrainState
    stopped: bool
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Step:
    """What one step of the optimizer said."""

    loss: float
    gradient_norm: float
    learning_rate: float

    @property
    def is_bad(self) -> bool:
        return not (math.isfinite(self.loss) and math.isfinite(self.gradient_norm))


class Loop:
    """One run in one process. All that another process needs to go on is in its checkpoints."""

    def __init__(self, inputs: Inputs, fresh: TrainState, *, stop: Callable[[], bool]) -> None:
        """`fresh`: the state to begin with when there is no checkpoint."""
        self._in = inputs
        self._stop = stop
        self._parameters = list(inputs.learner.adapter.values())
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=fresh.peak_rate, weight_decay=inputs.settings.optimizer.weight_decay
        )
        self._state = fresh
        self._bad: list[str] = []
        """The bad steps in a row."""
        self._went_back_to = -1
        self._problems: dict[str, str] = {}
        """The newest of each kind, the newest of all last: a disk may be full for days."""
        self._recent: deque[tuple[float, int]] = deque(maxlen=SPEED_STEPS + 1)
        self._saved_at = time.monotonic()
        self._batches: Iterator[tuple[Batch, Cursor]] = iter(())

    @property
    def step(self) -> int:
        """How many steps are behind us."""
        return self._state.step

    def run(self) -> Outcome:
        """To the last step, or until we are to stop; a checkpoint stands at the end of both.

        Raises Diverged, also when no step was a good one, and NoSpace when the last checkpoint found no room.
        """
        self._begin()
        while self._state.step < self._state.steps and not self._stop():
            self._advance()
        stopped = self._state.step < self._state.steps
        if not stopped and self._state.first_loss is None:
            raise self._diverged("in every step")
        self._save()
        return Outcome(self._state, stopped, tuple(self._problems.values()))

    def _begin(self) -> None:
        """From the newest checkpoint, or from the start, which gets one too: something to go back to."""
        self._recent.append((time.monotonic(), self._state.supervised_tokens))
        checkpoint = self._in.checkpoints.newest()
        if checkpoint is not None:
            self._restore(checkpoint)
            log.info("run.resumed", step=self._state.step)
        if self._state.step == 0 and self._state.held_out_before is None:
            self._state = self._state.model_copy(update={"held_out_before": self._evaluate()})
        if checkpoint is None:
            self._batches = self._in.train.from_cursor(Cursor())
            self._try_save()

    def _advance(self) -> None:
        batch, cursor = next(self._batches)
        began = time.monotonic()
        step = self._learn(batch)
        number = self._state.step + 1
        if step.is_bad:
            self._note_bad(number, batch, step)
        else:
            self._bad.clear()
        self._count(batch, cursor, step, time.monotonic() - began)
        if len(self._bad) >= self._in.settings.bad_steps:
            self._tell(step, None, 0.0)
            self._go_back()
            return
        held_out = self._look(number)
        checkpoint_s = self._try_save() if self._is_time_to_save() else 0.0
        self._tell(step, held_out, checkpoint_s)
        crash_point("train.stepped")

    def _learn(self, batch: Batch) -> _Step:
        """Forward, backward, and the optimizer's step unless something is not finite."""
        settings = self._in.settings.optimizer
        rate = learning_rate(
            self._state.step, self._state.steps, peak=self._state.peak_rate, warmup_share=settings.warmup_share
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        for piece in self._in.objective.pieces(batch):
            piece.backward()  # type: ignore[no-untyped-call]
            loss += piece.item()
            memory.give_back()
            self._in.journal.beat()
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters, settings.clip_norm))
        step = _Step(loss=loss, gradient_norm=norm, learning_rate=rate)
        if not step.is_bad:
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
        return step

    def _count(self, batch: Batch, cursor: Cursor, step: _Step, took_s: float) -> None:
        old = self._state
        first = old.first_loss if old.first_loss is not None or step.is_bad else step.loss
        self._state = old.model_copy(
            update={
                "step": old.step + 1,
                "epoch": cursor.epoch,
                "batch": cursor.batch,
                "first_loss": first,
                "last_loss": old.last_loss if step.is_bad else step.loss,
                "examples": old.examples + batch.examples,
                "supervised_tokens": old.supervised_tokens + batch.supervised_tokens,
                "skipped": old.skipped + step.is_bad,
                "took_s": old.took_s + took_s,
            }
        )
        self._recent.append((time.monotonic(), self._state.supervised_tokens))

    def _note_bad(self, number: int, batch: Batch, step: _Step) -> None:
        self._bad.append(
            f"step {number} (epoch {self._state.epoch}, batch {self._state.batch}: {batch.examples} examples, "
            f"longest row {_longest(batch)} tokens; loss {step.loss:g}, gradient norm {step.gradient_norm:g}, "
            f"learning rate {step.learning_rate:.3g})"
        )
        log.warning("step.skipped", step=number, loss=step.loss, gradient_norm=step.gradient_norm)

    def _go_back(self) -> None:
        """To the last checkpoint, once from each; the second time the run has failed."""
        checkpoint = self._in.checkpoints.newest()
        in_a_row = f"in {len(self._bad)} steps in a row"
        if checkpoint is None:
            raise self._diverged(f"{in_a_row}, and there is no checkpoint to go back to")
        if checkpoint.state.step == self._went_back_to:
            raise self._diverged(f"{in_a_row}, and again after going back to the last checkpoint")
        self._went_back_to = checkpoint.state.step
        where = f"went back to step {checkpoint.state.step}"
        self._note(where, f"{where} after {'; '.join(self._bad)}")
        self._bad.clear()
        log.warning("run.went_back", step=checkpoint.state.step)
        self._restore(checkpoint)

    def _diverged(self, where: str) -> Diverged:
        why = diagnose(self._in.learner, self._state.peak_rate)
        return Diverged(f"NaN or Inf {where}: {'; '.join(self._bad)}. {why}")

    def _note(self, kind: str, problem: str) -> None:
        self._problems.pop(kind, None)
        self._problems[kind] = problem

    def _look(self, number: int) -> float | None:
        """The held-out loss, when it is time."""
        if number % self._in.settings.evaluate_steps and number < self._state.steps:
            return None
        is_last = number == self._state.steps
        loss = self._evaluate(may_stop=not is_last)
        if is_last:
            self._state = self._state.model_copy(update={"held_out_after": loss})
        return loss

    @torch.no_grad()
    def _evaluate(self, *, may_stop: bool = True) -> float | None:
        """The mean over the held-out split; draws nothing. None without one, or when we are to stop meanwhile."""
        if self._in.held_out is None:
            return None
        self._in.learner.trunk.eval()
        total, weight = 0.0, 0.0
        for batch in self._in.held_out.once():
            if may_stop and self._stop():
                self._in.learner.trunk.train()
                return None
            share = self._in.objective.weigh(batch)
            total += share * sum(piece.item() for piece in self._in.objective.pieces(batch))
            weight += share
            memory.give_back()
            self._in.journal.beat()
        self._in.learner.trunk.train()
        return total / weight if weight else None

    def _is_time_to_save(self) -> bool:
        """Not among bad steps: what one goes back to should be good. The end saves for itself."""
        return not self._bad and time.monotonic() - self._saved_at >= self._in.settings.checkpoint_s

    def _try_save(self) -> float:
        """Seconds it took; on a full disk the training goes on without."""
        began = time.monotonic()
        try:
            self._save()
        except NoSpace as error:
            self._note("checkpoint", f"no checkpoint at step {self._state.step}: {error}")
            log.warning("checkpoint.skipped", step=self._state.step, reason=str(error))
        self._saved_at = time.monotonic()
        return self._saved_at - began

    def _save(self) -> None:
        state = self._state.model_copy(update={"random_states": random_states()})
        checkpoint = Checkpoint(state, self._in.learner.copy_adapter(), self._optimizer_tensors())
        self._in.checkpoints.write(checkpoint)

    def _restore(self, checkpoint: Checkpoint) -> None:
        self._state = checkpoint.state
        self._in.learner.put_adapter(dict(checkpoint.adapter))
        self._put_optimizer(checkpoint)
        restore_random_states(checkpoint.state.random_states)
        self._batches = self._in.train.from_cursor(Cursor(self._state.epoch, self._state.batch))
        self._recent.clear()
        self._recent.append((time.monotonic(), self._state.supervised_tokens))
        self._saved_at = time.monotonic()

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        """`exp_avg/<name>` and so on; none before the first step."""
        return {
            f"{key}/{name}": value.detach().cpu().clone().contiguous()
            for name, parameter in self._in.learner.adapter.items()
            for key, value in self._optimizer.state[parameter].items()
        }

    def _put_optimizer(self, checkpoint: Checkpoint) -> None:
        self._optimizer.state.clear()
        for full, value in checkpoint.optimizer.items():
            key, _, name = full.partition("/")
            parameter = self._in.learner.adapter[name]
            device = "cpu" if key == "step" else parameter.device
            self._optimizer.state[parameter][key] = value.to(device, copy=True)

    def _tell(self, step: _Step, held_out: float | None, checkpoint_s: float) -> None:
        state, speed = self._state, self._speed()
        per_step_s = _per_step_s(self._recent)
        line = StepLine(
            step=state.step,
            steps=state.steps,
            loss=(state.last_loss or 0.0) if step.is_bad else step.loss,
            learning_rate=step.learning_rate,
            gradient_norm=0.0 if step.is_bad else step.gradient_norm,
            supervised_tokens=state.supervised_tokens,
            tokens_per_s=speed,
            eta_s=(state.steps - state.step) * per_step_s,
            held_out_loss=held_out,
            skipped=step.is_bad,
            checkpoint_s=checkpoint_s,
            problem=next(reversed(self._problems.values()), ""),
            at=datetime.now(UTC),
        )
        self._in.journal.beat()
        if not self._in.journal.tell(line):
            self._note("progress", f"no room for the progress of step {state.step}")

    def _speed(self) -> float:
        (first_s, first), (last_s, last) = self._recent[0], self._recent[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def _longest(batch: Batch) -> int:
    rows = [len(row.tokens) for row in batch.rows]
    pairs = [len(one.prompt) + len(one.chosen) + len(one.rejected) for one in batch.pairs]
    return max([*rows, *pairs, *(len(one.prompt) + len(one.completion) for one in batch.completions)], default=0)


def _per_step_s(recent: deque[tuple[float, int]]) -> float:
    return (recent[-1][0] - recent[0][0]) / (len(recent) - 1) if len(recent) > 1 else 0.0
