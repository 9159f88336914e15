"""Runs a GGUF in llama.cpp, in a process of its own: `python -P -m gtftd.programs.llama` with a Question as JSON on its
standard input. Prints an Answer as JSON. What llama.cpp does not like may abort it, and that ends this process alone.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import urllib.request
from typing import Any

from gtftd.schemas.training import LlamaAnswer, LlamaQuestion

_TOKENISE_S = 60.0
_CERTAIN = 1e6


def main() -> int:
    """The exit code: 3 without xllamacpp. Whatever llama.cpp prints goes to standard error; the answer stands alone."""
    told = os.dup(1)
    os.dup2(2, 1)
    question = LlamaQuestion.model_validate_json(sys.stdin.read())
    try:
        answer = ask(question)
    except ImportError:
        return 3
    with os.fdopen(told, "w") as file:
        file.write(answer.model_dump_json())
    os._exit(0)  # its threads have nothing left to do, and ending them takes seconds


def ask(question: LlamaQuestion) -> LlamaAnswer:
    """One position after the other, each with the tokens before it kept by llama.cpp."""
    from xllamacpp import Server

    key = secrets.token_hex(16)
    server = Server(_parameters(question, key))
    tokens = tuple(_tokenise(server, key, question.text)) if question.text else ()
    found = [_next(server, question, question.tokens[:end]) for end in range(1, len(question.tokens) + 1)]
    return LlamaAnswer(tokens=tokens, ids=[one[0] for one in found], log_probs=[one[1] for one in found])


def _parameters(question: LlamaQuestion, key: str) -> Any:
    from xllamacpp import CommonAdapterLoraInfo, CommonParams

    parameters = CommonParams()
    parameters.model.path = question.model
    parameters.n_ctx = len(question.tokens) + 64
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.warmup = False
    parameters.ui = False
    parameters.api_keys = [key]
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = question.threads
    if question.loras:
        parameters.lora_adapters = [CommonAdapterLoraInfo(path, 1.0) for path in question.loras]
    return parameters


def _tokenise(server: Any, key: str, text: str) -> list[int]:
    content = json.dumps({"content": text, "add_special": False, "parse_special": True}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.listening_address}/tokenize", content, headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_TOKENISE_S) as told:
        return [int(one) for one in json.load(told)["tokens"]]


def _next(server: Any, question: LlamaQuestion, tokens: tuple[int, ...]) -> tuple[list[int], list[float]]:
    """The likeliest tokens behind these, and their log-probabilities: of the model, whatever is said.

    Said is a token of plain text: behind the end of an answer, or half a character, llama.cpp tells no probabilities.
    """
    asked = {
        "prompt": list(tokens), "max_tokens": 1, "logprobs": question.most, "temperature": 0, "cache_prompt": True,
        "logit_bias": [[question.harmless, _CERTAIN]],
    }  # fmt: skip
    told = _completed(server, asked)["logprobs"]["content"][0]["top_logprobs"]
    return [int(one["id"]) for one in told], [float(one["logprob"]) for one in told]


def _completed(server: Any, asked: dict[str, Any]) -> dict[str, Any]:
    told = server.handle_completions(asked)
    if "choices" not in told:
        raise RuntimeError(f"llama.cpp refused: {json.dumps(told)[:300]}")
    found: dict[str, Any] = told["choices"][0]
    return found


if __name__ == "__main__":
    sys.exit(main())
