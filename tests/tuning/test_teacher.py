"""A fine run: near the exact flow, at any level, and nearer with more steps."""

from __future__ import annotations

import pytest
import torch

from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.teacher import Teacher
from toy_models import PROCESSES, toy

EACH = pytest.mark.parametrize("name", PROCESSES)


@EACH
def test_it_is_at_the_samples_of_its_own_levels(name):
    teacher = Teacher.of(toy(name), 20)
    for level, x in zip(teacher.levels, teacher.samples, strict=True):
        assert torch.equal(teacher.at(level), x)
    assert torch.equal(teacher.at(0.0), teacher.end) and torch.equal(
        teacher.at(2.0 * teacher.levels[0]), teacher.samples[0]
    )


@EACH
def test_between_two_it_is_where_a_finer_run_is(name):
    model = toy(name)
    coarse, fine = Teacher.of(model, 60), Teacher.of(model, 600)
    for level in (8.0, 3.0, 1.5, 0.8, 0.3, 0.12):
        apart = (coarse.at(level) - fine.at(level)).abs().max() / float(model.process.sigma([level])[0])
        assert apart < 2e-2, level


@EACH
def test_twice_the_steps_are_four_times_nearer(name):
    model = toy(name)
    ends = {steps: Teacher.of(model, steps).end for steps in (20, 40, 80, 640)}
    errors = [Judged.of(ends[steps], ends[640]).rms for steps in (20, 40, 80)]
    assert errors[1] < errors[0] / 3.0 and errors[2] < errors[1] / 3.0
