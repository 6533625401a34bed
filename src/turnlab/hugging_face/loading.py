"""A model of weights that were found: on which device, in which numbers, with which errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from turnlab.errors import InvalidParams, MissingModel, ModuleFailed, TurnlabError
from turnlab.hugging_face.weights import HubWeights, Weights, checked_folder

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]

_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""What is fetched of a model; no code and no pickles."""


def quiet() -> None:
    """Keep progress bars and advice of the libraries off the terminal."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def use_threads(threads: int) -> None:
    """Have torch use `threads` of this process, 0 for one a core."""
    import torch

    torch.set_num_threads(threads or os.cpu_count() or 2)


def fetched(weights: Weights | HubWeights) -> Weights:
    """The weights in a local folder, fetched into the hub's cache where that is wanted.

    Raises MissingModel if they are not to be had.
    """
    if isinstance(weights, Weights):
        return weights
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            weights.model_id,
            revision=weights.revision,
            allow_patterns=list(_FILES),
            local_files_only=not weights.download,
        )
    except Exception as error:  # the hub's own, HTTP's and the file system's
        raise MissingModel(
            f"{weights.model_id} ({weights.revision}) could not be fetched: {_brief(error)}"
        ) from error
    return checked_folder(Path(folder))


def device_of(device: Device) -> str:
    """`cpu` or `cuda`. Raises InvalidParams if CUDA is asked for but not there."""
    import torch

    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise InvalidParams(
            "device = 'cuda', but torch finds no CUDA device; install a driver and a build of "
            "torch with CUDA, or set device = 'cpu'."
        )
    return "cuda" if there and device != "cpu" else "cpu"


def load_model(auto_class: Any, weights: Weights, device: str, dtype: Dtype) -> Any:
    """The model, ready to infer. `auto_class` is one of the `AutoModelFor...` of transformers.

    With `auto`, weights are bfloat16 on a CPU that computes in it, float32 on others; on CUDA as
    they are stored, bfloat16 if they come from a GGUF file. Raises MissingModel if they cannot
    be loaded.
    """
    options: dict[str, Any] = {"use_safetensors": True}
    if weights.gguf_file:
        options = {"gguf_file": weights.gguf_file, **_unpacked()}
    with loading(weights):
        model = auto_class.from_pretrained(
            weights.folder,
            local_files_only=True,
            trust_remote_code=False,
            dtype=_numbers(weights, device, dtype),
            **options,
        )
        return model.to(device).eval()


@contextmanager
def loading(weights: Weights) -> Iterator[None]:
    """Any error of the libraries in the block as one that says which model it was."""
    try:
        yield
    except TurnlabError:
        raise
    except Exception as error:  # what a library raises for a foreign or damaged model is open
        if full := _out_of_memory(error):
            raise full from error
        where = weights.folder / (weights.gguf_file or "")
        raise MissingModel(f"The model at {where} cannot be loaded: {_brief(error)}") from error


@contextmanager
def inferring() -> Iterator[None]:
    """Without gradients; a lack of memory becomes ModuleFailed with what to do."""
    import torch

    try:
        with torch.inference_mode():
            yield
    except (MemoryError, RuntimeError) as error:
        if full := _out_of_memory(error):
            raise full from error
        raise


def _unpacked() -> dict[str, Any]:
    """Have the weights of a GGUF file unpacked, as older releases of transformers always do.

    Newer ones would fetch a compiled kernel from the hub where the package kernels is installed.
    """
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {"quantization_config": config(dequantize=True)} if config else {}


def _numbers(weights: Weights, device: str, dtype: Dtype) -> Any:
    import torch

    if dtype != "auto":
        return getattr(torch, dtype)
    if device == "cuda":
        return torch.bfloat16 if weights.gguf_file else "auto"
    # Releases of torch that cannot tell are taken for ones on a CPU that cannot.
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = any(able.get(feature) for feature in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def _out_of_memory(error: Exception) -> ModuleFailed | None:
    """The error as one of memory, None if it is another."""
    import torch

    if isinstance(error, torch.cuda.OutOfMemoryError):
        where = "The GPU"
    elif isinstance(error, MemoryError) or "not enough memory" in str(error).lower():
        where = "This machine"
    else:
        return None
    return ModuleFailed(
        f"{where} has too little free memory for the model; take a smaller one, a smaller dtype "
        "such as bfloat16, or a lower context_tokens."
    )


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
