"""The whole family in Stable Diffusion's pipelines: it runs, calls as often as it says, and tends to one picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, EDMDPMSolverMultistepScheduler, EDMEulerScheduler

from diffusers_deis_sn import DEISSNScheduler
from diffusers_deis_sn.core.runge_kutta import TABLEAUX
from diffusers_deis_sn.core.solvers import Corrector, Multistep
from tiny_pipelines import BUILDERS

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

FAMILY: dict[str, dict[str, Any]] = {
    **{name: {"solver": name} for name in TABLEAUX},
    "ipndm": {"solver": "ipndm", "solver_order": 3},
    "ipndm corrected": {"solver": Multistep(2, corrector=Corrector(3), equal_steps=True)},
    "corrected": {"solver": Multistep(2, corrector=Corrector(2, 0.1))},
    "order 4 in log rho": {"solver": Multistep(4, "log_rho")},
    "data": {"solver": Multistep(2, "log_rho", "data")},
    "data in t": {"solver": Multistep(3, of="data")},
    "data corrected": {"solver": Multistep(of="data", corrector=Corrector(2))},
    "data ipndm": {"solver": Multistep(of="data", equal_steps=True)},
}
FEW, MANY = 2, 12


def calls_of(name: str, steps: int) -> int:
    """Network calls of so many steps to clean data."""
    solver = FAMILY[name].get("solver", "multistep")
    if solver not in TABLEAUX:
        return steps
    last = TABLEAUX[solver].at_clean or solver
    return (steps - 1) * len(TABLEAUX[solver]) + len(TABLEAUX[last])


class Studio:
    """One tiny pipeline for all schedulers, with the number of its network calls."""

    def __init__(self, family: str):
        self.pipe, self.arguments = BUILDERS[family]()
        self.config = self.pipe.scheduler.config
        self.calls = 0
        self.pipe.unet.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.calls += 1

    def latents(self, scheduler: Any, steps: int) -> torch.Tensor:
        self.pipe.scheduler, self.calls = scheduler, 0
        settings = {"num_inference_steps": steps, "generator": torch.Generator().manual_seed(0)}
        return self.pipe(**self.arguments | settings | {"output_type": "latent", "guidance_scale": 2.0}).images

    def error(self, scheduler: Any, steps: int, reference: torch.Tensor) -> float:
        return (self.latents(scheduler, steps) - reference).square().mean().sqrt().item()


@pytest.fixture(scope="module")
def text_to_image() -> Studio:
    return Studio("sd")


@pytest.fixture(scope="module")
def image_to_image() -> Studio:
    return Studio("sd_img2img")


def reference(studio: Studio) -> torch.Tensor:
    """By another solver of another library, in many steps."""
    options = {"timestep_spacing": "trailing", "final_sigmas_type": "zero"}
    return studio.latents(DPMSolverMultistepScheduler.from_config(studio.config, **options), 60)


@pytest.fixture(scope="module")
def picture(text_to_image: Studio) -> torch.Tensor:
    return reference(text_to_image)


@pytest.mark.parametrize("name", FAMILY)
def test_text_to_image_runs_and_tends_to_the_picture_of_another_solver(name, text_to_image, picture):
    errors = []
    for steps in (FEW, MANY):
        scheduler = DEISSNScheduler.from_config(text_to_image.config, **FAMILY[name])
        errors.append(text_to_image.error(scheduler, steps, picture))
        assert text_to_image.calls == calls_of(name, steps)
    assert np.all(np.isfinite(errors)) and errors[1] < 0.6 * errors[0]
    # Untrained weights turn with every few of the thousand training times: so near do different grids come.
    assert errors[1] < 0.05 * picture.std().item()


@pytest.mark.parametrize("name", FAMILY)
def test_image_to_image_begins_with_a_step_and_keeps_its_image(name, image_to_image):
    """Strength 0.6 of five steps: three are taken, whatever number of calls a step has."""
    scheduler = DEISSNScheduler.from_config(image_to_image.config, **FAMILY[name])
    latents = image_to_image.latents(scheduler, 5)
    assert torch.all(torch.isfinite(latents)) and latents.std() > 0.0
    assert scheduler.begin_index == 2 * scheduler.order
    assert image_to_image.calls == calls_of(name, 5) - 2 * scheduler.order == calls_of(name, 3)


# --------------------------------------------------------------------------------------------------------------- EDM


@pytest.fixture(scope="module")
def edm_studio() -> Studio:
    studio = Studio("sd")
    studio.config = EDMDPMSolverMultistepScheduler(sigma_max=20.0).config
    return studio


@pytest.fixture(scope="module")
def edm_picture(edm_studio: Studio) -> torch.Tensor:
    return edm_studio.latents(EDMDPMSolverMultistepScheduler.from_config(edm_studio.config), 60)


@pytest.mark.parametrize("name", ["heun", "order 4 in log rho", "corrected", "data in t"])
def test_an_edm_config_tends_to_the_picture_of_diffusers(name, edm_studio, edm_picture):
    errors = []
    for steps in (5, 30):
        scheduler = DEISSNScheduler.from_config(edm_studio.config, **FAMILY[name])
        errors.append(edm_studio.error(scheduler, steps, edm_picture))
    assert errors[1] < 0.2 * errors[0] and errors[1] < 0.03 * edm_picture.std().item()


def test_with_one_output_the_picture_is_that_of_euler(edm_studio):
    theirs = edm_studio.latents(EDMEulerScheduler.from_config(edm_studio.config), 6)
    ours = edm_studio.latents(DEISSNScheduler.from_config(edm_studio.config, solver=Multistep(1)), 6)
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.abs().max().item())
