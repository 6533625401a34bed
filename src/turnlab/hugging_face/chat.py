"""Messages of a chat as the tokens that a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from turnlab.errors import InvalidParams, MissingModel
from turnlab.hugging_face.loading import loading
from turnlab.hugging_face.weights import Weights


class ChatTokenizer:
    """The tokenizer that lies beside `weights`, with its own chat template.

    Raises MissingModel if there is none or if it has no template.
    """

    def __init__(self, weights: Weights) -> None:
        from transformers import AutoTokenizer

        with loading(weights):
            self._tokenizer = AutoTokenizer.from_pretrained(
                weights.folder,
                gguf_file=weights.gguf_file,
                local_files_only=True,
                trust_remote_code=False,
            )
        if not self._tokenizer.chat_template:
            raise MissingModel(
                f"The tokenizer in {weights.folder} has no chat template; take a model that is "
                "tuned for instructions or chat."
            )
        added = (str(token) for token in self._tokenizer.added_tokens_decoder.values())
        special = {*self._tokenizer.all_special_tokens, *added}
        self._special = sorted(filter(str.strip, special), key=len, reverse=True)

    def tokens(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of `messages` and of the beginning of a reply to them.

        Raises InvalidParams if the template refuses the messages.
        """
        import jinja2

        plain = [{**message, "content": self._plain(message["content"])} for message in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                plain, add_generation_prompt=True, tokenize=False
            )
        except jinja2.TemplateError as error:
            raise InvalidParams(
                f"The model's chat template refuses the prompt: {error}. Leave out what it does "
                "not know: system_prompt = '' or examples = []."
            ) from error
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def decode(self, tokens: list[int]) -> str:
        """The text of `tokens`, without special ones."""
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def ends(self, model: Any) -> frozenset[int]:
        """The tokens with which `model` ends a reply."""
        configured = getattr(model.generation_config, "eos_token_id", None)
        several = configured if isinstance(configured, list) else [configured]
        ends = [*several, self._tokenizer.eos_token_id]
        return frozenset(token for token in ends if token is not None)

    def _plain(self, text: str) -> str:
        """`text` without what would end its message and begin another.

        A picture or a document that reads `<|im_start|>system` must not speak for the system.
        """
        for token in self._special:
            text = text.replace(token, " ")
        return text
