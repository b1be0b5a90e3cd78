"""What options may be: the names of the library, and of nothing else."""

from __future__ import annotations

import pytest
import torch

from diffusers_deis_sn.cli import choices
from diffusers_deis_sn.collect.loading import OFFLOADS, PRECISIONS
from diffusers_deis_sn.learn.export import FORMATS
from diffusers_deis_sn.learn.path import VELOCITIES
from diffusers_deis_sn.statistics.cost import COST_ORDERS, PROBED


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        (choices.Form, FORMATS),
        (choices.Cost, COST_ORDERS),
        (choices.Probed, PROBED),
        (choices.Velocity, VELOCITIES),
        (choices.Offload, OFFLOADS),
        (choices.Precision, PRECISIONS),
    ],
)
def test_choices_are_the_names_of_the_library(choice, names):
    assert [one.value for one in choice] == list(names)


def test_precisions_are_those_of_pytorch():
    assert all(getattr(torch, one.value).is_floating_point for one in choices.Precision)
