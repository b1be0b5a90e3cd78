"""Calibration of pipelines: the numbers against a closed form, the manners against pipelines that misbehave."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from diffusers_deis_sn.collect.recorder import RecordingScheduler
from diffusers_deis_sn.collect.run import calibrate, recording
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.schedulers.deis_sn import DEISSNScheduler
from diffusers_deis_sn.schedulers.score_optimal import ScoreOptimalScheduler
from diffusers_deis_sn.statistics import ScoreStatistics
from diffusers_deis_sn.statistics.origin import hash_prompts
from tiny_pipelines import BUILDERS

PROMPTS = ["a red seven", "a blue two", "a green four"]
QUICK = {"num_samples": 4, "num_inference_steps": 4, "batch_size": 2, "trials": 0, "progress": False}


class GaussianPipeline:
    """An unconditional pipeline with the exact network of data N(0, std^2), sigma x / (alpha^2 std^2 + sigma^2)."""

    def __init__(self, std: float = 0.3, event: tuple[int, ...] = (3, 16, 16), **config):
        self.std, self.event = std, event
        self.scheduler = DDIMScheduler(**config)
        self.batches: list[int] = []
        self.fail_at_call: tuple[int, BaseException] | None = None

    def network(self, x: Tensor, t: Tensor) -> Tensor:
        alpha = float(self.scheduler.alphas_cumprod[int(t)]) ** 0.5
        sigma = (1.0 - alpha**2) ** 0.5
        epsilon = sigma * x / (alpha**2 * self.std**2 + sigma**2)
        if self.scheduler.config.prediction_type == "v_prediction":
            return alpha * epsilon - sigma * (x - sigma * epsilon) / alpha
        return epsilon

    def __call__(self, batch_size=1, generator=None, num_inference_steps=50, temperature=1.0):
        self.batches.append(batch_size)
        if self.fail_at_call and len(self.batches) == self.fail_at_call[0]:
            raise self.fail_at_call[1]
        generators = generator if isinstance(generator, list) else [generator] * batch_size
        noise = [torch.randn(self.event, generator=one, dtype=torch.float64) for one in generators]
        x = torch.stack(noise) * temperature * self.scheduler.init_noise_sigma
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.scheduler.timesteps:
            x = self.scheduler.step(self.network(x, t), t, x).prev_sample
        return SimpleNamespace(images=x)


@pytest.fixture(scope="module")
def gaussian() -> ScoreStatistics:
    options = {"num_inference_steps": 200, "batch_size": 8, "trials": 0, "progress": False}
    return calibrate(GaussianPipeline(), num_samples=20, **options)


# ------------------------------------------------------------------------------------------------------- the numbers


def test_gaussian_data_give_the_closed_form_within_the_error_bars(gaussian):
    rho = np.exp(-0.5 * gaussian.log_snr)
    r = np.sqrt(2.0 / np.pi) * rho / np.sqrt(0.3**2 + rho**2)
    # Along the flow eps of a Gaussian only changes its length, so all times share one deviation.
    assert np.max(np.abs(gaussian.mean_abs - r) / gaussian.mean_abs_error) < 3.0
    assert np.max(np.abs(gaussian.mean_square - np.pi / 2.0 * r**2) / gaussian.mean_square_error) < 3.0
    assert np.max(gaussian.mean_abs_error / r) < 0.01
    assert np.ptp(gaussian.mean_abs / r) < 2e-3 * np.mean(gaussian.mean_abs / r)


def test_error_bars_are_those_of_independent_normal_numbers(gaussian):
    # |z| of one component has the standard deviation sqrt(1 - 2/pi); 20 samples of 768 components.
    expected = np.sqrt((1.0 - 2.0 / np.pi) / (20 * 768)) * gaussian.mean_abs[-1] / np.sqrt(2.0 / np.pi)
    assert gaussian.mean_abs_error[-1] == pytest.approx(expected, rel=0.5)


def test_distinct_whole_times_dense_next_to_clean_data_are_measured(gaussian):
    """Uniform in the root of time but for rounding, where there are as many whole times."""
    times = gaussian.timesteps
    assert (
        len(times) == 200 and times[0] == 0.0 and times[-1] == 999.0 and np.array_equal(times, np.unique(times.round()))
    )
    apart = np.diff(np.sqrt(times[100:] + 1.0))
    assert apart == pytest.approx(np.full(99, np.sqrt(1000.0) / 200), rel=0.2)  # rounded to whole times
    assert np.all(gaussian.num_samples == 20)


def test_runs_that_may_start_half_way_are_measured_at_uniform_times():
    pipe, arguments = BUILDERS["sd_img2img"]()
    arguments = {key: value for key, value in arguments.items() if key not in ("prompt", "output_type")}
    statistics = calibrate(pipe, PROMPTS, **QUICK | arguments | {"strength": 1.0})
    assert statistics.timesteps.tolist() == [0.0, 249.0, 499.0, 749.0, 999.0] and "trailing" in statistics.origin.solver


def test_v_prediction_of_the_same_data_has_the_same_epsilon(gaussian):
    pipe = GaussianPipeline(prediction_type="v_prediction")
    options = {"num_inference_steps": 200, "batch_size": 8, "trials": 0, "progress": False}
    statistics = calibrate(pipe, num_samples=20, **options)
    np.testing.assert_allclose(statistics.mean_abs, gaussian.mean_abs, rtol=1e-5)
    assert statistics.origin.prediction_type == "v_prediction"


def test_what_is_measured_does_not_depend_on_the_scheduler_that_was_there(tmp_path):
    pipe = GaussianPipeline()
    expected = calibrate(pipe, **QUICK)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, use_karras_sigmas=True, solver_order=2, timestep_spacing="linspace"
    )
    assert calibrate(pipe, **QUICK) == expected
    pipe.scheduler = DEISSNScheduler.from_config(
        pipe.scheduler.config,
        stats=expected.save(tmp_path),
        solver=Multistep(1, "log_rho"),
        use_karras_sigmas=False,
    )
    assert calibrate(pipe, **QUICK) == expected


def test_the_split_into_batches_does_not_matter():
    records = [calibrate(GaussianPipeline(), **(QUICK | {"num_samples": 7, "batch_size": b})) for b in (1, 3, 7, 100)]
    for record in records[1:]:
        assert record.origin == records[0].origin
        assert np.array_equal(record.num_samples, records[0].num_samples)
        np.testing.assert_allclose(record.mean_abs, records[0].mean_abs, rtol=1e-13)
        np.testing.assert_allclose(record.mean_square_error, records[0].mean_square_error, rtol=1e-10)


def test_a_remainder_makes_a_smaller_batch():
    pipe = GaussianPipeline()
    statistics = calibrate(pipe, **(QUICK | {"num_samples": 7, "batch_size": 3}))
    assert pipe.batches == [3, 3, 1]
    assert np.all(statistics.num_samples == 7)


def test_the_seed_decides():
    first, again, other = (calibrate(GaussianPipeline(), seed=seed, **QUICK) for seed in (5, 5, 6))
    assert first == again
    assert first.origin.seed == 5
    assert not np.array_equal(first.mean_abs, other.mean_abs)


def test_further_arguments_reach_the_pipeline():
    plain, hot = (calibrate(GaussianPipeline(), temperature=t, **QUICK) for t in (1.0, 2.0))
    np.testing.assert_allclose(hot.mean_abs, 2.0 * plain.mean_abs, rtol=1e-10)


# ---------------------------------------------------------------------------------------------------- real pipelines


def calibrate_tiny(name: str, prompts: list[str] | None = None, **options) -> ScoreStatistics:
    pipe, call_kwargs = BUILDERS[name]()
    for key in ("prompt", "output_type"):
        call_kwargs.pop(key, None)
    return calibrate(pipe, prompts, **(QUICK | call_kwargs | options))


def test_an_unconditional_pipeline():
    statistics = calibrate_tiny("ddpm")
    assert statistics.timesteps.tolist() == [0.0, 62.0, 249.0, 562.0, 999.0]  # (n / 4)^2 of 1000, and the cleanest
    assert statistics.origin.sample_shape == (3, 16, 16)
    assert statistics.origin.guidance_scale == 1.0  # none: the network's own output
    assert statistics.origin.prompts_hash is None


def test_stable_diffusion_whatever_the_batches():
    whole, split = (calibrate_tiny("sd", PROMPTS, num_samples=5, batch_size=size) for size in (5, 2))
    assert whole.origin == split.origin
    np.testing.assert_allclose(split.mean_abs, whole.mean_abs, rtol=1e-5)
    np.testing.assert_allclose(split.mean_abs_error, whole.mean_abs_error, rtol=1e-3)


def test_prompts_are_used_in_turn():
    repeated = calibrate_tiny("sd", PROMPTS, num_samples=5)
    spelled_out = calibrate_tiny("sd", [*PROMPTS, *PROMPTS], num_samples=5)
    assert np.array_equal(repeated.mean_abs, spelled_out.mean_abs)
    assert not np.array_equal(repeated.mean_abs, calibrate_tiny("sd", PROMPTS[:1], num_samples=5).mean_abs)
    assert repeated.origin.prompts_hash == hash_prompts(PROMPTS)


def test_the_guided_output_is_what_is_measured():
    plain, guided = (calibrate_tiny("sd", PROMPTS, guidance_scale=scale) for scale in (1.0, 15.0))
    assert (plain.origin.guidance_scale, guided.origin.guidance_scale) == (1.0, 15.0)
    assert np.max(np.abs(guided.mean_abs / plain.mean_abs - 1.0)) > 1e-3
    assert calibrate_tiny("sd", PROMPTS).origin.guidance_scale == 7.5  # the pipeline's own default


def test_other_texts_are_spread_over_the_batch():
    plain, negative = (calibrate_tiny("sd", PROMPTS, negative_prompt=text) for text in ("", "a very dull picture"))
    assert not np.array_equal(plain.mean_abs, negative.mean_abs)


def test_embeddings_instead_of_prompts():
    pipe, _ = BUILDERS["sd"]()
    embeds, negative = pipe.encode_prompt(PROMPTS[:2], "cpu", 1, True, negative_prompt=["", ""])
    from_embeds = calibrate(pipe, prompt_embeds=embeds, negative_prompt_embeds=negative, **(QUICK | {"num_samples": 3}))
    from_texts = calibrate(pipe, PROMPTS[:2], **(QUICK | {"num_samples": 3}))
    assert np.all(from_embeds.num_samples == 3)
    np.testing.assert_allclose(from_embeds.mean_abs, from_texts.mean_abs, rtol=1e-5)


def test_class_labels_in_turn_whatever_the_batches():
    twelve = {"num_samples": 12, "class_labels": list(range(8)), "guidance_scale": 1.0}
    whole, split = (calibrate_tiny("dit", batch_size=size, **twelve) for size in (12, 5))
    assert np.all(whole.num_samples == 12)
    np.testing.assert_allclose(split.mean_abs, whole.mean_abs, rtol=1e-5)
    written_out = calibrate_tiny("dit", **(twelve | {"class_labels": [*range(8), *range(4)]}))
    np.testing.assert_allclose(written_out.mean_abs, whole.mean_abs, rtol=1e-5)
    assert not np.array_equal(calibrate_tiny("dit", **(twelve | {"class_labels": 3})).mean_abs, whole.mean_abs)


def test_both_halves_of_a_guided_batch_are_one_sample_each():
    guided = {"num_samples": 3, "class_labels": [1, 2, 3], "guidance_scale": 4.0}
    whole, split = (calibrate_tiny("dit", batch_size=size, **guided) for size in (3, 1))
    assert np.all(whole.num_samples == 3) and np.all(split.num_samples == 3)
    np.testing.assert_allclose(split.mean_abs_error, whole.mean_abs_error, rtol=1e-4)


def test_images_and_masks_in_turn_whatever_the_batches():
    generator = torch.Generator().manual_seed(1)
    masks = (torch.rand(2, 1, 32, 32, generator=generator) > 0.5).float()
    each = {"image": torch.rand(3, 3, 32, 32, generator=generator), "mask_image": masks}
    options = each | {"num_samples": 5, "num_inference_steps": 4}
    whole, split = (calibrate_tiny("sd_inpaint9", PROMPTS, batch_size=size, **options) for size in (5, 2))
    np.testing.assert_allclose(split.mean_abs, whole.mean_abs, rtol=1e-5)
    one = calibrate_tiny("sd_inpaint9", PROMPTS, batch_size=5, **(options | {"image": each["image"][:1]}))
    assert not np.array_equal(one.mean_abs, whole.mean_abs)


def test_a_file_of_prompts_is_read_as_the_command_line_reads_it(tmp_path):
    file = tmp_path / "prompts.csv"
    file.write_text("prompt,negative\na red seven,dull\na blue two,\n", encoding="utf-8-sig")
    expected = calibrate_tiny("sd", PROMPTS[:2], negative_prompt=["dull", ""])
    for name in (file, str(file)):
        assert calibrate_tiny("sd", name) == expected


def test_image_to_image_leaves_out_times_that_are_not_visited():
    statistics = calibrate_tiny("sd_img2img", PROMPTS, num_inference_steps=5, strength=0.6)
    assert statistics.timesteps.tolist() == [0.0, 199.0, 399.0, 599.0]


def test_latents_are_not_decoded(monkeypatch):
    pipe, _ = BUILDERS["sd"]()
    monkeypatch.setattr(pipe.vae, "decode", lambda *_, **__: pytest.fail("decoded"))
    calibrate(pipe, PROMPTS, **QUICK)


def test_who_refuses_to_give_latents_is_not_asked_for_them():
    pipe, options = BUILDERS["marigold"]()
    with pytest.raises(ValueError, match="output_type"):
        pipe(**options | {"output_type": "latent"})
    del options["output_type"]
    assert calibrate(pipe, None, **QUICK, **options).origin.sample_shape


def test_the_origin_says_what_was_measured():
    pipe, _ = BUILDERS["sd"]()
    statistics = calibrate(pipe, PROMPTS, base_model="me/model", revision="abc", licence="CC0-1.0", **QUICK)
    origin = statistics.origin
    assert (origin.base_model, origin.revision, origin.licence) == ("me/model", "abc", "CC0-1.0")
    assert "scaled_linear" in origin.noise_schedule
    assert (origin.prediction_type, origin.dtype, origin.sample_shape) == ("epsilon", "float32", (4, 16, 16))
    assert (origin.num_inference_steps, origin.seed) == (5, 0)  # four asked for, and one at the cleanest level
    assert "uniform in t^(1/2)" in origin.solver
    assert {"torch", "diffusers", "diffusers_deis_sn"} <= origin.versions.keys()
    recorded = DEISSNScheduler.from_config(pipe.scheduler.config, stats=statistics)
    assert recorded.statistics == statistics


def test_a_local_model_is_recorded_without_its_path(tmp_path):
    pipe, _ = BUILDERS["ddpm"]()
    pipe.save_pretrained(tmp_path / "my-model")
    loaded = type(pipe).from_pretrained(tmp_path / "my-model")
    assert calibrate(loaded, **QUICK).origin.base_model == "my-model"


# --------------------------------------------------------------------------------------------------------- manners


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt(), SystemExit(1)])
def test_the_scheduler_is_put_back_whatever_happens(error):
    pipe = GaussianPipeline()
    scheduler, pipe.fail_at_call = pipe.scheduler, (2, error)
    with pytest.raises(type(error)):
        calibrate(pipe, **QUICK)
    assert pipe.scheduler is scheduler
    assert pipe.batches == [2, 2]


def test_a_diffusers_pipeline_is_left_as_it_was():
    pipe, _ = BUILDERS["sd"]()
    pipe.set_progress_bar_config(desc="mine")
    scheduler, config = pipe.scheduler, dict(pipe.config)
    scheduler_config = dict(scheduler.config)
    calibrate(pipe, PROMPTS, **QUICK)
    assert pipe.scheduler is scheduler
    assert dict(pipe.config) == config
    assert dict(pipe.scheduler.config) == scheduler_config
    assert pipe._progress_bar_config == {"desc": "mine"}


def test_progress_is_shown_by_one_bar_only(capsys):
    pipe, _ = BUILDERS["ddpm"]()
    pipe.set_progress_bar_config(desc="inner")
    calibrate(pipe, **(QUICK | {"progress": True}))
    shown = capsys.readouterr().err
    assert "Calibrating" in shown
    assert "4.0/4 samples" in shown
    assert "inner" not in shown
    calibrate(pipe, **QUICK)
    assert capsys.readouterr().err == ""


def test_progress_is_reported_after_every_step():
    seen: list[tuple[float, int]] = []
    calibrate(GaussianPipeline(), **(QUICK | {"progress": lambda done, total: seen.append((done, total))}))
    done = [value for value, _ in seen]
    assert done[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert np.all(np.diff(done) > -1e-9)
    assert seen[-1] == (4, 4)


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    calibrate(GaussianPipeline(), **QUICK)
    assert torch.equal(torch.random.get_rng_state(), before)


# ------------------------------------------------------------------------------------------------ recording by hand


def test_people_may_call_the_pipeline_themselves():
    pipe = GaussianPipeline()
    expected = calibrate(pipe, **QUICK)
    scheduler = pipe.scheduler
    with recording(pipe, guidance_scale=1.0, seed=0, dense=True) as recorder:
        assert isinstance(pipe.scheduler, RecordingScheduler)
        for seed in range(4):
            pipe(generator=torch.Generator().manual_seed(seed), num_inference_steps=4)
        assert recorder.num_samples == 4
    assert pipe.scheduler is scheduler
    measured = recorder.measured()
    assert measured.origin == expected.origin
    np.testing.assert_allclose(measured.mean_abs, expected.mean_abs, rtol=1e-13)


def test_different_grids_in_one_recording_are_refused():
    pipe = GaussianPipeline()
    with recording(pipe), pytest.raises(CalibrationError, match="the first had 5 times from 999 to 0"):
        pipe(num_inference_steps=4)
        pipe(num_inference_steps=5)


@pytest.mark.parametrize("calls", [0, 1])
def test_less_than_two_samples_make_no_statistics(calls):
    pipe = GaussianPipeline()
    with recording(pipe) as recorder:
        for _ in range(calls):
            pipe(num_inference_steps=4)
    with pytest.raises(CalibrationError, match=f"{calls} samples"):
        recorder.measured()


# -------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_samples", 1),
        ("num_samples", 2.5),
        ("batch_size", 0),
        ("batch_size", True),
        ("num_inference_steps", 1),
        ("seed", -1),
        ("seed", None),
        ("trials", -1),
        ("trials", 2.5),
        ("trials", True),
        ("num_samples", "many"),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_called(name, value):
    pipe = GaussianPipeline()
    with pytest.raises(CalibrationError, match=f"`{name}` must be a whole number.*{value!r}"):
        calibrate(pipe, **(QUICK | {name: value}))
    assert pipe.batches == []


@pytest.mark.parametrize(
    ("prompts", "rule"),
    [
        (None, "give `prompts`"),
        ([], "`prompts` is empty"),
        ([1, 2], "must be texts, got 1"),
        (["a", "\ud83d"], "must be texts, got '.ud83d'"),
    ],
)
def test_bad_prompts_are_refused(prompts, rule):
    with pytest.raises(CalibrationError, match=rule):
        calibrate_tiny("sd", prompts)


def test_prompts_for_a_pipeline_without_are_refused():
    with pytest.raises(CalibrationError, match="DDPMPipeline takes no prompts"):
        calibrate_tiny("ddpm", PROMPTS)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"prompt": "x"}, "`prompts=`"),
        ({"generator": None}, "`seed=`"),
        ({"guidance_scales": 3.0}, "takes no guidance_scales"),
        ({"licens": "MIT"}, "did you mean `licence`"),
        ({"steps": 3}, "did you mean `num_inference_steps`"),
        ({"guidance_scale": -1}, "must be 0 or more"),
        ({"num_images_per_prompt": 2}, "`num_images_per_prompt` must be 1"),
    ],
)
def test_arguments_that_are_not_the_callers_are_refused(options, rule):
    with pytest.raises(CalibrationError, match=rule):
        calibrate_tiny("sd", PROMPTS, **options)


@pytest.mark.parametrize("given", ["folder", GaussianPipeline])
def test_what_is_no_pipeline_is_refused_as_such(given):
    with pytest.raises(CalibrationError, match="A loaded pipeline is needed"):
        calibrate(given, **QUICK)


def test_a_missing_argument_of_the_pipeline_is_named():
    class Conditional(GaussianPipeline):
        def __call__(self, class_labels, num_inference_steps=50): ...

    with pytest.raises(CalibrationError, match="without `class_labels`"):
        calibrate(Conditional(), **QUICK)


def test_a_pipeline_that_never_calls_its_scheduler_is_refused():
    class Idle(GaussianPipeline):
        def __call__(self, batch_size=1, num_inference_steps=50): ...

    pipe = Idle()
    with pytest.raises(CalibrationError, match="never called `step`"):
        calibrate(pipe, **QUICK)
    assert isinstance(pipe.scheduler, DDIMScheduler)


def test_what_has_no_scheduler_or_no_steps_is_refused():
    with pytest.raises(CalibrationError, match="no attribute `scheduler`"), recording(object()):
        pass
    with pytest.raises(CalibrationError, match="num_inference_steps"):
        calibrate(lambda batch_size: None, **QUICK)


class GaussianFlowPipeline:
    """A pipeline of a flow-matching model of centred data, N(0, 0.5^2), that passes its own sigmas as such ones do."""

    def __init__(self) -> None:
        self.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)

    def __call__(self, batch_size=1, generator=None, num_inference_steps=50):
        self.scheduler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / num_inference_steps, num_inference_steps), mu=1.15)
        x = torch.stack([torch.randn(64, generator=one) for one in generator])
        for t in self.scheduler.timesteps:
            sigma = float(t) / 1000.0
            variance = (1.0 - sigma) ** 2 * 0.25 + sigma**2
            velocity = (sigma - (1.0 - sigma) * 0.25) / variance * x
            x = self.scheduler.step(velocity, t, x, return_dict=False)[0]
        return x


def test_the_statistics_of_a_flow_are_those_of_its_data():
    """r = sqrt(2 / pi) rho / sqrt(0.25 + rho^2) along the flow, to the clean end and from noise alone."""
    pipe = GaussianFlowPipeline()
    before = pipe.scheduler
    stats = calibrate(pipe, num_samples=64, num_inference_steps=60, batch_size=16, trials=0, progress=False)
    assert pipe.scheduler is before
    assert (stats.timesteps[-1], stats.timesteps[0]) == (1000.0, 1.0)
    rho = np.exp(-0.5 * stats.log_snr)
    exact = np.sqrt(2.0 / np.pi) * rho / np.sqrt(0.25 + rho**2)
    assert np.all(np.abs(stats.mean_abs - exact) < 5.0 * stats.mean_abs_error + 1e-3)
    assert stats.origin.prediction_type == "flow_prediction"
    DEISSNScheduler.from_config(before.config, stats=stats).set_timesteps(5)


def test_costs_of_a_flow_make_grids_from_noise_alone():
    pipe = GaussianFlowPipeline()
    stats = calibrate(pipe, num_samples=16, num_inference_steps=60, trials=0, progress=False, costs=("corrector",))
    scheduler = ScoreOptimalScheduler.from_config(pipe.scheduler.config, stats=stats)
    scheduler.set_timesteps(8)
    assert scheduler.sigmas[0] == 1.0 and scheduler.sigmas[-1] == 0.0 and len(scheduler.timesteps) == 8
    levels = scheduler._plan.levels
    position = scheduler.path.position(np.array([80.0, *levels[1:-1]]))
    assert np.allclose(np.diff(position), np.diff(position)[0], rtol=1e-6)
    pipe.scheduler = scheduler
    assert torch.isfinite(pipe(generator=[torch.Generator().manual_seed(0)], num_inference_steps=8)).all()


def test_a_pipeline_with_times_of_its_own_beside_its_sigmas_is_refused():
    class Labelled(GaussianFlowPipeline):
        def __call__(self, batch_size=1, generator=None, num_inference_steps=50):
            times = np.linspace(1000.0, 1.0, num_inference_steps)
            self.scheduler.set_timesteps(sigmas=times / 1000.0, timesteps=times)

    with pytest.raises(CalibrationError, match="not those of its sigmas"):
        calibrate(Labelled(), **QUICK)


def test_outputs_that_are_not_finite_are_refused():
    pipe = GaussianPipeline()
    with pytest.raises(CalibrationError, match="not finite"):
        calibrate(pipe, temperature=float("nan"), **QUICK)
