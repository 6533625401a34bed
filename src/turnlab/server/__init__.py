"""The Django project: what is kept of every turn, and who hears of it.

Nothing is loaded here. `setup.open_records()` makes the database where it is missing and returns
the Journal that the runner writes to; `setup.open_database()` is enough to read with `queries`.
"""
