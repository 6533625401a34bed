"""Finds the passages of documents that fit a question."""
