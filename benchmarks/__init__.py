"""Measurements of Turnlab; see README.md."""
