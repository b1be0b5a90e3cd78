"""`DEISSNScheduler`: where saved pipelines look for it, and a constructor that other schedulers do not choke on."""

from __future__ import annotations

import inspect
import re

from diffusers.schedulers.scheduling_utils import SchedulerMixin

import diffusers_deis_sn
from diffusers_deis_sn import DEISSNScheduler


def test_class_is_where_saved_pipelines_look_for_it():
    assert DEISSNScheduler.__module__ == "diffusers_deis_sn"
    assert diffusers_deis_sn.SchedulerMixin is SchedulerMixin


def test_constructor_has_no_argument_that_other_schedulers_choke_on():
    parameters = inspect.signature(DEISSNScheduler.__init__).parameters
    assert not {"algorithm_type", "solver_type"} & set(parameters)
    assert not [p for p in parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]


def test_every_argument_is_explained():
    section = inspect.getdoc(DEISSNScheduler).split("Args:\n")[1].split("\n\n")[0]
    explained = re.findall(r"^ {4}(\w+): ", section, re.MULTILINE)
    parameters = list(inspect.signature(DEISSNScheduler.__init__).parameters)[1:]
    assert sorted(explained) == sorted(parameters)
