"""A Realtime server on loopback that answers as told and checks what it is sent, for tests.

It needs the package `websockets`. See `RealtimeServer`.
"""

from turnlab.testing.realtime_server.answers import Answer, Fault
from turnlab.testing.realtime_server.server import RealtimeServer

__all__ = ["Answer", "Fault", "RealtimeServer"]
