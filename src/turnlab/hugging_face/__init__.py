"""Hugging Face models on this machine: where weights lie, how a model is made and writes.

`weights.py` finds and checks them, `loading.py` makes a model of them, `writing.py` writes with it.
No code that lies beside weights is run, and no pickled weights are read.
"""
