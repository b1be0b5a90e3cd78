"""Runs a tiny pipeline with its own scheduler and both of ours, counts calls, and holds order one against Diffusers."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler

from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.schedulers._stepping import PlannedScheduler
from tiny_pipelines.ours import record_for
from tiny_pipelines.studio import DDIMAt, EulerAt, FlowEulerAt

from .building import build, patched
from .classes import call, constructor, method
from .cookbook import recipe_of

OURS = {"DEISSNScheduler": DEISSNScheduler, "ScoreOptimalScheduler": ScoreOptimalScheduler}
STEPS = 4
CLOSE = 1e-3
ASIDE = ("inverse_scheduler", "low_res_scheduler", "image_noising_scheduler")  # which take no step
NETWORKS = ("unet", "image_unet", "transformer", "transformer_2", "unconditional_transformer", "decoder", "prior")


@dataclass(frozen=True)
class Found:
    """What one of our schedulers does in one pipeline.

    Attributes:
        calls: Calls of the network in a run of `STEPS` steps.
        expected: Calls with Diffusers' solver of first order at the same times.
        error: Largest relative difference of any call or the result, of order one to that solver.
        steps: Steps that it took.
    """

    calls: int
    expected: int
    error: float
    steps: int

    @property
    def fault(self) -> str:
        """What is wrong, nothing if all is right."""
        if not self.steps:
            return "never asked for a step"
        if self.calls != self.expected:
            return f"{self.calls} calls instead of {self.expected}"
        return "" if self.error < CLOSE else f"order one differs by {self.error:.1e}"


class Room:
    """A tiny pipeline whose network is watched."""

    def __init__(self, name: str) -> None:
        self.pipe, self.arguments = build(name)
        self.options = dict(recipe_of(name).options)
        roles = [part for part in constructor(type(self.pipe)) if "scheduler" in part and part not in ASIDE]
        self.roles = ["scheduler"] if "scheduler" in roles else roles
        self.own = {role: getattr(self.pipe, role) for role in self.roles}
        self.places = {role: places(self.pipe, role) for role in self.roles}
        self.inputs: list[torch.Tensor] = []
        for part in NETWORKS:
            network = getattr(self.pipe, part, None)
            if isinstance(network, torch.nn.Module):
                network.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, _: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        names = ("hidden_states", "vision_tokens", "sample", "x", "latents")
        seen = next((options[name] for name in names if name in options), arguments[0] if arguments else None)
        self.inputs.append(torch.cat([one.flatten() for one in numbers(seen)]))

    def run(self, schedulers: dict[str, Any], steps: int = STEPS) -> list[torch.Tensor]:
        """Inputs of all calls and what came out."""
        for role, scheduler in schedulers.items():
            for pipe, name in self.places[role]:
                setattr(pipe, name, scheduler)
        self.inputs, taken = [], call(type(self.pipe))
        options = {"num_inference_steps": steps, "generator": torch.Generator().manual_seed(0)}
        torch.manual_seed(0)
        with patched(type(self.pipe)):
            given = self.arguments | {key: value for key, value in options.items() if key in taken}
            result = method(type(self.pipe))(self.pipe, **given)[0]
        return [*self.inputs, torch.cat([part.flatten() for part in numbers(result)])]

    def ours(self, cls: type, **options: Any) -> dict[str, Any]:
        """One of our classes for each of its schedulers, with statistics."""
        made = {}
        for role, own in self.own.items():
            model = DEISSNScheduler.from_config(own.config, stats=False, **self.options)
            made[role] = cls.from_config(own.config, **{"stats": record_for(model)} | self.options | options)
        return made

    def first_order(self, cls: type) -> dict[str, Any]:
        """The same as solvers of first order."""
        if cls is DEISSNScheduler:
            return self.ours(cls, stats=False, solver=Multistep(1))
        whole = all(one.noise.kind == "vp" for one in self.ours(DEISSNScheduler, stats=False).values())
        return self.ours(cls, normalise=False, whole_timesteps=whole, solver=Multistep(1))


def places(pipe: Any, role: str) -> list[tuple[Any, str]]:
    """Where a scheduler stands: in a pipeline, and in those that it is made of."""
    own, parts = getattr(pipe, role), [part for part in vars(pipe).values() if isinstance(part, DiffusionPipeline)]
    within = [(part, name) for part in parts for name in part.components if getattr(part, name) is own]
    named = [name for name in pipe.components if getattr(pipe, name) is own]
    return [
        (pipe, name) for name in {role, *named}
    ] + within  # `components` lacks those that a constructor can go without


@contextlib.contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Numbers of the steps that any scheduler of ours takes, also one that a pipeline has copied."""
    taken: list[int] = []
    step = PlannedScheduler.step

    @functools.wraps(step)  # pipelines look at its signature
    def counted(*arguments: Any, **options: Any) -> Any:
        taken.append(len(taken))
        return step(*arguments, **options)

    with mock.patch.object(PlannedScheduler, "step", counted):
        yield taken


def numbers(result: Any) -> list[torch.Tensor]:
    """What a pipeline gave, as tensors."""
    if isinstance(result, list | tuple):
        return [tensor for part in result if part is not None for tensor in numbers(part)]
    if not isinstance(result, torch.Tensor):
        result = torch.from_numpy(np.array(result, dtype=np.float64))
    return [result.detach().double()]


def upstream(own: Any, plan: Any) -> Any:
    """Diffusers' solver of first order at the times of a plan of ours, for the model of a scheduler."""
    if plan.noise.kind == "edm":
        return EulerAt.of(own.config, plan.sigmas.tolist())
    if plan.noise.kind in ("flow", "ve"):
        *levels, end = plan.sigmas.tolist()
        euler = FlowEulerAt.of(own.config, plan.timesteps.tolist(), levels, end)
        if plan.noise.kind == "ve":  # Cosmos 2, which reads back what it wrote into a flow-matching scheduler's config
            bounds = {name: own.config[name] for name in ("sigma_min", "sigma_max", "sigma_data")}
            euler.register_to_config(final_sigmas_type="zero", **bounds)
        return euler
    config = dict(own.config)
    if config.get("beta_schedule") not in ("linear", "scaled_linear", "squaredcos_cap_v2"):  # which it does not know
        config = {**config, "beta_schedule": "linear", "trained_betas": plan.betas.tolist(), "_use_default_values": []}
    return DDIMAt.of(config, plan.timesteps.tolist())


def measure(room: Room, scheduler: str) -> Found:
    """How one of our schedulers does in a pipeline; where that gives the levels, held against its own scheduler too."""
    cls = OURS[scheduler]
    with counted_steps() as steps:
        calls = len(room.run(room.ours(cls))) - 1
    single = room.first_order(cls)
    mine = room.run(single)
    theirs = room.run({role: upstream(room.own[role], one) for role, one in single.items()})
    error = apart(mine, theirs)
    if all(type(own) is FlowMatchEulerDiscreteScheduler for own in room.own.values()):
        itself = room.run(room.own)
        if all(same_times(room.own[role], one) for role, one in single.items()):
            error = max(error, apart(mine, itself))
    return Found(calls, len(theirs) - 1, error, len(steps))


def same_times(one: Any, other: Any) -> bool:
    """Whether two schedulers ran at the same times."""
    times = [scheduler.timesteps.double() for scheduler in (one, other)]
    return times[0].shape == times[1].shape and torch.allclose(*times, rtol=1e-5)


def apart(mine: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Largest difference of any call or the result of two runs."""
    return max(map(difference, mine, theirs)) if len(mine) == len(theirs) else np.inf


def difference(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """Root mean square of a difference, relative to the largest value, where theirs is finite."""
    known = theirs.isfinite()
    if mine.shape != theirs.shape or not known.any() or not mine[known].isfinite().all():
        return np.inf
    return float((mine - theirs)[known].square().mean().sqrt() / theirs[known].abs().max().clamp(min=1e-6))
