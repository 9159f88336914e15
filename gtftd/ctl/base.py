"""gtftctl base: the models that adapters are trained on. No daemon needs to run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gtftd.ctl import show
from gtftd.ctl.target import Json, Target, on_target

if TYPE_CHECKING:
    from gtftd.training.bases import Base, BaseStore

app = typer.Typer(help="The base models that adapters are trained on.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="smollm2-135m-instruct, or what you called it.")]


@app.command("add")
@on_target
def add_base(
    target: Target,
    name: Name,
    *,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR|FILE.gguf", help="A directory with safetensors, or a GGUF.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Give the name of another base to this one.")] = False,
    any_family: Annotated[bool, typer.Option("--any-family", help="Also one that nobody tried here.")] = False,
    as_json: Json = False,
) -> None:
    """Copy or convert a model into the cache, check it, and give it a name. Nothing is downloaded."""
    from gtftd.training.base_adding import add_in_child
    from gtftd.training.base_source import find_source
    from gtftd.training.bases import BaseSource, check_name

    check_name(name)
    found = find_source(name, source)

    def make(name: str, source: BaseSource, cache: Path) -> str:
        if not as_json and source.kind == "gguf":
            sys.stderr.write(f"converting {source.path} to plain weights; once, for all towns\n")
        return add_in_child(name, source, cache, any_family=any_family)

    base = _store(target).add(name, found, make, replace=replace)
    if as_json:
        show.print_json(_told(base))
    else:
        show.print_line(f"{base.name} is a base: {_summary(base)}")


@app.command("list")
@on_target
def list_bases(target: Target, *, as_json: Json = False) -> None:
    """Every base that can be used."""
    store = _store(target)
    bases = store.listed()
    if as_json:
        show.print_json([_told(base) for base in bases])
        return
    for name in sorted(set(store.names()) - {base.name for base in bases}):
        sys.stderr.write(f"{name} cannot be used; `{show.program()} base verify {name}` says why\n")
    if not bases:
        show.print_line(f"no base yet; `{show.program()} base add smollm2-135m-instruct` adds the default")
        return
    table = show.table("name", "family", "parameters", "layers", "context", "dtype", "size", "digest")
    for base in bases:
        table.add_row(
            base.name, show.clean(base.family), _millions(base.parameters), str(base.layers), str(base.context),
            base.dtype, show.size(base.size_bytes), base.digest[:12],
        )  # fmt: skip
    show.console().print(table)


@app.command("show")
@on_target
def show_base(target: Target, name: Name, *, as_json: Json = False) -> None:
    """One base, whole."""
    base = _store(target).get(name)
    if as_json:
        show.print_json(_told(base))
        return
    table = show.table("", "")
    for key, value in _lines(base):
        table.add_row(key, show.clean(value))
    show.console().print(table)


@app.command("verify")
@on_target
def verify_bases(
    target: Target,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="All of them where none is named.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Read every byte again and compare. Exit code 1 when something is not as it was added."""
    store = _store(target)
    found = {one: store.verify(one) for one in ([name] if name else store.names())}
    if as_json:
        show.print_json({one: list(problems) for one, problems in found.items()})
    else:
        for one, problems in found.items():
            show.print_line(f"{one}: {'well' if not problems else show.clean('; '.join(problems))}")
    if any(found.values()):
        raise typer.Exit(1)


@app.command("remove")
@on_target
def remove_base(
    target: Target,
    name: Name,
    *,
    with_bytes: Annotated[
        bool, typer.Option("--bytes", help="Delete it from the cache, too, which your other towns share.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Although a run or a model needs it.")] = False,
) -> None:
    """Take the name of a base away. Refused while a run that has not ended, or a model, needs it."""
    from gtftd.ctl.base_needs import needs
    from gtftd.errors import Refused
    from gtftd.training.base_removing import remove_base

    store = _store(target)
    needed = needs(target, store.named(name).digest)
    if needed and not force:
        told = ", ".join(needed[:5]) + (f" and {len(needed) - 5} more" if len(needed) > 5 else "")
        raise Refused(f"{name} is needed by {told}; --force removes it all the same")
    remove_base(store, name, with_bytes=with_bytes)
    kept = "" if with_bytes else f"; its bytes stay in {store.folder} for other towns, --bytes deletes them, too"
    show.print_line(f"{name} is no base here any more{kept}")


def _store(target: Target) -> BaseStore:
    from gtftd.training.bases import BaseStore

    return BaseStore(target.state_dir)


def _told(base: Base) -> dict[str, object]:
    return {**base.model_dump(mode="json"), "size_bytes": base.size_bytes}


def _summary(base: Base) -> str:
    size = f"{_millions(base.parameters)} parameters, {base.layers} layers, {base.context} tokens of context"
    return f"{show.clean(base.family)}, {size}, {base.dtype}, {show.size(base.size_bytes)}, digest {base.digest[:12]}"


def _lines(base: Base) -> list[tuple[str, str]]:
    tokenizer = base.tokenizer
    ids = f"bos {tokenizer.bos_id}, eos {tokenizer.eos_id}, pad {tokenizer.pad_id}"
    end = f"{tokenizer.end_of_turn} ({tokenizer.end_of_turn_id})"
    return [
        ("name", base.name), ("digest", base.digest), ("folder", str(base.folder)), ("family", base.family),
        ("parameters", f"{base.parameters:,}"), ("layers", str(base.layers)),
        ("hidden size", f"{base.hidden_size}, inside the MLP {base.middle_size}"),
        ("attention", f"{base.heads} heads of {base.head_size}, {base.key_heads} of keys"),
        ("vocabulary", f"{base.vocabulary} rows, ids up to {tokenizer.highest_id}{', tied' if base.tied else ''}"),
        ("context", f"{base.context} tokens"), ("dtype", base.dtype), ("size", show.size(base.size_bytes)),
        ("end of turn", end), ("other ids", ids), ("roles", ", ".join(("user", "assistant", *tokenizer.roles))),
        ("tokenizer", tokenizer.sha256), ("source", base.source.package or base.source.path),
        ("licence", base.licence or "not stated"), ("added", base.added_at.isoformat(timespec="seconds")),
    ]  # fmt: skip


def _millions(count: int) -> str:
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
