"""Views of an environment that other libraries, or other agents, need; each changes one thing.

Every wrapper is there for the single env and, with `Vector` before its name, for the native vector env.
"""

from glimpse_env.wrappers.actions import (
    BoxAction,
    GridAction,
    RelativeGaze,
    ScanPath,
    VectorBoxAction,
    VectorGridAction,
    VectorRelativeGaze,
    VectorScanPath,
    scan_path,
)
from glimpse_env.wrappers.base import glimpse_env_of
from glimpse_env.wrappers.observations import (
    DiscreteWords,
    GlimpseHistory,
    OneHotWords,
    Supervision,
    VectorDiscreteWords,
    VectorGlimpseHistory,
    VectorOneHotWords,
    VectorSupervision,
    VectorWholeCanvas,
    WholeCanvas,
)

__all__ = [
    "BoxAction",
    "DiscreteWords",
    "GlimpseHistory",
    "GridAction",
    "OneHotWords",
    "RelativeGaze",
    "ScanPath",
    "Supervision",
    "VectorBoxAction",
    "VectorDiscreteWords",
    "VectorGlimpseHistory",
    "VectorGridAction",
    "VectorOneHotWords",
    "VectorRelativeGaze",
    "VectorScanPath",
    "VectorSupervision",
    "VectorWholeCanvas",
    "WholeCanvas",
    "glimpse_env_of",
    "scan_path",
]
