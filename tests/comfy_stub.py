"""What ComfyUI asks of samplers and schedulers, and what it gives them: its interface, written anew for tests.

Read in Comfy-Org/ComfyUI at commits e0d4ea77 (comfy/samplers.py: KSAMPLER.sample, KSamplerX0Inpaint, CFGGuider) and
2fd20839 (comfy/model_sampling.py: EPS, V_PREDICTION, EDM, CONST, COSMOS_RFLOW, ModelSampling...), and in
comfyanonymous/ComfyUI at 065c1df0 (comfy_extras/nodes_custom_sampler.py: BasicScheduler, SamplerCustomAdvanced) and
02159d81 (comfy/k_diffusion/sampling.py: the arguments of sample_euler). Names, arguments and formulas are theirs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch


def _beside(sigma, sample):
    return sigma if sigma.ndim == 0 or sigma.numel() == 1 else sigma.reshape(-1, *[1] * (sample.ndim - 1))


class EPS:
    """Networks that predict noise; samples x_0 + sigma eps."""

    def calculate_input(self, sigma, noise):
        return noise / torch.sqrt(_beside(sigma, noise) ** 2 + self.sigma_data**2)

    def calculate_denoised(self, sigma, model_output, model_input):
        return model_input - _beside(sigma, model_output) * model_output

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        return latent_image + noise * (torch.sqrt(1.0 + sigma**2) if max_denoise else sigma)

    def inverse_noise_scaling(self, sigma, latent):
        return latent


class V_PREDICTION(EPS):
    sign = -1.0

    def calculate_denoised(self, sigma, model_output, model_input):
        sigma, data = _beside(sigma, model_output), self.sigma_data
        total = sigma**2 + data**2
        return model_input * data**2 / total + self.sign * model_output * sigma * data / torch.sqrt(total)


class EDM(V_PREDICTION):
    sign = 1.0


class CONST:
    """Flow matching; samples (1 - sigma) x_0 + sigma eps."""

    def calculate_input(self, sigma, noise):
        return noise

    def calculate_denoised(self, sigma, model_output, model_input):
        return model_input - _beside(sigma, model_output) * model_output

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        return sigma * noise + (1.0 - sigma) * latent_image

    def inverse_noise_scaling(self, sigma, latent):
        return latent / (1.0 - sigma)


class COSMOS_RFLOW:
    """Flow matching whose samples and sigmas are those of the variance-exploding coordinate."""

    def calculate_input(self, sigma, noise):
        return noise / (1.0 + _beside(sigma, noise))

    def calculate_denoised(self, sigma, model_output, model_input):
        share = _beside(sigma / (1.0 + sigma), model_output)
        return model_input * (1.0 - share) - model_output * share

    noise_scaling, inverse_noise_scaling = EPS.noise_scaling, EPS.inverse_noise_scaling


class _Levels:
    sigma_data = 1.0

    @property
    def sigma_min(self):
        return self.sigmas[0]

    @property
    def sigma_max(self):
        return self.sigmas[-1]


class ModelSamplingDiscrete(_Levels):
    """A noise table; networks are called with the nearest of its numbers."""

    def __init__(self, sigmas):
        self.sigmas = torch.as_tensor(sigmas).float()

    def timestep(self, sigma):
        apart = (sigma.log().reshape(-1, 1) - self.sigmas.log()).abs()
        return apart.argmin(dim=1).reshape(sigma.shape)

    def sigma(self, timestep):
        low = timestep.float().clamp(0, len(self.sigmas) - 1)
        return torch.lerp(self.sigmas[low.floor().long()].log(), self.sigmas[low.ceil().long()].log(), low.frac()).exp()

    def percent_to_sigma(self, percent):
        return self.sigma(torch.tensor((1.0 - percent) * (len(self.sigmas) - 1))).item()


class ModelSamplingContinuousEDM(_Levels):
    """A continuum; networks are called with log(sigma) / 4."""

    def __init__(self, low, high, sigma_data):
        self.sigma_data = sigma_data
        self.sigmas = torch.linspace(math.log(low), math.log(high), 1000).exp()

    def timestep(self, sigma):
        return 0.25 * sigma.log()


class ModelSamplingDiscreteFlow(_Levels):
    """A flow with a shift; networks are called with `multiplier` sigma."""

    def __init__(self, shift=1.0, multiplier=1000):
        self.shift, self.multiplier = shift, multiplier
        self.sigmas = self.sigma(torch.arange(1, 1001) / 1000 * multiplier)

    def timestep(self, sigma):
        return sigma * self.multiplier

    def sigma(self, timestep):
        share = timestep / self.multiplier
        return self.shift * share / (1.0 + (self.shift - 1.0) * share)

    def percent_to_sigma(self, percent):
        return self.sigma((1.0 - percent) * self.multiplier)


class Sampler:
    def max_denoise(self, model_wrap, sigmas):
        highest, first = float(model_wrap.inner_model.model_sampling.sigma_max), float(sigmas[0])
        return first > highest or math.isclose(first, highest, rel_tol=1e-5)


class KSamplerX0Inpaint:
    """What a sampler function calls: the guider, within a mask."""

    def __init__(self, model, sigmas):
        self.inner_model, self.sigmas = model, sigmas

    def __call__(self, x, sigma, denoise_mask, model_options={}, seed=None):  # noqa: B006 (theirs)
        if denoise_mask is None:
            return self.inner_model(x, sigma, model_options=model_options, seed=seed)
        kept = 1.0 - denoise_mask
        noised = self.inner_model.inner_model.scale_latent_inpaint(
            x=x, sigma=sigma, noise=self.noise, latent_image=self.latent_image, denoise_mask=denoise_mask
        )
        out = self.inner_model(x * denoise_mask + noised * kept, sigma, model_options=model_options, seed=seed)
        return out * denoise_mask + self.latent_image * kept


class KSAMPLER(Sampler):
    def __init__(self, sampler_function, extra_options={}, inpaint_options={}):  # noqa: B006 (theirs)
        self.sampler_function, self.extra_options, self.inpaint_options = (
            sampler_function,
            extra_options,
            inpaint_options,
        )

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ):
        extra_args["denoise_mask"] = denoise_mask
        inner = KSamplerX0Inpaint(model_wrap, sigmas)
        inner.latent_image, inner.noise = latent_image, noise
        process, steps = model_wrap.inner_model.model_sampling, len(sigmas) - 1
        noised = process.noise_scaling(sigmas[0], noise, latent_image, self.max_denoise(model_wrap, sigmas))

        def told(facts: dict[str, Any]) -> None:
            if callback is not None:
                callback(facts["i"], facts["denoised"], facts["x"], steps)

        samples = self.sampler_function(
            inner, noised, sigmas, extra_args=extra_args, callback=told, disable=disable_pbar, **self.extra_options
        )
        return process.inverse_noise_scaling(sigmas[-1], samples)


class BaseModel:
    """A network and its `model_sampling`."""

    def __init__(self, model_sampling, network):
        self.model_sampling, self.network, self.calls = model_sampling, network, []

    def apply_model(self, x, sigma):
        process = self.model_sampling
        self.calls.append(sigma[0].item())
        output = self.network(process.calculate_input(sigma, x), process.timestep(sigma).float())
        return process.calculate_denoised(sigma, output, x)

    def scale_latent_inpaint(self, sigma, noise, latent_image, **_):
        return self.model_sampling.noise_scaling(_beside(sigma, noise), noise, latent_image)


class ModelPatcher:
    """What nodes pass on as MODEL."""

    def __init__(self, model):
        self.model = model

    def get_model_object(self, name):
        return getattr(self.model, name)


class CFGGuider:
    def __init__(self, model_patcher):
        self.model_patcher, self.cfg = model_patcher, 1.0

    def set_cfg(self, cfg):
        self.cfg = cfg

    def __call__(self, x, timestep, model_options={}, seed=None):  # noqa: B006 (theirs)
        assert seed is not None and "transformer_options" in model_options  # they are passed on
        return self.inner_model.apply_model(x, timestep)

    def sample(self, noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None, disable_pbar=True, seed=0):
        if sigmas.shape[-1] == 0:
            return latent_image
        self.inner_model = self.model_patcher.model
        extra_args = {"model_options": {"transformer_options": {"sample_sigmas": sigmas}}, "seed": seed}
        with torch.inference_mode():  # as ComfyUI runs its nodes
            return sampler.sample(self, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)


def model(kind: type, levels: type, network: Any, *arguments: Any) -> ModelPatcher:
    """A model as ComfyUI makes it: one class of levels and one of what is predicted."""
    process = type("ModelSampling", (levels, kind), {})(*arguments)
    return ModelPatcher(BaseModel(process, network))


@contextmanager
def importable() -> Iterator[SimpleNamespace]:
    """Within, `comfy.samplers` and `comfy.model_sampling` are these."""
    here = globals()
    rooms = {
        "comfy.samplers": ("Sampler", "KSAMPLER", "CFGGuider", "KSamplerX0Inpaint"),
        "comfy.model_sampling": (
            "EPS",
            "V_PREDICTION",
            "EDM",
            "CONST",
            "COSMOS_RFLOW",
            "ModelSamplingDiscrete",
            "ModelSamplingContinuousEDM",
            "ModelSamplingDiscreteFlow",
        ),
    }
    before = {name: sys.modules.get(name) for name in ("comfy", *rooms)}
    root = sys.modules["comfy"] = ModuleType("comfy")
    root.__path__ = []
    for name, kinds in rooms.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update({one: here[one] for one in kinds})
        setattr(root, name.partition(".")[2], sys.modules[name])
    try:
        yield SimpleNamespace(**{name.partition(".")[2]: sys.modules[name] for name in rooms})
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module
