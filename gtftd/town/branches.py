"""Which records of a transcript belong to the conversation, and which a rewind left behind."""

from __future__ import annotations

from collections.abc import Sequence

from gtftd.town.claude_lines import Record


def kept(records: Sequence[Record]) -> list[bool]:
    """For each record, whether it is on the branch that leads to the last word of its part of the tree.

    Records form a tree by `parentUuid`. Real files are full of side branches that are no rewinds: parallel
    tool calls and their results, hook output, lines whose parent was never written. So a record off the
    branch stays when it is a piece of a kept message, answers a kept call, or says nothing of its own under
    a kept parent; and whatever hangs on no kept record at all stays. Linear in the number of records.
    """
    parents = _parents(records)
    roots = list(range(len(records)))
    for index, parent in enumerate(parents):
        if parent is not None:
            roots[index] = roots[parent]
    keep = _branches(records, parents, roots)
    messages = {piece.message_id for index, record in enumerate(records) if keep[index] for piece in record.pieces}
    calls: set[str] = set()
    for index, record in enumerate(records):
        if not keep[index] and _belongs(record, parents[index], keep, messages, calls):
            keep[index] = True
        if keep[index]:
            calls.update(call.id for piece in record.pieces for call in piece.message.tool_calls)
    return keep


def _parents(records: Sequence[Record]) -> list[int | None]:
    """The place of each record's parent; only an earlier line can be one, so that no cycle exists."""
    places: dict[str, int] = {}
    parents: list[int | None] = []
    for index, record in enumerate(records):
        parents.append(places.get(record.parent) if record.parent else None)
        if record.uuid:
            places.setdefault(record.uuid, index)
    return parents


def _branches(records: Sequence[Record], parents: list[int | None], roots: list[int]) -> list[bool]:
    """Mark, in each part of the tree, the way from its last speaking record up to its root."""
    keep = [False] * len(records)
    claimed: set[int] = set()
    for index in range(len(records) - 1, -1, -1):
        if roots[index] in claimed or not records[index].pieces:
            continue
        claimed.add(roots[index])
        step: int | None = index
        while step is not None and not keep[step]:
            keep[step] = True
            step = parents[step]
    return keep


def _belongs(record: Record, parent: int | None, keep: list[bool], messages: set[str | None], calls: set[str]) -> bool:
    for piece in record.pieces:
        if piece.message.role == "assistant":
            return piece.message_id is not None and piece.message_id in messages
        if piece.message.role == "tool":
            return piece.message.tool_call_id in calls
    return not record.is_prompt and (parent is None or keep[parent])
