"""OpenCode 2's messages told in the shape of the first: one message, and its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Object = Mapping[str, object]
_BOOKKEEPING = frozenset({"idle", "agent-switched", "model-switched", "location-switched"})


def as_first(ident: str, kind: str, data: Object) -> tuple[Object, tuple[Object, ...]]:
    """The message and its parts; what is no conversation gets a role of ours, by which it is counted."""
    message: dict[str, object] = {"id": ident, "time": data.get("time")}
    match kind:
        case "user":
            return message | {"role": "user"}, tuple(_prompt(data))
        case "synthetic" | "system" | "skill":
            return message | {"role": "user"}, (
                {"id": "", "type": "text", "text": data.get("text"), "synthetic": True},
            )
        case "compaction" if data.get("status") in (None, "completed"):
            text = {"id": "", "type": "text", "text": data.get("summary")}
            return message | {"role": "assistant", "summary": True}, (text,)
        case "assistant":
            model, error = data.get("model"), data.get("error")
            message |= {"role": "assistant", "modelID": model.get("id") if isinstance(model, dict) else None}
            if isinstance(error, dict):
                message["error"] = {"name": error.get("type") or "unknown"}
            return message, tuple(_answer(data))
        case "shell":
            return message | {"role": "person's shell"}, ()
        case _:
            return message | {"role": "bookkeeping" if kind in _BOOKKEEPING or kind == "compaction" else None}, ()


def _prompt(data: Object) -> Iterator[Object]:
    yield {"id": "", "type": "text", "text": data.get("text")}
    files = data.get("files")
    for file in files if isinstance(files, list) else ():
        yield {"id": "", "type": "file", "mime": file.get("mime") if isinstance(file, dict) else None}


def _answer(data: Object) -> Iterator[Object]:
    content = data.get("content")
    for number, item in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(item, dict):
            yield {"id": f"{number:06d}"}
        elif item.get("type") == "tool":
            yield {"id": f"{number:06d}", "type": "tool", "tool": item.get("name"), "callID": item.get("id")} | {
                "state": _state(item)
            }
        else:
            yield {"id": f"{number:06d}", "type": item.get("type"), "text": item.get("text")}


def _state(item: Object) -> Object:
    state, time, error = item.get("state"), item.get("time"), None
    state, time = state if isinstance(state, dict) else {}, time if isinstance(time, dict) else {}
    error = state.get("error")
    given = state.get("input")
    return {
        "status": "pending" if state.get("status") == "streaming" else state.get("status"),
        "input": {} if isinstance(given, str) else given,  # a call that is still being written
        "output": "\n".join(_texts(state.get("content"))),
        "error": error.get("message") if isinstance(error, dict) else error,
        "metadata": state.get("metadata") or state.get("structured"),
        "time": {"start": time.get("ran") or time.get("created"), "end": time.get("completed")},
    }


def _texts(content: object) -> Iterator[str]:
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]
