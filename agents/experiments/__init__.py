"""Every experiment by name; a module a paper, whose docstring holds its table and its command.

`python scripts/train.py NAME` runs one; each setting can be changed on the command line.
"""

from __future__ import annotations

from agents.experiments import (
    ablations,
    ablavatski2017,
    ba2015,
    controls,
    demo,
    gregor2015,
    hermann2015,
    jaderberg2015,
    larochelle2010,
    memory,
    mnih2014,
    reading,
    sentences,
    xu2015,
)
from agents.experiments.experiment import Experiment

MODULES = (
    mnih2014,
    larochelle2010,
    ba2015,
    gregor2015,
    jaderberg2015,
    ablavatski2017,
    controls,
    ablations,
    memory,
    reading,
    sentences,
    hermann2015,
    xu2015,
    demo,
)
EXPERIMENTS: dict[str, Experiment] = {
    name: experiment.but(group=module.__name__.rpartition(".")[2])
    for module in MODULES
    for name, experiment in module.EXPERIMENTS.items()
}

__all__ = ["EXPERIMENTS", "MODULES", "Experiment"]
