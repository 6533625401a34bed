"""Finds the passages of documents that fit a question.

`documents` and `readers` turn files into text, `splitting` cuts the text into passages,
`embedding` makes vectors of them, `sqlite` or `postgres` keep an index (`stores` says what an
index is, `indexes` which of the two is used), `adding` brings an index up to date.
"""
