"""Turnlab: a workbench for conversational pipelines."""

__version__ = "0.1.0"
