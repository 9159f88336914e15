"""What an export says on a fixed text against its source, before it may be called an export."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gtftd.errors import Invalid
from gtftd.schemas.training import ExportCheck, ExportForm, LlamaQuestion
from gtftd.training.export_llama import ask_llama
from gtftd.training.model import quiet_transformers

MOST_TOKENS = 96
MOST_LIKELY = 1000
"""Of each position llama.cpp tells the log-probabilities of so many tokens; the others count as one."""
SURE = 0.1
"""Where the first two tokens of the source are nearer to one another, either may be the first."""
MOST_OFF = 0.4
"""Of the share of an adapter's effect: one that was forgotten has none of it, one added twice has two."""
TOO_WEAK = 0.01
"""An effect with less than this part of the power of the rounding cannot be told from it."""
_MESSAGES = (
    ("system", "You are the deacon of this town. Check your hook, read your mail, then patrol."),
    ("user", "The refinery reports 3 conflicts in gt-4f2a9c (café ☕ 東京).\n\n```\n\tx = [1, 22, 333]\n```\nWhy?"),
    ("assistant", "The refinery merges polecat branches into main; I'll nudge the witness: gt nudge gastown/witness"),
)  # fmt: skip
LIMITS: Mapping[str, float] = {
    "float32": 1e-6, "float16": 1e-3, "bfloat16": 2e-2,
    "gguf-f16": 5e-3, "gguf-q8_0": 3e-2, "gguf-q4_k_m": 0.5, "lora-gguf": 3e-2,
}  # fmt: skip
"""The most that the divergence may be, in nats a token, on the mean; of a merged directory, by its type."""
Logs = NDArray[np.float32]


@dataclass(frozen=True)
class Told:
    """What the source says on the fixed text."""

    text: str
    tokens: tuple[int, ...]
    harmless: int
    """A token of plain text."""
    log_probs: Logs  # (tokens, vocabulary)
    bare: Logs
    """What the base says without adapters, likewise."""


def ask_source(base: Path, adapters: Sequence[Path]) -> Told:
    """The base with its adapters in transformers and peft, float32. Memory: four bytes for each weight."""
    from peft import PeftModel

    tokenizer = _tokenizer(base)
    text = _rendered(tokenizer)
    tokens, harmless = (tokenizer.encode(one, add_special_tokens=False) for one in (text, "a"))
    tokens = tokens[:MOST_TOKENS]
    model: Any = _load(base)
    bare = _log_probs(model, tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by names that it gives up
        for adapter in adapters:
            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return Told(text, tuple(tokens), harmless[-1], _log_probs(model, tokens), bare)


def check_merged(folder: Path, told: Told, dtype: str) -> ExportCheck:
    """Raises Invalid when it says something else."""
    found = _log_probs(_load(folder), told.tokens)
    ids = np.broadcast_to(np.arange(found.shape[1]), found.shape)
    return _judged(compare(told, ids, found), LIMITS[dtype], "transformers")


def check_gguf(
    model: Path, lora: Path | None, told: Told, form: ExportForm, threads: int, tick: Callable[[], None]
) -> ExportCheck:
    """Raises Invalid when llama.cpp says something else, or reads the text as other tokens; NotReady without it."""
    most = min(MOST_LIKELY, told.log_probs.shape[1])
    question = LlamaQuestion(
        model=str(model), loras=(str(lora),) if lora else (), tokens=told.tokens, text=told.text, most=most,
        harmless=told.harmless, threads=threads,
    )  # fmt: skip
    answer = ask_llama(question, tick)
    for place, (read, meant) in enumerate(zip_longest(answer.tokens[: len(told.tokens)], told.tokens)):
        if read != meant:
            raise Invalid(
                "llama.cpp reads a text as other tokens than transformers, with which it was learned: at place "
                f"{place} token {read} instead of {meant}"
            )
    ids, found = np.array(answer.ids), np.array(answer.log_probs, np.float32)
    return _judged(compare(told, ids, found), LIMITS[form], "llama.cpp")


def compare(told: Told, ids: NDArray[np.int64], found: Logs) -> ExportCheck:
    """With the log-probabilities of some ids at each token, (tokens, ids).

    The divergence is Kullback and Leibler's from the source, ids that are not told taken as one: a little less than
    the whole one. The share is the slope of what an export adds to the base over what the adapter does.
    """
    p, bare = (np.take_along_axis(one, ids, 1).astype(np.float64) for one in (told.log_probs, told.bare))
    q = found.astype(np.float64)
    rest_p, rest_q = (np.log(np.maximum(1 - np.exp(one).sum(1), 1e-12)) for one in (p, q))
    divergences = (np.exp(p) * (p - q)).sum(1) + np.exp(rest_p) * (rest_p - rest_q)
    first, second = np.sort(np.exp(told.log_probs), axis=1)[:, [-1, -2]].T
    sure = first - second >= SURE
    same = ids[np.arange(len(ids)), q.argmax(1)] == told.log_probs.argmax(1)
    effect, noise = (float((np.exp(p) * one**2).sum()) for one in (p - bare, q - p))
    return ExportCheck(
        tokens=len(ids),
        sure=int(sure.sum()),
        same_first=int((same & sure).sum()),
        divergence=float(max(divergences.mean(), 0.0)),
        most_divergence=float(max(divergences.max(), 0.0)),
        most_difference=float(np.abs(p - q)[np.exp(p) >= 0.01].max(initial=0.0)),
        share=float((np.exp(p) * (q - bare) * (p - bare)).sum() / effect) if effect > noise * TOO_WEAK else None,
    )


def _judged(check: ExportCheck, limit: float, engine: str) -> ExportCheck:
    if not check.divergence <= limit:  # NaN is no success
        raise Invalid(
            f"in {engine} it says something else than its source: a divergence of {check.divergence:.3g} nats a token, "
            f"{limit:.3g} at most; the same first token at {check.same_first} of {check.sure} places"
        )
    if check.share is not None and abs(check.share - 1) > MOST_OFF:
        raise Invalid(f"in {engine} it says something else than its source: {check.share:.0%} of what the adapter adds")
    return check.model_copy(update={"limit": limit, "engine": engine})


def _tokenizer(base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)


def _rendered(tokenizer: Any) -> str:
    """Some templates take no system message, and some none at all."""
    from jinja2 import TemplateError

    for start in (0, 1):
        messages = [{"role": role, "content": content} for role, content in _MESSAGES[start:]]
        try:
            return str(tokenizer.apply_chat_template(messages, tokenize=False))
        except (TemplateError, ValueError):
            continue
    return "\n".join(content for _, content in _MESSAGES)


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        ).eval()  # type: ignore[no-untyped-call]
    except (OSError, ValueError, KeyError) as error:
        raise Invalid(f"transformers does not load {folder}: {str(error)[:300]}") from error


def _log_probs(model: Any, tokens: Sequence[int]) -> Logs:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.inference_mode():
        logits = model.to(device)(input_ids=torch.tensor([tokens], device=device), use_cache=False).logits[0]
        found: Logs = torch.log_softmax(logits.float(), -1).cpu().numpy()
    return found
