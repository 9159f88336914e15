"""The tokenizer in a GGUF, from tokenizer.json: byte-level BPE whose way of cutting words llama.cpp has a name for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtftd.errors import Invalid, Refused
from gtftd.training.export_names import CHECKOUT

if TYPE_CHECKING:
    from gguf import GGUFWriter

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""gguf.TokenType"""
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_PATTERNS = {
    rf"{_SHORT}|{_LETTERS}|\p{{N}}{{1,3}}|{_REST}": "llama-bpe",
    rf"{_SHORT}|{_LETTERS}|\p{{N}}|{_REST}": "qwen2",
    rf"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "tekken",
}
"""Of Llama 3, of Qwen 2 and 3, of Mistral's newer models; by the name in llama-vocab.cpp."""


def write_tokenizer(base: Path, rows: int, writer: GGUFWriter) -> None:
    """`rows` of the embedding; those that no token has are named as unused. Raises Refused, Invalid."""
    from transformers import AutoTokenizer

    loaded: Any = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    try:
        told = json.loads(loaded.backend_tokenizer.to_str())  # some families' classes change what tokenizer.json says
        tokens, types = _tokens(told, rows)
        merges = [one if isinstance(one, str) else " ".join(one) for one in told["model"]["merges"]]
        pre = _pre_of(told)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Invalid(f"the tokenizer in {base} is not understood: {error}") from error
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    for name in ("bos", "eos", "unk", "pad"):
        number = getattr(loaded, f"{name}_token_id")
        if number is not None:
            writer.add_uint32(f"tokenizer.ggml.{_KEYS[name]}_token_id", number)
    encoded = loaded.encode("a")
    writer.add_add_bos_token(bool(encoded) and encoded[0] == loaded.bos_token_id)
    if isinstance(loaded.chat_template, str):
        writer.add_chat_template(loaded.chat_template)


_KEYS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def _tokens(told: Mapping[str, Any], rows: int) -> tuple[list[str], list[int]]:
    named = {number: (token, NORMAL) for token, number in told["model"]["vocab"].items()}
    for one in told.get("added_tokens") or ():
        named[one["id"]] = (one["content"], CONTROL if one["special"] else USER_DEFINED)
    if max(named) >= rows:
        raise Invalid(f"the tokenizer has ids up to {max(named)}, and the embedding {rows} rows")
    found = [named.get(number, (f"[PAD{number}]", UNUSED)) for number in range(rows)]
    return [token for token, _ in found], [kind for _, kind in found]


def _pre_of(told: Mapping[str, Any]) -> str:
    """What is cut first, by llama.cpp's name for it. Raises Refused for what has none here."""
    kind, normalizer = told["model"]["type"], told.get("normalizer") or {}
    if kind != "BPE" or told["model"].get("byte_fallback") or normalizer.get("type", "NFC") != "NFC":
        raise Refused(f"only byte-level BPE tokenizers are exported here, and this is another one; {CHECKOUT}")
    cutters = told.get("pre_tokenizer") or {}
    parts = cutters.get("pretokenizers") or [cutters]
    kinds = [part.get("type") for part in parts]
    if any(part.get("add_prefix_space") for part in parts):
        kinds = []
    if kinds == ["ByteLevel"] and parts[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and parts[0].get("individual_digits") and parts[1].get("use_regex", True):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not parts[1].get("use_regex", True):
        found = _PATTERNS.get(str(parts[0]["pattern"].get("Regex")))
        if found is not None:
            return found
    raise Refused(f"llama.cpp's name for the way in which this tokenizer cuts words is not known here; {CHECKOUT}")
