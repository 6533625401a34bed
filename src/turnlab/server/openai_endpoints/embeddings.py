"""POST /v1/embeddings: texts as vectors, by the model that retrieval uses."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from django.http import HttpRequest, JsonResponse
from ninja import Router
from pydantic import BeforeValidator, Field

from turnlab.retrieval.stores import Vectors
from turnlab.server.openai_endpoints.bodies import Body, ModelName, read_body
from turnlab.server.openai_endpoints.embedding_model import EmbeddingModel, name
from turnlab.server.openai_endpoints.failures import UnknownModel

router = Router()

MOST_TEXTS = 2_048
"""As OpenAI has it."""
LONGEST_TEXT = 8_192
"""In characters: more than the model's tokens can be."""

_model = EmbeddingModel()


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS), BeforeValidator(_as_list)]


class EmbeddingsBody(Body):
    """The request."""

    model: str = ModelName
    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: Annotated[str, Field(max_length=512)] | None = None


@router.post("/embeddings")
async def embed(request: HttpRequest) -> JsonResponse:
    """A vector of length 1 for each text."""
    body = await read_body(request, EmbeddingsBody)
    known = name()
    if body.model != known:
        hint = f"there is {known}" if known else "pip install 'turnlab[rag]' on the server"
        raise UnknownModel(f"There is no embedding model {body.model!r}; {hint}.")
    vectors, tokens = await _model.embed(body.input, body.dimensions)
    rows = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(_written(vectors, body.encoding_format))
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return JsonResponse({"object": "list", "data": rows, "model": known, "usage": usage})


def _written(vectors: Vectors, form: str) -> list[Any]:
    """As lists of numbers, or as base64 of little-endian float32, which SDKs ask for."""
    if form == "float":
        numbers: list[Any] = vectors.tolist()
        return numbers
    return [base64.b64encode(vector.astype("<f4").tobytes()).decode() for vector in vectors]
