"""Budgets, verdicts, blame and comparison."""
