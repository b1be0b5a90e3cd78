"""The catalogue: every family of pipelines, what is done to use our schedulers in it, and why where nothing helps."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import diffusers

SWAP = "swap"
ASSIGN = "assign"
REFUSED = "refused"
REPLACED = "replaced"

HOW = {
    SWAP: "`from_config` of the pipeline's scheduler",
    ASSIGN: "`from_config`, assigned after construction and after every load",
    REFUSED: "no: `from_config` refuses its config",
    REPLACED: "no: the pipeline wants another kind of scheduler",
}


@dataclass(frozen=True)
class Family:
    """One row of the table whose pipeline runs.

    Attributes:
        name: Title of the row.
        builder: Name of the tiny pipeline.
        pipeline: Its class.
        how: SWAP or ASSIGN.
        remark: What a user has to know.
        calls_per_step: Calls of the network in a step, for pipelines that do not batch their guidance.
        process: "vp", "flow" or "edm".
        given_sigmas: Whether the pipeline hands its own sigmas to the scheduler.
    """

    name: str
    builder: str
    pipeline: str
    how: str = SWAP
    remark: str = ""
    calls_per_step: int = 1
    process: str = "vp"
    given_sigmas: bool = False

    @property
    def arguments(self) -> set[str]:
        """Names of the arguments that the pipeline can be called with."""
        return set(inspect.signature(getattr(diffusers, self.pipeline).__call__).parameters)

    @property
    def flow(self) -> bool:
        """Whether its model is one of flow matching."""
        return self.process == "flow"

    @property
    def offloads(self) -> bool:
        """Whether its pipeline can offload whole models."""
        pipeline = getattr(diffusers, self.pipeline)
        return pipeline.model_cpu_offload_seq is not None or "enable_model_cpu_offload" in vars(pipeline)

    def __str__(self) -> str:
        return self.builder


SD = "Stable Diffusion"
XL = "Stable Diffusion XL"
LEARNED = "the learned variance among the network's outputs is dropped"
CUT = "its list of times is cut, so that learned times are those of a whole run"
TWICE = "guidance is a second call of the network"

FAMILIES = (
    Family(f"{SD} 1 and 2", "sd", "StableDiffusionPipeline"),
    Family(f"{SD}, image to image", "sd_img2img", "StableDiffusionImg2ImgPipeline"),
    Family(f"{SD}, inpainting", "sd_inpaint", "StableDiffusionInpaintPipeline", remark="4 channels"),
    Family(f"{SD}, inpainting", "sd_inpaint9", "StableDiffusionInpaintPipeline", remark="9 channels"),
    Family(f"{SD}, ControlNet", "sd_controlnet", "StableDiffusionControlNetPipeline"),
    Family(f"{SD}, ControlNet, image to image", "sd_controlnet_img2img", "StableDiffusionControlNetImg2ImgPipeline"),
    Family("InstructPix2Pix", "instruct_pix2pix", "StableDiffusionInstructPix2PixPipeline"),
    Family(XL, "sdxl", "StableDiffusionXLPipeline"),
    Family(f"{XL}, image to image", "sdxl_img2img", "StableDiffusionXLImg2ImgPipeline"),
    Family(f"{XL}, inpainting", "sdxl_inpaint", "StableDiffusionXLInpaintPipeline"),
    Family("Marigold depth", "marigold", "MarigoldDepthPipeline"),
    Family("AnimateDiff", "animatediff", "AnimateDiffPipeline"),
    Family("CogVideoX", "cogvideox", "CogVideoXPipeline"),
    Family("DiT", "dit", "DiTPipeline", remark="the pipeline cuts the learned variance off"),
    Family("PixArt-α", "pixart_alpha", "PixArtAlphaPipeline", remark="the pipeline cuts the learned variance off"),
    Family("PixArt-Σ", "pixart_sigma", "PixArtSigmaPipeline", remark="the pipeline cuts the learned variance off"),
    Family("Latte", "latte", "LattePipeline", remark=LEARNED),
    Family("AudioLDM 2", "audioldm2", "AudioLDM2Pipeline"),
    Family("Kandinsky 2.2", "kandinsky22", "KandinskyV22Pipeline", remark=f"{LEARNED}; its prior keeps UnCLIP's"),
    Family(
        "Kandinsky 2.2, image to image",
        "kandinsky22_img2img",
        "KandinskyV22Img2ImgPipeline",
        remark=f"{LEARNED}; {CUT}",
    ),
    Family("DeepFloyd IF", "deepfloyd", "IFPipeline", remark=LEARNED),
    Family("DeepFloyd IF, image to image", "deepfloyd_img2img", "IFImg2ImgPipeline", remark=LEARNED),
    Family("DeepFloyd IF, inpainting", "deepfloyd_inpaint", "IFInpaintingPipeline", remark=LEARNED),
    Family("Unconditional DDPM", "ddpm", "DDPMPipeline"),
    Family(
        "Unconditional DDIM", "ddim", "DDIMPipeline", ASSIGN, "its constructor, and so loading it, makes DDIM of any"
    ),
    Family(
        "Unconditional PNDM", "pndm", "PNDMPipeline", ASSIGN, "its constructor, and so loading it, makes PNDM of any"
    ),
    Family(f"{SD} 3", "sd3", "StableDiffusion3Pipeline", process="flow"),
    Family(f"{SD} 3.5, dynamic shift", "sd3_dynamic", "StableDiffusion3Pipeline", process="flow"),
    Family(f"{SD} 3, image to image", "sd3_img2img", "StableDiffusion3Img2ImgPipeline", process="flow"),
    Family(f"{SD} 3, inpainting", "sd3_inpaint", "StableDiffusion3InpaintPipeline", process="flow"),
    Family("Flux", "flux", "FluxPipeline", process="flow"),
    Family("Flux, image to image", "flux_img2img", "FluxImg2ImgPipeline", process="flow", given_sigmas=True),
    Family("Flux, inpainting", "flux_inpaint", "FluxInpaintPipeline", process="flow", given_sigmas=True),
    Family("Chroma", "chroma", "ChromaPipeline", calls_per_step=2, remark=TWICE, process="flow", given_sigmas=True),
    Family("Sana", "sana", "SanaPipeline", process="flow"),
    Family("Lumina 2", "lumina2", "Lumina2Pipeline", calls_per_step=2, remark=TWICE, process="flow", given_sigmas=True),
    Family("AuraFlow", "aura_flow", "AuraFlowPipeline", process="flow"),
    Family(
        "CogView 4", "cogview4", "CogView4Pipeline", calls_per_step=2, remark=TWICE, process="flow", given_sigmas=True
    ),
    Family("LTX-Video", "ltx", "LTXPipeline", process="flow", given_sigmas=True),
    Family(
        "LTX-Video from an image", "ltx_image_to_video", "LTXImageToVideoPipeline", process="flow", given_sigmas=True
    ),
    Family("Wan", "wan", "WanPipeline", calls_per_step=2, remark=TWICE, process="flow"),
    Family("Wan, FlowMatchEuler", "wan_flow_euler", "WanPipeline", calls_per_step=2, remark=TWICE, process="flow"),
    Family(
        "Stable Video Diffusion",
        "svd",
        "StableVideoDiffusionPipeline",
        remark="the process is that of EDM, by its config",
        process="edm",
    ),
)
"""Families that run."""

BY_NAME = {family.builder: family for family in FAMILIES}
ONE_OF_EACH_PROCESS = ("sd", "sd3", "svd")


def families(argument: str) -> list[Family]:
    """Those whose pipeline takes an argument of this name, and needs nothing but a swap."""
    return [family for family in FAMILIES if argument in family.arguments and family.how == SWAP]


def pairs(chosen: list[Family]) -> list[tuple[Family, str]]:
    """Families and schedulers for tests that the choice of the scheduler hardly touches: `DEISSNScheduler` in all."""
    both = [(BY_NAME[name], "ScoreOptimalScheduler") for name in ONE_OF_EACH_PROCESS if BY_NAME[name] in chosen]
    return [(family, "DEISSNScheduler") for family in chosen] + both


@dataclass(frozen=True)
class Impossible:
    """One row of the table whose pipeline cannot use another scheduler.

    Attributes:
        name: Title of the row.
        pipelines: Their classes.
        how: REFUSED or REPLACED.
        reason: Why not.
        ships: Class of the scheduler that such a pipeline ships, if its config is one that `from_config` has to refuse.
        config: What such a config says that is not that class's default.
    """

    name: str
    pipelines: tuple[str, ...]
    how: str
    reason: str
    ships: str = ""
    config: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return self.name

    def shipped(self) -> dict[str, Any]:
        """The config, as it is in memory: without the name of its class."""
        if self.ships == "CosineDPMSolverMultistepScheduler":  # Diffusers hides it where torchsde is not installed
            return dict(COSINE_DPM)
        return dict(getattr(diffusers, self.ships)(**dict(self.config)).config)


COSINE_DPM = {
    "sigma_min": 0.3,
    "sigma_max": 500.0,
    "sigma_data": 1.0,
    "sigma_schedule": "exponential",
    "num_train_timesteps": 1000,
    "solver_order": 2,
    "prediction_type": "v_prediction",
    "rho": 7.0,
    "solver_type": "midpoint",
    "lower_order_final": True,
    "euler_at_final": False,
    "final_sigmas_type": "zero",
}

IMPOSSIBLE = (
    Impossible(
        "LEDITS++",
        ("LEditsPPPipelineStableDiffusion", "LEditsPPPipelineStableDiffusionXL"),
        REPLACED,
        "inverts an image with the noise of a stochastic solver; replaces all but DDIM and DPM-Solver++ SDE by the "
        "latter, with a warning",
    ),
    Impossible(
        "RePaint",
        ("RePaintPipeline",),
        REPLACED,
        "goes back and forth in time with `undo_step`, and hands image and mask to `step`",
    ),
    Impossible(
        "KarrasVe",
        ("KarrasVePipeline",),
        REFUSED,
        "adds noise by `add_noise_to_input` and corrects by `step_correct`",
        "KarrasVeScheduler",
    ),
    Impossible(
        "ScoreSdeVe",
        ("ScoreSdeVePipeline",),
        REFUSED,
        "a stochastic predictor and corrector, `step_pred` and `step_correct`",
        "ScoreSdeVeScheduler",
    ),
    Impossible(
        "CycleDiffusion",
        ("CycleDiffusionPipeline",),
        REPLACED,
        "reads the noise out of DDIM's variance, at `eta` > 0",
    ),
    Impossible(
        "Consistency models",
        ("ConsistencyModelPipeline",),
        REFUSED,
        "the network jumps to clean data in one call; there is no flow to integrate",
        "CMStochasticIterativeScheduler",
    ),
    Impossible(
        "Stable Audio",
        ("StableAudioPipeline",),
        REFUSED,
        "labels its noise levels by atan(σ), which no `process` here does",
        "CosineDPMSolverMultistepScheduler",
    ),
    Impossible(
        "Cosmos 1",
        ("CosmosTextToWorldPipeline", "CosmosVideoToWorldPipeline"),
        REPLACED,
        "reads a second output of `step` and sets the number of the step back",
    ),
    Impossible(
        "Stable Cascade",
        ("StableCascadePriorPipeline", "StableCascadeDecoderPipeline"),
        REFUSED,
        "its scheduler counts time from 1 to 0, in a cosine schedule of its own",
        "DDPMWuerstchenScheduler",
    ),
    Impossible(
        "UnCLIP and the priors of Kandinsky",
        ("UnCLIPPipeline", "KandinskyPriorPipeline", "KandinskyV22PriorPipeline"),
        REPLACED,
        "draw noise of their own variance, and clamp what they predict",
    ),
)
"""Families that cannot run, each with its reason."""
