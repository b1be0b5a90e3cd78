"""The nodes for ComfyUI, on a stub of its interface: exact flows are solved, and runs are those of our schedulers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

import comfy_stub as stub
from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import (
    ConfigurationError,
    DEISSNScheduler,
    StatisticsMismatchError,
    TimestepsError,
    learned_sigmas,
)
from diffusers_deis_sn.core.flow import FlowSchedule
from diffusers_deis_sn.core.grids import Power
from diffusers_deis_sn.core.recipe import Recipe
from diffusers_deis_sn.core.solvers import Multistep
from diffusers_deis_sn.core.tuned import Tuned
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.learn.following import recipe_of
from diffusers_deis_sn.learn.part import Part
from diffusers_deis_sn.statistics.plans import Plans, TunedPlan
from diffusers_deis_sn.statistics.trials import Method, Trials
from records import costed_record, edm_record, flow_record, guided_family, solver_cost
from refusals import refused

ROOT = Path(__file__).resolve().parents[2]
SD = vp_schedule(**SD_BETAS)
ZSNR = vp_schedule(**SD_BETAS, rescale_betas_zero_snr=True)
SHAPE = (2, 4, 6, 6)
STD = 0.6  # of exact Gaussian data
METHODS = (
    Method("noise", 2, 3, 0.75, "trailing"),
    Method("data", 3, 2, None, "power_t", 2.0),
    Method("noise", 2, 4, 0.75, "karras"),
    Method("noise", 3, 2, 0.5, "learned", spread=0.3),
)
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
EDM = {"process": "edm", "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}


def tried(record, best: int = 0):
    """The record with a normaliser of data, a cost of the solver, and trials that this method won."""
    error = np.full((len(METHODS), 2), 0.5)
    error[best] = 0.1
    trials = Trials(METHODS, (4, 20), error, error, np.ones_like(error), 4)
    data = np.linspace(0.3, 0.5, len(record))
    return replace(solver_cost(record), trials=trials, mean_abs_data=data)


def records(best: int = 0):
    times = np.arange(0.0, 1000.0, 9.0)
    return {
        "vp": tried(costed_record(SD, times=times), best),
        "edm": tried(edm_record(), best),
        "flow": tried(flow_record(), best),
    }


def network(x, t):
    """No distribution's, but smooth."""
    return torch.tanh(1.3 * x + 0.2 * torch.roll(x, 1, -1)) * (1.0 + 0.1 * torch.cos(x))


def models(network=network):
    """A model of each kind with its own outputs, and the scheduler of Diffusers' side for the same network."""
    table = SD.training_levels()
    return {
        "eps": ("vp", stub.model(stub.EPS, stub.ModelSamplingDiscrete, network, table), SD_BETAS),
        "v": (
            "vp",
            stub.model(stub.V_PREDICTION, stub.ModelSamplingDiscrete, network, table),
            {**SD_BETAS, "prediction_type": "v_prediction"},
        ),
        "edm": ("edm", stub.model(stub.EDM, stub.ModelSamplingContinuousEDM, network, 0.002, 80.0, 0.5), EDM),
        "flow": ("flow", stub.model(stub.CONST, stub.ModelSamplingDiscreteFlow, network, 3.0), FLOW),
    }


def drawn(patcher, sampler, sigmas, *, cfg=1.0, latent=None, mask=None, callback=None, seed=3):
    """What ComfyUI's "SamplerCustomAdvanced" draws, from noise of a seed."""
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    guider = stub.CFGGuider(patcher)
    guider.set_cfg(cfg)
    latent = torch.zeros(SHAPE) if latent is None else latent
    return noise, guider.sample(noise, latent, sampler, sigmas, mask, callback)


def ours(scheduler, network, noise):
    """The same by a scheduler of this package, as a pipeline does."""
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(output, t, x).prev_sample
    return x


# ------------------------------------------------------------------------------------------- the same as in Diffusers


@pytest.mark.parametrize("steps", [1, 5, 9])
@pytest.mark.parametrize("best", range(len(METHODS)), ids=str)
@pytest.mark.parametrize("kind", models())
def test_both_nodes_together_are_the_scheduler_of_this_package(nodes, tmp_path, kind, best, steps):
    process, patcher, config = models()[kind]
    record = records(best)[process].with_origin(prediction_type=config.get("prediction_type"))
    place = str(record.save(tmp_path))
    scheduler = DEISSNScheduler(**config, stats=record)
    scheduler.set_timesteps(steps)
    assert scheduler.method == METHODS[best]
    (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, steps, 1.0, patcher)
    assert sigmas.dtype == torch.float32 and sigmas.tolist() == pytest.approx(scheduler.sigmas.tolist(), rel=1e-5)
    (sampler,) = nodes.DeisSnSampler().get_sampler(place)
    noise, found = drawn(patcher, sampler, sigmas)
    assert found.shape == SHAPE and patcher.model.calls == sigmas[:-1].tolist()
    expected = ours(scheduler, network, noise)
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("kind", models())
def test_both_nodes_together_follow_a_plan_that_was_tuned(nodes, tmp_path, kind):
    process, patcher, config = models()[kind]
    record = records()[process].with_origin(prediction_type=config.get("prediction_type"))
    noise = DEISSNScheduler(**config).noise
    prediction = config.get("prediction_type", "epsilon")
    run = Recipe(noise, Power("t", 1.7), Multistep(2, of="data"), prediction=prediction).plan(5)
    tuned = Tuned.of_plan(run, 3.0 if process == "flow" else 1.0)
    tuned = replace(tuned, weights=tuned.weights * 1.01)  # of no formula
    record = record.with_plans(Plans((TunedPlan(tuned, 2.0),), SHAPE[1:]))
    scheduler = DEISSNScheduler(**config, stats=record, guidance_scale=2.0)
    scheduler.set_timesteps(5)
    assert scheduler.plan is not None
    place = str(record.save(tmp_path))
    (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, 5, 1.0, patcher, guidance=2.0)
    start, found = drawn(patcher, nodes.DeisSnSampler().get_sampler(place, 2.0)[0], sigmas)
    assert patcher.model.calls == sigmas[:-1].tolist() and len(sigmas) == 6
    torch.testing.assert_close(found, ours(scheduler, network, start), rtol=2e-4, atol=2e-4)
    (other,) = nodes.DeisSnScheduler().get_sigmas(place, 5, 1.0, patcher, guidance=1.0)
    assert not torch.allclose(other, sigmas, rtol=1e-2)  # plans are for their own guidance


@pytest.mark.parametrize("kind", models())
def test_sigmas_of_other_schedulers_are_walked_as_sigmas_by_hand_are(nodes, tmp_path, kind):
    process, patcher, config = models()[kind]
    record = records()[process].with_origin(prediction_type=config.get("prediction_type"))
    place = str(record.save(tmp_path))
    ramp = {"vp": np.geomspace(14.6, 0.03, 7), "edm": np.geomspace(80.0, 0.002, 7), "flow": np.linspace(1.0, 0.1, 7)}
    sigmas = torch.tensor([*ramp[process], 0.0]).float()
    scheduler = DEISSNScheduler(**config | ({"flow_shift": 1.0} if process == "flow" else {}), stats=record)
    scheduler.set_timesteps(sigmas=sigmas.tolist())
    (sampler,) = nodes.DeisSnSampler().get_sampler(place, 7.5)
    noise, found = drawn(patcher, sampler, sigmas)
    first = torch.tensor(scheduler.init_noise_sigma) if process == "edm" else 1.0
    start = patcher.model.model_sampling.noise_scaling(sigmas[0], noise, torch.zeros(SHAPE), process == "edm")
    own = start / (1.0 + sigmas[0] ** 2).sqrt() if process == "vp" else start
    expected = ours(scheduler, network, own / first)
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("kind", models())
@pytest.mark.parametrize("steps", [3, 8])
def test_without_statistics_it_is_what_the_scheduler_does_without(nodes, kind, steps):
    _, patcher, config = models()[kind]
    scheduler = DEISSNScheduler(**config, guidance_scale=1.0)
    scheduler.set_timesteps(steps)
    (sigmas,) = nodes.DeisSnScheduler().get_sigmas("", steps, 1.0, patcher, guidance=1.0)  # the guider says it too
    noise, found = drawn(patcher, nodes.DeisSnSampler().get_sampler("  ")[0], sigmas)
    alpha = 1.0 if kind == "flow" else (1.0 + float(sigmas[-1]) ** 2) ** -0.5  # ComfyUI's samples are x / alpha
    expected = ours(scheduler, network, noise) / (1.0 if kind == "edm" else alpha)
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=2e-4)


def guided(pipe, prompt: str, scale: float):
    """The network of a shipped pipeline under classifier-free guidance, as a function of sample and time."""
    if hasattr(pipe, "unet"):
        embeds = pipe.encode_prompt(prompt, "cpu", 1, True)
        given = {"encoder_hidden_states": torch.cat(embeds[::-1]).repeat_interleave(2, 0)}
        network = pipe.unet
    else:
        embeds = pipe.encode_prompt(prompt, prompt, prompt)
        given = {
            "encoder_hidden_states": torch.cat(embeds[1::-1]).repeat_interleave(2, 0),
            "pooled_projections": torch.cat(embeds[:1:-1]).repeat_interleave(2, 0),
        }
        network = pipe.transformer

    def predicted(x, t):
        t = t.reshape(-1)[:1].expand(4) if torch.is_tensor(t) else torch.full((4,), float(t))
        without, with_prompt = network(torch.cat([x, x]), timestep=t, **given, return_dict=False)[0].chunk(2)
        return without + scale * (with_prompt - without)

    return predicted


@pytest.mark.parametrize(
    ("name", "stats", "channels"),
    [("tiny-sd-digits", "tiny-sd-digits", 4), ("tiny-flow-emoji", "tiny-flow-emoji/guidance-3", 16)],
)
@torch.no_grad()
def test_the_shipped_models_draw_what_their_pipelines_draw(nodes, name, stats, channels):
    pipe = DiffusionPipeline.from_pretrained(ROOT / "examples/models" / name)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DEISSNScheduler.from_config(pipe.scheduler.config, stats=ROOT / "stats" / stats)
    prompt = "a red three on a black background" if channels == 4 else "red apple"
    latents = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(3))
    options = {"num_inference_steps": 6, "guidance_scale": 3.0, "output_type": "latent"}
    expected = pipe([prompt] * 2, latents=latents.clone(), **options).images

    network = guided(pipe, prompt, 3.0)
    if channels == 4:
        patcher = stub.model(stub.EPS, stub.ModelSamplingDiscrete, network, pipe.scheduler.noise.training_levels())
    else:
        patcher = stub.model(stub.CONST, stub.ModelSamplingDiscreteFlow, network, pipe.scheduler.config["shift"])
    place = str(ROOT / "stats" / stats)
    (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, 6, 1.0, patcher, 3.0)
    guider = stub.CFGGuider(patcher)
    guider.set_cfg(3.0)
    (sampler,) = nodes.DeisSnSampler().get_sampler(place)
    found = guider.sample(latents, torch.zeros_like(latents), sampler, sigmas)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------------------------------------------- exact flows


def gaussian(kind: type):
    """The network of data N(0, STD^2), whatever it predicts, on the sample it is given."""

    def predicted(x, t):
        if kind is stub.CONST:  # t = 1000 sigma
            sigma = (t / 1000.0).reshape(-1, 1, 1, 1)
            alpha = 1.0 - sigma
            return x * (sigma - alpha * STD**2) / (alpha**2 * STD**2 + sigma**2)
        rho = torch.from_numpy(SD.rho(t.double().numpy())).float().reshape(-1, 1, 1, 1)
        alpha = 1.0 / (1.0 + rho**2).sqrt()
        eps = x * alpha * rho / (alpha**2 * STD**2 + alpha**2 * rho**2)
        return eps if kind is stub.EPS else (eps - alpha * rho * x) / alpha  # v = (eps - sigma x) / alpha

    return predicted


@pytest.mark.parametrize("kind", [stub.EPS, stub.V_PREDICTION, stub.CONST], ids=lambda kind: kind.__name__)
def test_the_exact_flow_of_gaussian_data_is_followed(nodes, tmp_path, kind):
    """x_0 + rho eps with x_0 ~ N(0, c^2) goes to c x / (c^2 + rho^2)^(1/2); (1 - sigma) x_0 + sigma eps to c eps."""
    levels, arguments = (
        (stub.ModelSamplingDiscreteFlow, ()) if kind is stub.CONST else (stub.ModelSamplingDiscrete, (SD.knots,))
    )
    patcher = stub.model(kind, levels, gaussian(kind), *arguments)
    place = str(records()["flow" if kind is stub.CONST else "vp"].save(tmp_path))
    (sampler,), errors = nodes.DeisSnSampler().get_sampler(place), []
    for steps in (10, 40):
        (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, steps, 1.0, patcher)
        noise, found = drawn(patcher, sampler, sigmas)
        rho = 0.0 if kind is stub.CONST else SD.top
        exact = noise * STD * ((1.0 + rho**2) / (STD**2 + rho**2)) ** 0.5
        errors.append(float((found - exact if kind is not stub.CONST else found - noise * STD).std()))
    assert errors[1] < 0.25 * errors[0] and errors[1] < 4e-3


# ---------------------------------------------------------------------------------------------- what ComfyUI is told


def test_the_callback_sees_each_call_in_comfyuis_own_coordinate(nodes, tmp_path):
    place, patcher = str(records()["vp"].save(tmp_path)), models(gaussian(stub.EPS))["eps"][1]
    (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, 6, 1.0, patcher)
    told = []
    drawn(patcher, nodes.DeisSnSampler().get_sampler(place)[0], sigmas, callback=lambda *facts: told.append(facts))
    assert [(step, total) for step, _, _, total in told] == [(n, 6) for n in range(6)]
    for (_, denoised, x, _), sigma in zip(told, sigmas, strict=False):
        torch.testing.assert_close(denoised, patcher.model.apply_model(x, sigma.repeat(2)))
        assert float(x.std()) == pytest.approx(float((STD**2 + sigma**2).sqrt()), rel=0.1)


@pytest.mark.parametrize("kind", models())
def test_what_a_mask_keeps_comes_out_as_it_was(nodes, tmp_path, kind):
    process, patcher, config = models()[kind]
    place = str(records()[process].with_origin(prediction_type=config.get("prediction_type")).save(tmp_path))
    (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, 8, 1.0, patcher)
    latent = torch.randn(SHAPE, generator=torch.Generator().manual_seed(8))
    mask = torch.zeros(SHAPE)
    mask[..., 3:] = 1.0
    _, found = drawn(patcher, nodes.DeisSnSampler().get_sampler(place)[0], sigmas, latent=latent, mask=mask)
    torch.testing.assert_close(found[..., :3], latent[..., :3], rtol=1e-3, atol=2e-3)
    assert float((found[..., 3:] - latent[..., 3:]).abs().max()) > 0.1


def test_a_run_in_two_parts_ends_near_the_whole_one(nodes, tmp_path):
    """Split by ComfyUI's "SplitSigmas": high_sigmas end above zero, low_sigmas go on without noise."""
    for name, kind in (("eps", stub.EPS), ("flow", stub.CONST)):
        process, patcher, _ = models(gaussian(kind))[name]
        place = str(records()[process].save(tmp_path / name))
        (sampler,) = nodes.DeisSnSampler().get_sampler(place)
        (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, 30, 1.0, patcher)
        _, whole = drawn(patcher, sampler, sigmas)
        _, high = drawn(patcher, sampler, sigmas[:16])
        low = stub.CFGGuider(patcher).sample(torch.zeros(SHAPE), high, sampler, sigmas[15:])
        torch.testing.assert_close(low, whole, rtol=0.02, atol=0.01)


def test_no_sigmas_and_one_are_no_steps(nodes):
    patcher, (sampler,) = models()["eps"][1], nodes.DeisSnSampler().get_sampler("")
    assert nodes.DeisSnScheduler().get_sigmas("", 5, 0.0, patcher)[0].tolist() == []
    noise, found = drawn(patcher, sampler, torch.tensor([2.0]))
    torch.testing.assert_close(found, 2.0 * noise)
    assert patcher.model.calls == []


# --------------------------------------------------------------------------------------------------------- the sigmas


@pytest.mark.parametrize("denoise", [0.3, 0.5, 0.99, 1.0])
def test_without_a_model_sigmas_are_those_of_the_library(nodes, tmp_path, denoise):
    for name, record in records().items():
        place = str(record.save(tmp_path / name))
        (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, 7, denoise)
        assert sigmas.tolist() == pytest.approx(learned_sigmas(record, 7, denoise=denoise), rel=1e-6)
        if denoise < 1.0:  # of a model too: its recipes are for whole runs
            patcher = models()[{"vp": "eps"}.get(name, name)][1]
            assert torch.equal(nodes.DeisSnScheduler().get_sigmas(place, 7, denoise, patcher)[0], sigmas)


def test_without_costs_a_share_is_that_of_the_recipes_own_schedule(nodes, tmp_path):
    record = replace(records()["vp"], costs={})
    patcher = models()["eps"][1]
    (sigmas,) = nodes.DeisSnScheduler().get_sigmas(str(record.save(tmp_path)), 5, 0.5, patcher)
    expected = recipe_of(SD, record, Part(denoise=0.5).total(5)).levels(10)[-6:]
    assert sigmas.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_statistics_of_several_guidances_are_those_of_the_guider(nodes, tmp_path):
    family = guided_family(SD)
    place, patcher = str(family.save(tmp_path)), models()["eps"][1]
    (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, 6, 1.0, patcher, 3.0)
    assert sigmas.tolist() == pytest.approx(recipe_of(SD, family.at(3.0), 6).levels(6).tolist(), rel=1e-6)
    asking, saying = (nodes.DeisSnSampler().get_sampler(place, scale)[0] for scale in (0.0, 3.0))
    results = {cfg: drawn(patcher, asking, sigmas, cfg=cfg)[1] for cfg in (1.0, 3.0)}
    assert torch.equal(results[3.0], drawn(patcher, saying, sigmas, cfg=9.0)[1])
    assert not torch.equal(results[3.0], results[1.0])


# ----------------------------------------------------------------------------------------------------------- refusals


def test_statistics_of_another_model_are_refused(nodes, tmp_path):
    places = {name: str(record.save(tmp_path / name)) for name, record in records().items()}
    other = str(tried(costed_record(vp_schedule())).save(tmp_path / "other"))
    sigmas = torch.tensor([0.9, 0.5, 0.0])
    for name, kind, words in (
        ("flow", "eps", ["flow-matching", "noise table"]),
        ("vp", "flow", ["noise table", "flow-matching"]),
        ("edm", "eps", ["sigmas (EDM)", "noise table"]),
        ("vp", "edm", ["noise table", "sigmas (EDM)"]),
    ):
        patcher = models()[kind][1]
        refused(StatisticsMismatchError, words, nodes.DeisSnScheduler().get_sigmas, places[name], 5, 1.0, patcher)
        (sampler,) = nodes.DeisSnSampler().get_sampler(places[name])
        refused(StatisticsMismatchError, words, drawn, patcher, sampler, sigmas)
    patcher = models()["eps"][1]
    refused(
        StatisticsMismatchError, ["another noise schedule"], nodes.DeisSnScheduler().get_sigmas, other, 5, 1.0, patcher
    )
    labelled = str(tried(edm_record("sigma")).save(tmp_path / "sigma"))
    patcher = models()["edm"][1]
    refused(StatisticsMismatchError, ["is called with"], nodes.DeisSnScheduler().get_sigmas, labelled, 5, 1.0, patcher)


@pytest.mark.parametrize("row", [[3.0, 3.0, 0.0], [1.0, 2.0, 0.0], [float("nan"), 0.0], [1.0, -1.0]], ids=str)
def test_sigmas_that_do_not_fall_are_refused(nodes, row):
    patcher, (sampler,) = models()["eps"][1], nodes.DeisSnSampler().get_sampler("")
    refused(TimestepsError, ["`sigmas`", "fall strictly"], drawn, patcher, sampler, torch.tensor(row))


def test_nothing_to_learn_from_is_said(nodes):
    refused(ConfigurationError, ["`statistics` is empty", "connect"], nodes.DeisSnScheduler().get_sigmas, "", 5, 1.0)


# ------------------------------------------------------------------------------------------------ other kinds of models


def test_zero_terminal_snr_is_walked_from_comfyuis_own_top(nodes, tmp_path):
    """ComfyUI holds the last alpha^2 at 4.9e-8, a little below Diffusers' 2^-24."""
    top = ZSNR.training_levels()
    top[-1] = (1.0 / 4.8973451890853435e-08 - 1.0) ** 0.5
    patcher = stub.model(stub.V_PREDICTION, stub.ModelSamplingDiscrete, gaussian(stub.V_PREDICTION), top)
    record = tried(costed_record(ZSNR, times=np.arange(0.0, 1000.0, 9.0)))
    place = str(record.save(tmp_path))
    (sigmas,) = nodes.DeisSnScheduler().get_sigmas(place, 12, 1.0, patcher)
    sigmas[0] = float(top[-1])  # as its own schedulers have it
    noise, found = drawn(patcher, nodes.DeisSnSampler().get_sampler(place)[0], sigmas)
    assert torch.isfinite(found).all() and float(found.std()) < 2.0 * float(noise.std())


def test_cosmos_has_the_sigmas_of_the_exploding_coordinate(nodes, tmp_path):
    class Levels(stub.ModelSamplingContinuousEDM):
        def timestep(self, sigma):
            return sigma / (1.0 + sigma)

    def velocity(x, t):  # of data N(0, STD^2), at sigma = t
        sigma = t.reshape(-1, 1, 1, 1)
        return gaussian(stub.CONST)(x, 1000.0 * sigma)

    patcher = stub.model(stub.COSMOS_RFLOW, Levels, velocity, 0.002, 80.0, 1.0)
    place = str(records()["flow"].save(tmp_path))
    rho = FlowSchedule().from_sigma(np.linspace(80.0 / 81.0, 0.0, 25))
    noise, found = drawn(patcher, nodes.DeisSnSampler().get_sampler(place)[0], torch.from_numpy(rho).float())
    exact = noise * STD * ((1.0 + rho[0] ** 2) / (STD**2 + rho[0] ** 2)) ** 0.5
    torch.testing.assert_close(found, exact.float(), rtol=0.02, atol=0.02)
    words = ["COSMOS_RFLOW", "another scheduler"]
    refused(ConfigurationError, words, nodes.DeisSnScheduler().get_sigmas, place, 5, 1.0, patcher)


def test_a_file_that_was_written_anew_is_read_anew(nodes, tmp_path):
    path = records()["vp"].save(tmp_path)
    before = [nodes.DeisSnScheduler.IS_CHANGED(str(one), steps=4) for one in (path, tmp_path)]
    assert before == [nodes.DeisSnScheduler.IS_CHANGED(str(one), steps=9) for one in (path, tmp_path)]
    records(1)["vp"].save(tmp_path)
    assert all(
        nodes.DeisSnSampler.IS_CHANGED(str(one)) != old for one, old in zip((path, tmp_path), before, strict=True)
    )
    assert nodes.DeisSnSampler.IS_CHANGED("user/repo") == "user/repo"
