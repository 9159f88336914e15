"""Whether a base's tokenizer and chat template can teach: ids within the embedding, turns that end in a token."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtftd.errors import Invalid, Missing, Refused
from gtftd.schemas.training import RunSpec
from gtftd.training.base_files import joint_sum
from gtftd.training.bases import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PROBE = "gtftdprobe"
ROLES = ("system", "tool")


def check_tokenizer(folder: Path, rows: int) -> Tokenizer:
    """`rows`: of the embedding; Llama 3 and Qwen have more than ids. Raises Invalid, Refused."""
    loaded = _load(folder)
    highest = max(loaded.get_vocab().values(), default=-1)
    if not 0 <= highest < rows:
        raise Invalid(
            f"the tokenizer has ids up to {highest} and the embedding {rows} rows: the tokenizer is another model's, "
            "or tokens were added and the embedding was not enlarged"
        )
    _template_of(loaded)  # before it is used: it may not be there
    end = _end_of_turn(loaded)
    return Tokenizer(
        sha256=_sum_of(folder, loaded),
        highest_id=highest,
        bos_id=loaded.bos_token_id,
        eos_id=loaded.eos_token_id,
        pad_id=loaded.pad_token_id,
        end_of_turn_id=end,
        end_of_turn=str(loaded.convert_ids_to_tokens(end)),
        roles=tuple(role for role in ROLES if _takes(loaded, role)),
    )


def check_base(spec: RunSpec) -> None:
    """The base is the one for which the run was planned. Its weights are what its digest says, or it was altered by
    hand; the tokenizer decides what every token means. Raises Invalid, Missing.
    """
    folder = Path(spec.base)
    if not (folder / "tokenizer.json").is_file():
        raise Missing(f"{folder} has no tokenizer.json: the base {spec.base_name} is gone; `gtftctl base verify` tells")
    found = tokenizer_sum(folder)
    if found != spec.tokenizer_sha256:
        raise Invalid(
            f"the tokenizer or the chat template of {spec.base_name} was changed since the run was planned "
            f"({found[:12]} instead of {spec.tokenizer_sha256[:12]}); `gtftctl base verify {spec.base_name}` tells "
            "what, `gtftctl base add` brings it back"
        )


def tokenizer_sum(folder: Path) -> str:
    """Over all that bears on the tokens of a text and the turns of a chat."""
    return _sum_of(folder, _load(folder))


def _sum_of(folder: Path, loaded: PreTrainedTokenizerFast) -> str:
    special = {name: getattr(loaded, f"{name}_token") for name in ("bos", "eos", "pad", "unk")}
    return joint_sum(
        (folder / "tokenizer.json").read_bytes(),
        _template_of(loaded).encode(),
        json.dumps(special, sort_keys=True).encode(),
    )


def _load(folder: Path) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer

    try:
        loaded: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, LookupError, TypeError, AttributeError) as error:
        raise Invalid(f"transformers cannot load the tokenizer: {str(error)[:300]}") from error
    if not loaded.is_fast:
        raise Invalid("the tokenizer is a slow one; a tokenizer.json is needed")
    fast: PreTrainedTokenizerFast = loaded
    return fast


def _template_of(loaded: PreTrainedTokenizerFast) -> str:
    template: object = loaded.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if isinstance(template, str) and template.strip():
        return template
    raise Refused(
        "the base has no chat template: it was never taught turns, and nothing says where one ends. Add the variant "
        "that is called Instruct or Chat, or put the chat_template.jinja of its family beside its config.json"
    )


def _end_of_turn(loaded: PreTrainedTokenizerFast) -> int:
    """The token that the template writes behind the words of an assistant. It must be one token, and a special one:
    else no turn ever ends.
    """
    whole = _render(loaded, [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": PROBE}])
    _, found, rest = whole.rpartition(PROBE)
    if not found:
        raise Invalid("the chat template does not write what an assistant said")
    ids = loaded.encode(rest.lstrip(), add_special_tokens=False)
    added = loaded.added_tokens_decoder
    if not ids or ids[0] not in added:
        raise Invalid(
            f"the chat template writes {rest[:40]!r} behind the words of an assistant, and that does not begin with a "
            "token of its own: a model could never learn where its turn ends"
        )
    return int(ids[0])


def _takes(loaded: PreTrainedTokenizerFast, role: str) -> bool:
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes"}]
    one = {"role": role, "content": PROBE}
    try:
        return PROBE in _render(loaded, [one, *messages] if role == "system" else [*messages, one])
    except Invalid:
        return False


def _render(loaded: PreTrainedTokenizerFast, messages: Sequence[Mapping[str, str]]) -> str:
    from jinja2 import TemplateError

    try:
        text = loaded.apply_chat_template([dict(one) for one in messages], tokenize=False)
    except (TemplateError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise Invalid(f"the chat template cannot be used: {str(error)[:300]}") from error
    return str(text)
