"""What API processes and workers say to each other: frames, messages, Chunks, clocks, media.

docs/reference/worker-protocol.md describes it for whoever writes another end.
"""
