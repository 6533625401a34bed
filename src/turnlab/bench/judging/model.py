"""A language model that scores the replies of recorded turns by a rubric."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from pydantic import Field, ValidationError

from turnlab.bench.judging.prompt import (
    correction,
    messages,
    read_scores,
    response_format,
)
from turnlab.bench.judging.rubric import Rubric
from turnlab.bench.judging.scores import Judged, ToJudge
from turnlab.errors import (
    EmptyReply,
    InvalidParams,
    Missing,
    MissingPackage,
    NotJudged,
    PromptTooLong,
    ProviderFailed,
    ProviderRefused,
    ProviderTimeout,
    RateLimited,
    TurnlabError,
)
from turnlab.openai_api import ChatAnswer, Provider, ProviderParams, missing_provider, stream_chat
from turnlab.prices import Usage
from turnlab.prompts import Message

ATTEMPTS = 2
"""How often a turn is judged before it counts as not judged."""

MOST_CHARACTERS = 64 * 1024
"""Of an answer; a server that goes on for ever is left."""

PATIENCE = 5
"""After so many failures of the provider in a row, with no answer in between, judging ends."""

_OF_ONE_TURN = (PromptTooLong, ProviderFailed, ProviderRefused, ProviderTimeout, RateLimited)
"""What may fail for one turn and not for the next."""


class JudgeParams(ProviderParams):
    """Where the judge is, and how it is asked."""

    model: str = Field(min_length=1, max_length=128)
    max_tokens: int = Field(2048, ge=16, le=1_048_576)
    request_timeout_s: float = Field(60.0, gt=0, le=3600)


def check_judge(**values: Any) -> JudgeParams:
    """`values` as parameters. Raises InvalidParams."""
    try:
        return JudgeParams.model_validate(values)
    except ValidationError as error:
        found: Any = error.errors()[0]
        option = str(found["loc"][0]).replace("_", "-")
        what = str(found["msg"]).removeprefix("Value error, ")
        raise InvalidParams(f"--{option}: {what}.") from error


def require_judge(params: JudgeParams) -> None:
    """Raise MissingPackage, MissingKey or InvalidParams unless the judge can be asked."""
    for what in missing_provider(params):
        error = what.error if isinstance(what, Missing) else MissingPackage
        raise error(str(what))


class Judge:
    """A language model that judges by one rubric."""

    def __init__(self, rubric: Rubric, params: JudgeParams, provider: Provider) -> None:
        self.rubric = rubric
        self.params = params
        self.provider = provider
        schema = {"response_format": response_format(rubric)}
        # Servers without structured output refuse the schema, some models a temperature.
        self._ways: list[tuple[dict[str, Any], float | None]] = [
            (schema, 0.0),
            (schema, None),
            ({}, 0.0),
            ({}, None),
        ]
        self._finding = asyncio.Lock()

    async def judge(self, turn: ToJudge) -> Judged:
        """The scores of one turn. An answer that cannot be used is asked for once more.

        Raises MissingKey, WrongKey, ProviderUnreachable; what else goes wrong is its reason.
        """
        asked = messages(self.rubric, turn.texts)
        usage = Usage()
        problem: TurnlabError = NotJudged()
        for _ in range(ATTEMPTS):
            answer = ChatAnswer()
            try:
                await self._ask(asked, answer)
                scores = read_scores(self.rubric, answer.text)
                return Judged(track_id=turn.track_id, scores=scores, usage=usage + answer.usage)
            except (NotJudged, EmptyReply) as error:
                problem = error
                asked = [*asked, *correction(answer.text, error.message)]
            except _OF_ONE_TURN as error:
                return _failed(turn, usage + answer.usage, error, error)
            usage += answer.usage
        return _failed(turn, usage, problem)

    async def _ask(self, asked: Sequence[Message], answer: ChatAnswer) -> None:
        """Gather the answer, in the first way that the server takes."""
        if len(self._ways) > 1:
            async with self._finding:
                if len(self._ways) > 1:  # nobody has found it while this one waited
                    return await self._find(asked, answer)
        await self._asked(asked, answer, *self._ways[0])

    async def _find(self, asked: Sequence[Message], answer: ChatAnswer) -> None:
        first: ProviderRefused | None = None
        for way in self._ways:
            answer.text = ""
            try:
                await self._asked(asked, answer, *way)
            except ProviderRefused as error:
                first = first or error
                continue
            except (NotJudged, EmptyReply):  # it was taken all the same
                self._ways = [way]
                raise
            self._ways = [way]
            return
        raise first or NotJudged()

    async def _asked(
        self,
        asked: Sequence[Message],
        answer: ChatAnswer,
        extra: Mapping[str, Any],
        temperature: float | None,
    ) -> None:
        stream = stream_chat(
            self.provider,
            answer,
            model=self.params.model,
            messages=asked,
            max_tokens=self.params.max_tokens,
            temperature=temperature,
            extra=extra,
        )
        async with aclosing(stream) as pieces:
            async for _ in pieces:
                if len(answer.text) > MOST_CHARACTERS:
                    raise NotJudged(f"The answer is longer than {MOST_CHARACTERS} characters.")
        if answer.finish_reason == "length":
            raise NotJudged(
                f"The answer was cut off after {self.params.max_tokens} tokens; raise --max-tokens."
            )


async def judge_all(
    judge: Judge, turns: Sequence[ToJudge], concurrency: int
) -> AsyncGenerator[Judged]:
    """Each turn as it is judged, so many at once. Close it to end early.

    Raises what fails for every turn alike, and whatever failed PATIENCE times in a row.
    """
    waiting = list(reversed(turns))
    under_way: set[asyncio.Task[Judged]] = set()
    failures = 0
    try:
        while waiting or under_way:
            while waiting and len(under_way) < concurrency:
                under_way.add(asyncio.create_task(judge.judge(waiting.pop())))
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            # What was judged is told before anything is raised: it was paid for.
            for task in sorted(done, key=lambda each: each.exception() is not None):
                judged = task.result()
                yield judged
                failures = failures + 1 if _is_failure(judged) else 0
                if judged.failure is not None and failures >= PATIENCE:
                    raise _given_up(judge.provider, judged.failure, failures)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _is_failure(judged: Judged) -> bool:
    return judged.failure is not None and not isinstance(judged.failure, PromptTooLong)


def _given_up(provider: Provider, failure: TurnlabError, failures: int) -> TurnlabError:
    return type(failure)(
        f"{failure.message} It was the {failures}th failure of {provider.server.name} in a row; "
        "what was judged before is kept, and the same command goes on from there."
    )


def _failed(
    turn: ToJudge, usage: Usage, error: TurnlabError, failure: TurnlabError | None = None
) -> Judged:
    return Judged(
        track_id=turn.track_id,
        usage=usage,
        reason=f"{error.code}: {error.message}",
        failure=failure,
    )
