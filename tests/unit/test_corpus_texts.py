"""Boilerplate is stored once, and is there again when somebody reads the entry whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gtftd.corpus.texts import LONG_CHARS, parts_of
from gtftd.schemas.corpus import Entry, Message, Outcome, ToolCall
from gtftd.scrub.sealed import stored as stored_entry
from tests.unit.test_corpus_store import opened

COMMON = "# Polecat Context\n\n" + "You work alone and end with gt done. " * 40 + "\n"
OWN = "## Your hook\n\n" + "The bead gt-1 is on your hook. " * 20


def entry(entry_id: str, *messages: Message) -> Entry:
    outcome = Outcome(label="completed", confidence=0.5)
    return Entry(entry_id=entry_id, role="polecat", session_id=entry_id, source="claude-code", outcome=outcome,
                 messages=messages, scrubber="1")  # fmt: skip


def primed(entry_id: str, text: str) -> Entry:
    call = ToolCall(id="c1", name="Bash", arguments={"command": "gt prime"})
    return entry(
        entry_id,
        Message(role="assistant", tool_calls=(call,), trainable=True),
        Message(role="tool", tool_call_id="c1", content=text),
        Message(role="user", content="x" * (LONG_CHARS + 1)),
    )


async def test_what_two_sessions_share_is_one_file(tmp_path: Path) -> None:
    database, store = opened(tmp_path)
    first, second = primed("e-1", COMMON + OWN), primed("e-2", COMMON + OWN.replace("gt-1", "gt-2"))
    stored = [await store.put(stored_entry(first)), await store.put(stored_entry(second))]
    texts = list(store.texts.glob("*/*.txt"))
    again = await store.put(stored_entry(store.read_whole(stored[0].sha256)))
    read = [store.read_whole(item.sha256) for item in stored]
    database.close()
    assert 3 == len(texts), "the common part once, each one's own part"
    assert [first, second] == read
    assert not again.changed
    assert "" == store.read(stored[0].sha256).messages[1].content


async def test_texts_that_nobody_refers_to_go_at_the_next_start(tmp_path: Path) -> None:
    database, store = opened(tmp_path)
    await store.put(stored_entry(primed("e-1", COMMON + OWN)))
    kept = (await store.put(stored_entry(primed("e-2", COMMON)))).sha256
    await store.withdraw(["e-1"])
    removed = await store.tidy()
    whole = store.read_whole(kept)
    database.close()
    assert 1 == removed
    assert COMMON == whole.messages[1].content


def test_parts_join_to_the_whole() -> None:
    for text in (COMMON + OWN, "", "no heading", "# a\n# b\n# c\n" * 100, "#nothing\n" + OWN):
        assert text == "".join(parts_of(text))


async def test_a_purge_takes_no_text_that_an_entry_begins_to_name(tmp_path: Path) -> None:
    """While an entry is being put, another that shares its text is withdrawn and its texts removed: in any order."""
    database, store = opened(tmp_path)

    async def purge(refs: list[str]) -> None:
        await store.withdraw(["e-1"])
        await store.remove_texts(refs)

    for _ in range(20):
        first = await store.put(stored_entry(primed("e-1", COMMON)))
        refs = [path.stem for path in store.texts.glob("*/*.txt")]
        second, _ = await asyncio.gather(store.put(stored_entry(primed("e-2", COMMON))), purge(refs))
        assert first.changed
        assert COMMON == store.read_whole(second.sha256).messages[1].content
        await store.withdraw(["e-2"])
        await store.remove_texts(refs)
        assert [] == list(store.texts.glob("*/*.txt"))
    database.close()
