"""What is said of each turn of a span: may it be learned from, which conventions does it break, what is its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gtftd.corpus.masks import masks
from gtftd.corpus.plan import Planned
from gtftd.corpus.stale import stale_uses
from gtftd.corpus.tasks import task_of, tasks_by_turn
from gtftd.schemas.corpus import Mask, Message, Task


@dataclass(frozen=True)
class Turns:
    """By the place of the message in the span."""

    task: Task
    tasks: Mapping[int, Task]
    masks: Mapping[int, Mask]
    violations: Mapping[int, tuple[str, ...]]

    def mark(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The same messages, scrubbed meanwhile, with everything that is said of them."""
        return tuple(self._marked(place, message) for place, message in enumerate(messages))

    def _marked(self, place: int, message: Message) -> Message:
        if message.role != "assistant":
            return message
        mask = self.masks.get(place)
        said = {
            "trainable": message.trainable and mask is None,
            "masked": mask,
            "violations": self.violations.get(place, ()),
            "task": self.tasks.get(place),
        }
        return message.model_copy(update=said)


def read_turns(planned: Planned, retired: Mapping[str, datetime], *, issue_type: str | None, title: str) -> Turns:
    """`retired`: the commands that today's conventions have left behind, besides those that gt itself removed."""
    messages, worker = planned.taken.messages, planned.worker
    if worker is None:  # read off a screen: there are no calls
        return Turns("other", {}, {}, {})
    broken: dict[int, dict[str, None]] = {}
    for violation in planned.violations:
        broken.setdefault(violation.message, {})[violation.rule] = None
    return Turns(
        task=task_of(messages, worker, issue_type=issue_type, title=title),
        tasks=tasks_by_turn(messages, worker),
        masks=masks(messages, planned.signals, planned.violations, stale_uses(messages, retired)),
        violations={place: tuple(rules) for place, rules in broken.items()},
    )
