"""The client: hears turns and hands them to a Turnlab server, plays what it replies.

It runs on small machines: no Django, no Module, and no model but Silero's.
"""
