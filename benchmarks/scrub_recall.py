"""How much of what was planted in generated transcripts can still be read after scrubbing."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gtftd.scrub.scrubber import Scrubber
from gtftd.town.conversation import RawMessage
from tests.support.planted import Score, Session, texts_of
from tests.support.planted_kinds import HOME, HOSTS, KNOWN_VALUES, USERS

PLACEHOLDER = re.compile(r"<([A-Z][A-Z0-9_]*):[0-9a-f]+>")
GROUPS = ("typed", "generic", "known", "pii")


def town_scrubber() -> Scrubber:
    """A scrubber that knows what the generated town knows of itself."""
    return Scrubber(KNOWN_VALUES, key=b"benchmark key, nobody's secret", home=HOME, users=USERS, hosts=HOSTS)


@dataclass
class Spent:
    """Time over text: characters, processor seconds, seconds on the clock."""

    size: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0

    @property
    def mb_s(self) -> float:
        return self.size / 1e6 / self.cpu_s if self.cpu_s else 0.0


@dataclass
class Recall:
    score: Score = field(default_factory=Score)
    spent: Spent = field(default_factory=Spent)
    redactions: int = 0


def scrub(scrubber: Scrubber, messages: Sequence[RawMessage], spent: Spent) -> list[object]:
    """The scrubbed messages. Only the scrubber's own time is counted."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = scrubber.scrub_messages(list(messages))
    spent.cpu_s += time.process_time() - cpu
    spent.wall_s += time.perf_counter() - wall
    scrubbed = getattr(result, "messages", None)
    return list(result[0] if scrubbed is None else scrubbed)  # type: ignore[index]


def measure_recall(scrubber: Scrubber, sessions: Iterable[Session]) -> Recall:
    recall = Recall()
    for session in sessions:
        recall.spent.size += session.size
        messages = scrub(scrubber, session.messages, recall.spent)
        recall.redactions += sum(len(PLACEHOLDER.findall(text)) for message in messages for text in texts_of(message))
        recall.score.judge(session, messages)
    return recall


def tables(score: Score, worst: int = 15) -> str:
    """Totals, then recall by encoding and by kind, worst first, then the worst cells."""
    styles = ((None, "all"), (False, "open"), (True, "held out"))
    rows = ["recall" + " " * 20 + "".join(f"{name:>18}" for _, name in styles)]
    for group in GROUPS:
        rows.append(f"  {group:24}" + "".join(_cell(score, held_out, group=group) for held_out, _ in styles))
    for title, at in (("encoding", 3), ("kind", 2)):
        names = dict.fromkeys(key[at] for key in score.planted)
        shares = {name: score.recall(**{title: name}) for name in names}
        rows += ["", f"by {title}; all {sum(planted == 1 for planted in shares.values())} others were found always"]
        for name in sorted((name for name in names if shares[name] < 1), key=shares.__getitem__):
            cells = "".join(_cell(score, held_out, **{title: name}) for held_out, _ in styles)
            rows.append(f"  {name:24}" + cells)
    rows += ["", "worst cells: style, class, kind, encoding"]
    by_cell = Counter({key: n for key, n in score.missed.items() if n})
    for (held_out, group, kind, encoding), missed in by_cell.most_common(worst):
        rows.append(
            f"  {'held out' if held_out else 'open':9}{group:8} {kind:24}{encoding:16}"
            f"{missed} of {score.planted[held_out, group, kind, encoding]} read"
        )
    return "\n".join(rows)


def _cell(score: Score, held_out: bool | None, **wanted: str) -> str:
    missed, planted = score.count(held_out, **wanted)
    return f"{100 * (1 - missed / planted):>9.2f} % {planted:>6}" if planted else f"{'-':>18}"


def shown_misses(score: Score, count: int) -> str:
    """Some of what can still be read: generated, so nobody is harmed by it. The rarest classes first."""
    if not count:
        return ""
    classes = Counter((plant.group, plant.encoding) for _, plant in score.misses)
    contexts = Counter((plant.kind, plant.context) for _, plant in score.misses)
    rows = [
        "",
        "missed, by context: " + ", ".join(f"{kind}/{context} {n}" for (kind, context), n in contexts.most_common(25)),
    ]
    ordered = sorted(score.misses, key=lambda miss: (classes[miss[1].group, miss[1].encoding], miss[1].kind))
    step = max(1, len(ordered) // count)
    for session, plant in ordered[::step][:count]:
        texts = [text for place in plant.where for text in texts_of(session.messages[place])]
        style = "held out" if plant.held_out else "open"
        rows.append(
            f"--- {plant.group} {plant.kind}, {plant.encoding}, {plant.context}, {style}: {plant.secrets[0][:60]!r}"
        )
        rows += [_around(text, plant.secrets[0])[:700] for text in texts if len(text) > 12][-2:]
    return "\n".join(rows)


def _around(text: str, secret: str) -> str:
    at = text.find(secret[:8])
    return repr(text[max(0, at - 150) : at + 300] if at >= 0 else text[len(text) // 3 :][:600])
