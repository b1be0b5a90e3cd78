"""A fine run: near the exact flow, at any level, and nearer with more steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diffusers_deis_sn.tuning.judging import Judged
from diffusers_deis_sn.tuning.meter import FINE_CALLS, FINEST_CALLS
from diffusers_deis_sn.tuning.teacher import Teacher, Teachers
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


def off(model, calls: int) -> float:
    """How far a fine run of so many steps is off by one of far more."""
    return Judged.of(Teacher.of(model, calls).end, Teacher.of(model, 960).end).geometric


@EACH
def test_a_goal_says_how_far_off_the_run_is_at_most(name):
    model = toy(name)
    teacher, goal = Teachers(model).within(1.0)
    assert goal.calls == FINE_CALLS == len(teacher.data)
    assert off(model, goal.calls) < goal.far < off(model, goal.calls // 2)


@EACH
def test_a_run_is_as_fine_as_what_is_held_against_it_needs(name):
    model = toy(name)
    first = Teachers(model).within(1.0)[1]
    teacher, goal = Teachers(model).within(0.5 * first.far)
    assert goal.calls == 2 * FINE_CALLS == len(teacher.data) and goal.far < 0.5 * first.far
    assert Teachers(model).within(0.0)[1].calls == FINEST_CALLS


def test_which_run_it_is_does_not_depend_on_what_was_asked_before():
    teachers, far = Teachers(toy("vp")), Teachers(toy("vp")).within(1.0)[1].far
    alone = {error: Teachers(toy("vp")).within(error)[1] for error in (0.0, 0.5 * far, 1.0)}
    assert {error: teachers.within(error)[1] for error in alone} == alone
    assert len({goal.calls for goal in alone.values()}) == 3


def test_finer_runs_are_made_only_where_there_is_time():
    asked = []
    goal = Teachers(toy("vp"), lambda calls: bool(asked.append(calls))).within(0.0)[1]
    assert goal.calls == FINE_CALLS and asked == [2 * FINE_CALLS]


def test_a_network_that_never_says_the_same_is_not_asked_for_ever():
    model = toy("vp")
    torch.manual_seed(0)
    noisy = replace(model, network=lambda x, level: model.network(x, level) + 0.3 * torch.randn_like(x))
    assert Teachers(noisy).within(0.0)[1].calls == 2 * FINE_CALLS
