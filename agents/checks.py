"""Settings and what is read of files, checked: each fault is one sentence that names the field."""

from __future__ import annotations

import math
from typing import Any, get_args


def finite(value: Any) -> bool:
    """Whether this is a number, and a finite one."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def positive(settings: object, *names: str) -> None:
    """Raise ValueError for the first of these fields that is not above zero, or infinite."""
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {getattr(settings, name)}")


def not_negative(settings: object, *names: str) -> None:
    """Raise ValueError for the first of these fields that is below zero, or infinite."""
    for name in names:
        if not 0 <= getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be finite and not negative, got {getattr(settings, name)}")


def share(settings: object, *names: str) -> None:
    """Raise ValueError for the first of these fields that is not at least 0 and below 1."""
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(settings, name)}")


def one_of(settings: object, name: str, kind: Any) -> None:
    """Raise ValueError if this field is none of the values of `kind`, a Literal."""
    if getattr(settings, name) not in get_args(kind):
        raise ValueError(f"{name} must be one of {get_args(kind)}, got {getattr(settings, name)!r}")
