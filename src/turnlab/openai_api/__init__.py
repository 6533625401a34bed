"""The OpenAI API and servers that speak it: parameters, connections, errors, usage and cost.

What a Module does with it:

```python
class Params(ProviderParams): ...            # base_url, key, time-out, retries

@classmethod
def missing(cls, params): return missing_provider(params)

@classmethod
def pinned(cls, params): return pinned_provider(params)

def load(self):
    self._clients = Clients(self.params)                 # imports the SDK, reads the prices

def close(self):
    self._clients.close()

async def run(self, inputs, context):
    provider = self._clients.of(context.params)      # on the running event loop
    answer = ChatAnswer()
    async for piece in stream_chat(provider, answer, model=..., messages=[...]):
        yield Reply(text=piece)
    context.result.update(provider.bill(model, answer.usage))
```

A picture goes into a message as `picture_part(image)`, which makes a data URL. Other calls of the
SDK go through `provider.client`, inside `with provider_errors(provider):`.
"""

from turnlab.openai_api.chat import ChatAnswer, stream_chat
from turnlab.openai_api.clients import Clients, Provider
from turnlab.openai_api.failures import ERRORS, no_answer, provider_errors
from turnlab.openai_api.params import (
    OPENAI_URL,
    ProviderParams,
    Server,
    missing_provider,
    pinned_provider,
    pinned_server,
)
from turnlab.openai_api.pictures import Detail, data_url, picture_part
from turnlab.openai_api.timing import Stopwatch

__all__ = [
    "ERRORS",
    "OPENAI_URL",
    "ChatAnswer",
    "Clients",
    "Detail",
    "Provider",
    "ProviderParams",
    "Server",
    "Stopwatch",
    "data_url",
    "missing_provider",
    "no_answer",
    "picture_part",
    "pinned_provider",
    "pinned_server",
    "provider_errors",
    "stream_chat",
]
