"""Spans made by hand: what an agent said and did, and what came back."""

from __future__ import annotations

from collections.abc import Mapping

from gtftd.corpus.conventions import Worker
from gtftd.town.conversation import Kind, RawCall, RawMessage

TOWN = "/home/ada/gt"
NUX = f"{TOWN}/gastown/polecats/nux/gastown"


class SpanBuilder:
    """Grows the messages of a span; each call gets an id of its own."""

    def __init__(self) -> None:
        self.messages: list[RawMessage] = []
        self._calls = 0

    def user(self, text: str, kind: Kind = "turn") -> SpanBuilder:
        self.messages.append(RawMessage("user", text, kind=kind))
        return self

    def say(self, text: str) -> SpanBuilder:
        self.messages.append(RawMessage("assistant", text, trainable=True))
        return self

    def call(
        self,
        name: str,
        arguments: Mapping[str, object],
        output: str | None = "ok",
        *,
        error: bool = False,
        text: str = "",
    ) -> SpanBuilder:
        """One call and its answer; no answer when `output` is None."""
        self._calls += 1
        ident = f"toolu_{self._calls:04d}"
        self.messages.append(RawMessage("assistant", text, (RawCall(ident, name, arguments),), trainable=True))
        if output is not None:
            self.messages.append(RawMessage("tool", output, tool_call_id=ident, is_error=error))
        return self

    def bash(self, command: str, output: str | None = "ok", *, error: bool = False) -> SpanBuilder:
        return self.call("Bash", {"command": command}, output, error=error)

    def edit(self, path: str, output: str = "The file has been updated.", *, error: bool = False) -> SpanBuilder:
        return self.call("Edit", {"file_path": path, "old_string": "a", "new_string": "b"}, output, error=error)

    @property
    def at(self) -> int:
        """The place of the assistant message that was added last."""
        return max(place for place, message in enumerate(self.messages) if message.role == "assistant")


def worker(role: str = "polecat", **more: object) -> Worker:
    """An agent of the rig gastown; a polecat is nux, on gt-abc."""
    homes = {
        "polecat": ("gastown/polecats/nux", NUX),
        "crew": ("gastown/crew/max", f"{TOWN}/gastown/crew/max"),
        "refinery": ("gastown/refinery", f"{TOWN}/gastown/refinery/rig"),
        "witness": ("gastown/witness", f"{TOWN}/gastown/witness"),
    }
    actor, cwd = homes.get(role, (role, f"{TOWN}/{role}"))
    bead = "gt-abc" if role == "polecat" else None
    made: dict[str, object] = {"rig": "gastown", "actor": actor, "bead": bead, "cwd": cwd, "town_root": TOWN}
    return Worker(role, **(made | more))  # type: ignore[arg-type]
