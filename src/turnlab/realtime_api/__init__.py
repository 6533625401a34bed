"""The OpenAI Realtime protocol from a client's side: parameters, connection, sound, reply.

`RealtimeParams` and `realtime_server` say which server, `RealtimeConnection` carries events,
`Upsampler` makes the sound that is sent, `SpokenReply` gathers what comes back.
"""

from turnlab.realtime_api.connection import RealtimeConnection, session_settings
from turnlab.realtime_api.params import (
    RealtimeParams,
    missing_realtime,
    realtime_server,
    require_websockets,
)
from turnlab.realtime_api.reply import SpokenReply
from turnlab.realtime_api.sound import RATE, Upsampler

__all__ = [
    "RATE",
    "RealtimeConnection",
    "RealtimeParams",
    "SpokenReply",
    "Upsampler",
    "missing_realtime",
    "realtime_server",
    "require_websockets",
    "session_settings",
]
