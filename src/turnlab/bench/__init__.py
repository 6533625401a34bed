"""Replaying recordings and judging what came of them."""
