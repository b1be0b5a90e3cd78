"""Learned times in Diffusers' pipelines: how many calls, at which times, from which level in image to image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.maths.noise import vp_schedule
from diffusers_deis_sn.maths.runge_kutta import TABLEAUX
from oracles import SD_BETAS
from records import costed_record
from tiny_pipelines import (
    BUILDERS,
    CLIP_WIDTH,
    PIXELS,
    PROMPT,
    clip_text_config,
    clip_tokenizer,
    image,
    sd_components,
    vae,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # Diffusers calls NumPy on tensors

Family = tuple[Callable[[], DiffusionPipeline], dict[str, Any]]


# ---------------------------------------------------------------------------------------------------- more pipelines


def nine_channels() -> dict[str, Any]:
    """Components whose U-Net also sees the mask and the masked picture."""
    components = sd_components()
    config = {**components["unet"].config, "in_channels": 9}
    return components | {"unet": diffusers.UNet2DConditionModel.from_config(config)}


def controlnet() -> diffusers.ControlNetModel:
    return diffusers.ControlNetModel(
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=CLIP_WIDTH,
        conditioning_embedding_out_channels=(8, 16),
    )


def sdxl_components() -> dict[str, Any]:
    unet = diffusers.UNet2DConditionModel(
        sample_size=PIXELS // 2,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        transformer_layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=(1, 2),
        use_linear_projection=True,
        cross_attention_dim=2 * CLIP_WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + CLIP_WIDTH,
    )
    return {
        "unet": unet,
        "vae": vae(),
        "scheduler": diffusers.EulerDiscreteScheduler(**SD_BETAS, steps_offset=1, timestep_spacing="leading"),
        "text_encoder": CLIPTextModel(clip_text_config()),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": CLIPTextModelWithProjection(clip_text_config()),
        "tokenizer_2": clip_tokenizer(),
        "add_watermarker": False,
    }


def dit() -> DiffusionPipeline:
    transformer = diffusers.DiTTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        num_attention_heads=3,
        attention_head_dim=8,
        num_embeds_ada_norm=1000,
    )
    return diffusers.DiTPipeline(transformer, vae(), diffusers.DDIMScheduler(**SD_BETAS), {0: "fox", 1: "owl"})


def kandinsky(pipeline: type[DiffusionPipeline]) -> DiffusionPipeline:
    """A decoder of Kandinsky 2.2, which gives `step` twice the channels and never calls `set_begin_index`."""
    unet = diffusers.UNet2DConditionModel(
        in_channels=4,
        out_channels=8,
        block_out_channels=(16, 32),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
        cross_attention_dim=24,
        encoder_hid_dim=20,
        encoder_hid_dim_type="image_proj",
        addition_embed_type="image",
        resnet_time_scale_shift="scale_shift",
    )
    movq = diffusers.VQModel(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=16,
        vq_embed_dim=4,
    )
    scheduler = diffusers.DDPMScheduler(**SD_BETAS, variance_type="learned_range", clip_sample=False)
    return pipeline(unet=unet, movq=movq, scheduler=scheduler)


IMAGE = {**PROMPT, "image": image()}
MASK = torch.zeros(1, 1, PIXELS, PIXELS)
MASK[..., 8:24, 8:24] = 1.0
MASKED = {**IMAGE, "mask_image": MASK, "height": PIXELS, "width": PIXELS}
EMBEDS = {"image_embeds": torch.full((1, 20), 0.3), "negative_image_embeds": torch.zeros(1, 20), "output_type": "np"}
SIZE, NP = {"height": PIXELS, "width": PIXELS}, {"output_type": "np"}

TEXT_TO_IMAGE: dict[str, Family] = {
    "sd": (lambda: BUILDERS["sd"]()[0], PROMPT),
    "ddpm": (lambda: diffusers.DDPMPipeline(BUILDERS["ddpm"]()[0].unet, diffusers.DDPMScheduler(**SD_BETAS)), NP),
    "sdxl": (lambda: diffusers.StableDiffusionXLPipeline(**sdxl_components()), PROMPT),
    "controlnet": (
        lambda: diffusers.StableDiffusionControlNetPipeline(**sd_components(), controlnet=controlnet()),
        IMAGE,
    ),
    "dit": (dit, {"class_labels": [1]} | NP),
    "kandinsky": (lambda: kandinsky(diffusers.KandinskyV22Pipeline), EMBEDS | SIZE),
}
IMAGE_TO_IMAGE: dict[str, Family] = {
    "sd": (lambda: diffusers.StableDiffusionImg2ImgPipeline(**sd_components()), IMAGE),
    "inpaint": (lambda: diffusers.StableDiffusionInpaintPipeline(**sd_components()), MASKED),
    "inpaint, nine channels": (lambda: diffusers.StableDiffusionInpaintPipeline(**nine_channels()), MASKED),
    "sdxl": (lambda: diffusers.StableDiffusionXLImg2ImgPipeline(**sdxl_components()), IMAGE),
    "sdxl inpaint": (lambda: diffusers.StableDiffusionXLInpaintPipeline(**sdxl_components()), MASKED),
    "controlnet": (
        lambda: diffusers.StableDiffusionControlNetImg2ImgPipeline(**sd_components(), controlnet=controlnet()),
        IMAGE | {"control_image": image()},
    ),
}


class Studio:
    """A tiny pipeline, with the times and samples that its network was called with."""

    def __init__(self, family: Family, **options: Any):
        build, self.arguments = family
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.pipe: Any = build()
        self.pipe.set_progress_bar_config(disable=True)
        self.config = self.pipe.scheduler.config
        self.use(ScoreOptimalScheduler, stats=STATS, **options)
        self.network = getattr(self.pipe, "unet", None) or self.pipe.transformer
        self.network.register_forward_pre_hook(self._see, with_kwargs=True)
        self.times: list[float] = []
        self.inputs: list[torch.Tensor] = []

    def use(self, scheduler: type, **options: Any) -> None:
        self.pipe.scheduler = scheduler.from_config(self.config, **options)

    def _see(self, _: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        time = options["timestep"] if "timestep" in options else arguments[1]
        self.times.append(float(torch.as_tensor(time).flatten()[0]))
        self.inputs.append((options["sample"] if "sample" in options else arguments[0]).clone())

    def run(self, steps: int, **options: Any) -> torch.Tensor:
        self.times, self.inputs = [], []
        settings = {"num_inference_steps": steps, "generator": torch.Generator().manual_seed(0)}
        output = self.pipe(**self.arguments | settings | options)
        return torch.as_tensor(np.asarray(output.images))

    @property
    def scheduler(self) -> ScoreOptimalScheduler:
        return self.pipe.scheduler


SD = vp_schedule(**SD_BETAS)
STATS = costed_record(SD)


def learned_times(steps: int, **options: Any) -> list[float]:
    """Times of a run from pure noise."""
    scheduler = ScoreOptimalScheduler(**SD_BETAS, stats=STATS, **options)
    scheduler.set_timesteps(steps)
    return scheduler.timesteps.tolist()


def check_steps_from(scheduler: ScoreOptimalScheduler, begin: int, share: float) -> None:
    """Assert that the steps from `begin` on start at a share of the process and have equal lengths of path."""
    plan = scheduler._plan
    starts = [level for level, is_start in zip(plan.levels[:-1], plan.starts, strict=True) if is_start][begin:]
    assert SD.progress(starts[0]) == pytest.approx(share, rel=1e-9)
    position = np.append(scheduler.path.position(starts), 0.0)  # the last step goes on from the end of the path
    assert np.allclose(np.diff(position), np.diff(position).mean(), rtol=1e-5) and plan.levels[-1] == 0.0


# ------------------------------------------------------------------------------------------------------ text to image


@pytest.mark.parametrize("family", TEXT_TO_IMAGE)
@pytest.mark.parametrize("steps", [1, 4])
def test_n_calls_at_the_learned_times(family, steps):
    studio = Studio(TEXT_TO_IMAGE[family])
    images = studio.run(steps)
    assert torch.all(torch.isfinite(images)) and images.std() > 0.0
    assert studio.times == learned_times(steps)
    assert studio.scheduler.step_index == steps


def test_whole_times_reach_the_network_as_integers():
    studio = Studio(TEXT_TO_IMAGE["dit"], whole_timesteps=True)
    studio.run(5)
    assert studio.times == learned_times(5, whole_timesteps=True)
    assert studio.scheduler.timesteps.dtype == torch.int64


@pytest.mark.parametrize("given", [{"timesteps": [999, 612, 33]}, {"sigmas": [14.0, 2.0, 0.1]}], ids=str)
def test_times_given_to_the_pipeline_win(given):
    studio = Studio(TEXT_TO_IMAGE["sd"])
    studio.run(50, **given)
    expected = given.get("timesteps") or SD.time(given["sigmas"])
    assert studio.times == pytest.approx(list(expected), rel=1e-6)


def test_a_saved_pipeline_comes_back_with_its_times(tmp_path):
    studio = Studio(TEXT_TO_IMAGE["sd"], cost="predictor")
    before = studio.run(3)
    studio.pipe.save_pretrained(tmp_path)
    again = type(studio.pipe).from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert isinstance(again.scheduler, ScoreOptimalScheduler) and again.scheduler.statistics == STATS
    images = again(**PROMPT, num_inference_steps=3, generator=torch.Generator().manual_seed(0)).images
    assert again.scheduler.timesteps.tolist() == studio.times
    assert np.allclose(np.asarray(images), before, atol=1e-4)


# ----------------------------------------------------------------------------------------------------- image to image


@pytest.mark.parametrize("family", IMAGE_TO_IMAGE)
@pytest.mark.parametrize(("steps", "strength"), [(5, 0.6), (10, 0.35)])
def test_a_run_starts_at_its_strength_and_has_equal_steps_from_there(family, steps, strength):
    studio = Studio(IMAGE_TO_IMAGE[family])
    images = studio.run(steps, strength=strength)
    calls = int(steps * strength)
    begin = steps - calls
    assert len(studio.times) == calls and studio.scheduler.begin_index == begin
    assert studio.times == studio.scheduler.timesteps[begin:].tolist()
    assert studio.times != learned_times(steps)[begin:]
    check_steps_from(studio.scheduler, begin, calls / steps)
    assert torch.all(torch.isfinite(images)) and images.std() > 0.0


@pytest.mark.parametrize("family", IMAGE_TO_IMAGE)
def test_the_image_is_noised_to_the_level_of_trailing_times(family):
    """The network's first call is, sample and time, that of `DEISSNScheduler` on its trailing grid."""
    studio = Studio(IMAGE_TO_IMAGE[family])
    firsts = []
    for scheduler in (ScoreOptimalScheduler, DEISSNScheduler):
        studio.use(scheduler, stats=STATS)
        studio.run(10, strength=0.6)
        firsts.append((studio.times[0], studio.inputs[0]))
    assert firsts[0][0] == pytest.approx(firsts[1][0], abs=1e-3) and firsts[0][0] == pytest.approx(599.0, abs=1e-3)
    assert torch.allclose(firsts[0][1], firsts[1][1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["sd", "inpaint", "sdxl"])
def test_full_strength_is_a_run_from_the_start(family):
    studio = Studio(IMAGE_TO_IMAGE[family])
    studio.run(6, strength=1.0)
    assert studio.times == learned_times(6) and studio.scheduler.begin_index == 0


@pytest.mark.parametrize("solver", ["heun", "kutta3", "rk4"])
@pytest.mark.parametrize("family", ["sd", "inpaint", "sdxl"])
def test_solvers_of_several_calls_begin_with_a_step(family, solver):
    studio = Studio(IMAGE_TO_IMAGE[family], solver=solver)
    studio.run(5, strength=0.6)
    stages, last = len(TABLEAUX[solver]), len(TABLEAUX[TABLEAUX[solver].at_clean or solver])
    assert studio.scheduler.begin_index == 2 * stages
    assert len(studio.times) == 2 * stages + last
    assert studio.times == studio.scheduler.timesteps[2 * stages :].tolist()
    check_steps_from(studio.scheduler, 2, 0.6)


def test_whole_times_in_image_to_image():
    studio = Studio(IMAGE_TO_IMAGE["sd"], whole_timesteps=True)
    studio.run(10, strength=0.6)
    assert studio.times[0] == 599.0 and all(time.is_integer() for time in studio.times)
    assert studio.times == studio.scheduler.timesteps[4:].tolist()


def test_given_times_are_cut_and_not_planned_anew():
    studio = Studio(IMAGE_TO_IMAGE["sd"])
    times = [990, 700, 450, 300, 120]
    studio.run(5, strength=0.6, timesteps=times)
    assert studio.times == times[2:]


def test_every_run_starts_afresh():
    """One scheduler for runs of one strength, of another, and from pure noise."""
    studio, text = Studio(IMAGE_TO_IMAGE["sd"]), Studio(TEXT_TO_IMAGE["sd"])
    first, plain = studio.run(8, strength=0.3), text.run(8)
    assert not torch.equal(studio.run(8, strength=0.8), first)
    text.pipe.scheduler = studio.pipe.scheduler
    assert torch.equal(text.run(8), plain) and text.times == learned_times(8)
    assert torch.equal(studio.run(8, strength=0.3), first)


# --------------------------------------------------------------------------------------------- ensembles of experts


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_an_ensemble_of_experts_cuts_one_run_by_value(share):
    """SDXL's base goes to a share of the process and its refiner on from there, both through the times of one run."""
    base, refiner = Studio(TEXT_TO_IMAGE["sdxl"]), Studio(IMAGE_TO_IMAGE["sdxl"])
    latents = base.run(10, denoising_end=share, output_type="latent")
    refiner.run(10, image=latents, denoising_start=share)
    times, cut = learned_times(10), 1000.0 - 1000.0 * share
    assert base.times == [time for time in times if time >= cut]
    assert refiner.times == [time for time in times if time < cut]
    assert refiner.times and base.times
    assert refiner.scheduler.timesteps.tolist() == times
    assert refiner.scheduler.begin_index == len(base.times)


def test_with_one_output_both_experts_together_are_one_run():
    """The same weights in both: what the base leaves is what the refiner takes up, without noise of its own."""
    options = {"solver_order": 1, "corrector_order": 0}
    base, refiner = Studio(TEXT_TO_IMAGE["sdxl"], **options), Studio(IMAGE_TO_IMAGE["sdxl"], **options)
    guided = {"output_type": "latent", "guidance_scale": 3.0}
    whole = base.run(10, **guided)
    latents = base.run(10, **guided, denoising_end=0.6)
    end = refiner.run(10, **guided, image=latents, denoising_start=0.6)
    assert torch.allclose(end, whole, rtol=1e-4, atol=1e-4 * whole.abs().max().item())
    assert not torch.allclose(latents, whole, rtol=0.1)


def test_strength_plans_anew_and_the_end_is_cut_by_value():
    studio = Studio(IMAGE_TO_IMAGE["sdxl"])
    studio.run(10, strength=0.6, denoising_end=0.8)
    check_steps_from(studio.scheduler, 4, 0.6)
    assert studio.times == [time for time in studio.scheduler.timesteps[4:].tolist() if time >= 200.0]


def test_an_expert_for_painting_cuts_by_value_too():
    """Within its loop this pipeline adds noise again and again."""
    studio = Studio(IMAGE_TO_IMAGE["sdxl inpaint"])
    studio.run(10, denoising_start=0.6)
    assert studio.times == [time for time in learned_times(10) if time < 400.0]


# ---------------------------------------------------------------------------------------- pipelines of other manners


def test_a_pipeline_that_sets_no_begin_runs_through_the_last_learned_times():
    """Kandinsky's finds its first step by the time, whose noise the image has: a list that is cut."""
    studio = Studio((lambda: kandinsky(diffusers.KandinskyV22Img2ImgPipeline), EMBEDS | SIZE | {"image": image()}))
    images = studio.run(10, strength=0.4)
    assert studio.scheduler.begin_index is None
    assert studio.times == learned_times(10)[6:] and len(studio.times) == 4
    assert torch.all(torch.isfinite(images)) and images.std() > 0.0


class Keeper(diffusers.StableDiffusionImg2ImgPipeline):
    """Walks through a copy of the times."""

    def get_timesteps(self, *arguments: Any) -> Any:
        timesteps, number = super().get_timesteps(*arguments)
        return timesteps.clone(), number


def test_a_pipeline_that_kept_the_old_times_is_told_so():
    studio = Studio((lambda: Keeper(**sd_components()), IMAGE))
    with pytest.raises(StepError, match=r"Step 4 of this run is at timestep 599, .* `scheduler.timesteps`"):
        studio.run(10, strength=0.6)
    studio.run(10, strength=1.0)  # nothing to plan anew
    assert studio.times == learned_times(10)
