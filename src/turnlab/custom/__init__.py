"""Functions and models of the user's own: where they lie, whether they may run, what they give.

`find_file` resolves a path, `load_function` and `load_predictor` load what lies there, `to_chunk`
makes a Chunk of what came out.
"""

from turnlab.custom.files import (
    MODELS,
    SCRIPTS,
    VARIABLE,
    digest_of,
    find_file,
    missing_file,
    state_of,
    trusted_folders,
)
from turnlab.custom.functions import load_function
from turnlab.custom.predictors import Prediction, Predictor, load_predictor, missing_library
from turnlab.custom.values import plain, to_chunk

__all__ = [
    "MODELS",
    "SCRIPTS",
    "VARIABLE",
    "Prediction",
    "Predictor",
    "digest_of",
    "find_file",
    "load_function",
    "load_predictor",
    "missing_file",
    "missing_library",
    "plain",
    "state_of",
    "to_chunk",
    "trusted_folders",
]
