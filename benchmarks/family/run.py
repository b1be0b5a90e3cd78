"""Every member of the DEIS family, error against network calls, with and without score normalisation.

    python -m benchmarks.family.run                       # all three problems, half an hour or more: benchmarks/family
    python -m benchmarks.family.run --problems mixture    # the one without a network, minutes

Problems: an exact mixture around scikit-learn's 1797 handwritten digits, and the shipped pipeline at guidance 1 and 5.
Everything starts from the same noise, walks the same grid (trailing) and ends at sigma zero. The error is the RMS
distance to a fine run of another solver: Runge-Kutta in closed form for the mixture, 500 steps of Diffusers' DPM++ 2M
for the pipeline. Network calls are counted, not computed; a guided call is one call.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS, digits_mixture
from benchmarks.exact.runs import measured_statistics, rms, start_noise
from benchmarks.family.figure import draw, overview, summary
from benchmarks.places import results
from benchmarks.suite.upstream import Ipndm
from diffusers_deis_sn import Corrector, DEISSNScheduler, Multistep, ScoreStatistics
from diffusers_deis_sn.learn.costs import schedule_costs
from diffusers_deis_sn.learn.following import GAIN, NO_LIMIT, gain_limit
from diffusers_deis_sn.statistics.cost import LocalCost
from examples.comparison import JUDGE, MODEL, REFERENCE_STEPS, STATISTICS, Bench, UpstreamDeis
from examples.tiny_digits import draw_prompts, load_judge

CALLS = (4, 5, 6, 8, 10, 15, 20, 30, 50)
PROMPTS, SAMPLES, SEED = 12, 48, 11
RUNGE_KUTTA = ("midpoint", "heun", "heun3", "kutta3", "ralston3", "ssprk3", "vdh3", "rk4")


@dataclass(frozen=True)
class Member:
    """A sampler: its family, a name, whether it is normalised, and how to make it from a config and a problem.

    `steps` gives the largest number of steps that needs no more than so many calls.
    """

    family: str
    name: str
    normalised: bool
    make: Callable[[Any, Any], Any]
    steps: Callable[[int], int] = lambda calls: calls


@dataclass(frozen=True)
class Row:
    """What one sampler achieves on one problem."""

    problem: str
    family: str
    name: str
    normalised: bool
    calls: int
    error: float


# ------------------------------------------------------------------------------------------------------ our members


def options() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Family, name and options of each of our members."""
    for variable, label in (("t", "tAB"), ("rho", "rhoAB"), ("log_rho", "log-rho AB")):
        for order in (1, 2, 3, 4) if variable == "t" else (2, 3, 4):
            yield "multistep", f"{label} {order}", {"solver": Multistep(order, variable, lower_order_final=False)}
    for order in (2, 3, 4):
        yield "multistep", f"iPNDM {order}", {"solver": "ipndm", "solver_order": order, "lower_order_final": False}
    for solver in RUNGE_KUTTA:
        yield "Runge-Kutta", solver, {"solver": solver}
    yield "corrected", "tAB 2, no corrector", {"solver": Multistep(2)}
    for order, corrector in ((1, 2), (1, 3), (2, 3), (2, 4), (3, 4)):
        yield "corrected", f"tAB {order} + {corrector}", {"solver": Multistep(order, corrector=Corrector(corrector))}
    for variable, label in (("rho", "rhoAB"), ("log_rho", "log-rho AB")):
        yield "corrected", f"{label} 2 + 4", {"solver": Multistep(2, variable, corrector=Corrector(4))}
    for order, corrector in ((2, 3), (3, 3)):
        free = {"solver": Multistep(order, corrector=Corrector(corrector, NO_LIMIT))}
        yield "corrected", f"tAB {order} + {corrector}, no limit", free
    for order, corrector in ((2, 0), (3, 0), (2, 2), (3, 3)):
        solver = Multistep(order, of="data", corrector=Corrector(corrector), lower_order_final=corrector == 0)
        yield "data", f"tAB {order}{f' + {corrector}' if corrector else ''} of x0", {"solver": solver}
    yield "data", "log-rho AB 2 of x0", {"solver": Multistep(2, "log_rho", "data")}


def members() -> list[Member]:
    """Ours, normalised and not where there is a choice, and Diffusers' own."""
    found = []
    for family, name, extra in options():
        for normalised in (True, False) if family != "data" else (False,):
            found.append(Member(family, name, normalised, _ours(extra, normalised), _steps(extra.get("solver"))))
    trailing = {"timestep_spacing": "trailing"}
    zero = trailing | {"final_sigmas_type": "zero"}
    theirs: dict[str, Callable[[Any, Any], Any]] = {
        # DPM++ of order 1 is DDIM; `DDIMScheduler` leaves its own grid where N does not divide 1000.
        "DDIM": lambda config, _: DPMSolverMultistepScheduler.from_config(config, solver_order=1, **zero),
        "DEIS (Diffusers)": lambda config, _: UpstreamDeis.from_config(config, **trailing),
        "iPNDM (Diffusers)": lambda config, _: Ipndm.on(config, timestep_spacing="trailing"),
        "DPM++ 2M": lambda config, _: DPMSolverMultistepScheduler.from_config(config, **zero),
        "DPM++ 3M": lambda config, _: DPMSolverMultistepScheduler.from_config(config, solver_order=3, **zero),
        "UniPC": lambda config, _: UniPCMultistepScheduler.from_config(config, **zero),
        "Heun (Diffusers)": lambda config, _: UpstreamHeun.from_config(config, **trailing),
    }
    for name, make in theirs.items():
        found.append(Member("Diffusers", name, False, make, _steps("heun") if "Heun" in name else _steps(None)))
    return found


def _ours(extra: dict[str, Any], normalised: bool) -> Callable[[Any, Any], Any]:
    def make(config: Any, problem: Any) -> Any:
        given = {"stats": problem.statistics} if normalised else {"stats": False, "recipe": "fixed"}
        solver = extra.get("solver")
        if isinstance(solver, Multistep) and solver.corrector.gain > NO_LIMIT:  # limited as the default's
            limited = replace(solver.corrector, gain=gain_limit(GAIN, problem.guidance, None))
            given["solver"] = replace(solver, corrector=limited)
        return DEISSNScheduler.from_config(config, guidance_scale=problem.guidance, **(extra | given))

    return make


def _steps(solver: str | None) -> Callable[[int], int]:
    """How many steps of a solver fit into so many calls; those of two stages take one call in the last step."""
    if solver in ("heun", "midpoint"):
        return lambda calls: (calls + 1) // 2
    stages = {"rk4": 4}.get(solver or "", 3 if solver in RUNGE_KUTTA else 1)
    # The last step of rk4 has three stages.
    return lambda calls: (calls + (solver == "rk4")) // stages


# ---------------------------------------------------------------------------------------- Diffusers' own, made fair


class UpstreamHeun(HeunDiscreteScheduler):
    """Diffusers' Heun, started at the noise that the others start from.

    Its sigmas end at zero by themselves; for trailing spacing it leaves the data's share out of the starting noise.
    """

    @property
    def init_noise_sigma(self) -> float:
        return float((self.sigmas.max() ** 2 + 1.0) ** 0.5)


# ---------------------------------------------------------------------------------------------------------- problems


class MixtureProblem:
    """The exact network of a mixture: no training, no model error. With `costs` its statistics have those too."""

    def __init__(self, samples: int = SAMPLES, costs: bool = False) -> None:
        self.mixture = digits_mixture()
        self.config = DEISSNScheduler(**SD_BETAS).config
        self.noise = start_noise(samples)
        self.statistics = measured_statistics(self.mixture.epsilon, self.mixture.noise, start_noise(SAMPLES, seed=5))
        if costs:
            self.statistics = self.statistics.with_costs(**self._costs(self.statistics))
        self.reference = self.mixture.flow(self.noise, self.mixture.noise.top, steps=1000)
        self.guidance, self.calls = 1.0, 0

    def _costs(self, statistics: ScoreStatistics, samples: int = 64) -> dict[str, LocalCost]:
        """Both costs of every interval of the statistics, from exact samples of each level."""
        data = self.mixture.centres[torch.randint(len(self.mixture.centres), (samples,))]
        data = data + self.mixture.bandwidth * torch.randn_like(data)
        levels = np.exp(-0.5 * statistics.log_snr)[::-1]

        def epsilon(y: Tensor, rho: float) -> Tensor:
            return self.mixture.epsilon_at(y * float(self.mixture.noise.alpha(rho)), rho)

        def noised(rho: float) -> Tensor:
            return data + rho * torch.randn_like(data)

        found = {}
        for cost, options in {"corrector": {}, "predictor": {"derivatives": "finite"}}.items():
            one = schedule_costs(epsilon, noised, levels, cost, **options)
            found[cost] = replace(one, values=one.values[::-1], error=one.error[::-1])  # a record is cleanest first
        return found

    def features(self, samples: Tensor) -> Tensor:
        """What distributions are compared by: the samples themselves; (B, 64)."""
        return samples

    def error(self, scheduler: Any, steps: int) -> float:
        """RMS distance to the exact flow."""
        return rms(self.end(scheduler, steps), self.reference)

    def end(self, scheduler: Any, steps: int) -> Tensor:
        """The samples."""
        scheduler.set_timesteps(steps)
        x, self.calls = self.noise * scheduler.init_noise_sigma, 0
        for t in scheduler.timesteps:
            self.calls += 1
            output = self.mixture.epsilon(scheduler.scale_model_input(x, t), float(t))
            x = scheduler.step(output, t, x, return_dict=False)[0]
        return x


class PipelineProblem:
    """The shipped pipeline at one guidance."""

    def __init__(self, guidance: float, prompts: int = PROMPTS) -> None:
        pipe = DiffusionPipeline.from_pretrained(MODEL)
        pipe.set_progress_bar_config(disable=True)
        self.bench = Bench(pipe, load_judge(JUDGE), draw_prompts(prompts, seed=SEED), guidance)
        self.config, self.statistics, self.guidance, self.calls = self.bench.config, STATISTICS, guidance, 0
        fine = DPMSolverMultistepScheduler.from_config(
            self.config, timestep_spacing="trailing", final_sigmas_type="zero"
        )
        self.reference, _ = self.bench.latents(fine, REFERENCE_STEPS)

    @torch.no_grad()
    def features(self, samples: Tensor) -> Tensor:
        """What distributions are compared by: the last hidden layer of the shipped classifier; (B, 128)."""
        judge, pictures = self.bench.judge, self.bench.pictures(samples)
        return judge.hidden(judge.features(pictures))

    def error(self, scheduler: Any, steps: int) -> float:
        """RMS distance of the latents to the fine run."""
        return rms(self.end(scheduler, steps), self.reference)

    def end(self, scheduler: Any, steps: int) -> Tensor:
        """The latents."""
        latents, self.calls = self.bench.latents(scheduler, steps)
        return latents


PROBLEMS: dict[str, Callable[[], Any]] = {
    "mixture": MixtureProblem,
    "guidance 1": lambda: PipelineProblem(1.0),
    "guidance 5": lambda: PipelineProblem(5.0),
}


def measure(name: str) -> list[Row]:
    """All members on one problem."""
    problem, rows = PROBLEMS[name](), []
    for member in members():
        for steps in dict.fromkeys(member.steps(calls) for calls in CALLS):
            if steps < 1:
                continue
            error = problem.error(member.make(problem.config, problem), steps)
            rows.append(Row(name, member.family, member.name, member.normalised, problem.calls, error))
        print(f"{name}, {member.name}{', normalised' if member.normalised else ''}: {error:.4f}", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--draw-only", action="store_true", help="draw what was measured before")
    parser.add_argument("--output", type=Path, default=results("family"))
    arguments = parser.parse_args()
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    torch.manual_seed(0)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in [] if arguments.draw_only else arguments.problems:
        rows = [asdict(row) for row in measure(name)]
        path = arguments.output / f"{name.replace(' ', '-')}.json"
        path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    measured = [arguments.output / f"{name.replace(' ', '-')}.json" for name in PROBLEMS]
    rows = [row for path in measured if path.exists() for row in json.loads(path.read_text())]
    draw(rows, arguments.output / "family.png")
    (arguments.output / "family.md").write_text(summary(rows) + "\n")
    (arguments.output / "overview.md").write_text(overview(rows) + "\n")


if __name__ == "__main__":
    main()
