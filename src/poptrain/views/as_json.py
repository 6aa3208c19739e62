"""Views as strict JSON: a missing value is null, and a number that JSON cannot hold is "nan", "inf" or "-inf"."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any  # what JSON can hold

import numpy as np


def as_json(value: object) -> Any:
    """Returns a view, or any part of one, as dicts, lists, strings, numbers, booleans and None.

    >>> as_json({"score": float("nan"), "step": 3, "best": None})
    {'score': 'nan', 'step': 3, 'best': None}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if isfinite(value) else repr(float(value))
    if type(value) is dict:
        return {str(key): as_json(item) for key, item in value.items()}
    if type(value) is list or type(value) is tuple:
        return [as_json(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value) if field.repr}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, (list, tuple, Sequence)) and not isinstance(value, (bytes, bytearray)):
        return [as_json(item) for item in value]
    return str(value)


def dumps(value: object, indent: int | None = None) -> str:
    """Returns a view as JSON text in ASCII."""
    return json.dumps(as_json(value), allow_nan=False, indent=indent)
