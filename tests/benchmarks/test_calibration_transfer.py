"""Transfer of statistics: a LoRA is W + s B A, runs between float32 samples, and tables that are those of the rows."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.calibration import transfer, transfer_models, transfer_table
from benchmarks.calibration.transfer import AGAIN, VARIANTS, Changed, Variant, apart, second_half
from benchmarks.calibration.transfer_table import BEST, NONE, RIVAL, SCHEDULERS, Result, cells, table
from benchmarks.places import ROOT
from benchmarks.suite.extra_problems import lines
from benchmarks.suite.measures import geometric_mean
from benchmarks.suite.rows import packed, unpacked
from diffusers_deis_sn import ScoreStatistics

FOLDER = ROOT / "benchmarks/calibration"


class Blocks(nn.Module):
    """A linear layer and a convolution inside of a block, and a layer outside."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.ModuleList([nn.Conv2d(2, 3, 3, padding=1), nn.Linear(4, 5)])
        self.out = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.block[1](self.block[0](x)))


@pytest.fixture
def lora():
    """A network, the same with a LoRA of random factors on it, and these factors as a file has them."""
    torch.manual_seed(0)
    plain = Blocks()
    network = copy.deepcopy(plain)
    layers = transfer_models.attach(network, rank=2)
    began = network(torch.ones(1, 2, 4, 4))
    assert torch.equal(began, plain(torch.ones(1, 2, 4, 4)))  # B is zero at first
    for one in layers.values():
        nn.init.normal_(one.up)
    factors = {f"{name}.{part}": getattr(one, part).detach() for name, one in layers.items() for part in ("up", "down")}
    return plain, network, factors


def test_a_folded_lora_computes_what_the_trained_one_does(lora):
    plain, network, factors = lora
    x = torch.randn(3, 2, 4, 4)
    before = plain(x)
    transfer_models.fold(plain, factors, 1.0)
    torch.testing.assert_close(plain(x), network(x))
    assert (plain(x) - before).abs().max() > 0.1


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_folding_adds_s_b_a_to_the_layers_of_the_blocks_and_to_no_other(lora, scale):
    plain, _, factors = lora
    weights = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    transfer_models.fold(plain, factors, scale)
    for name, tensor in plain.state_dict().items():
        layer = name.removesuffix(".weight")
        product = torch.zeros_like(tensor)
        if f"{layer}.up" in factors:
            product = (factors[f"{layer}.up"] @ factors[f"{layer}.down"]).reshape(tensor.shape)
        torch.testing.assert_close(tensor, weights[name] + scale * product)
    assert {key.split(".")[0] for key in factors} == {"block"}


def test_only_the_factors_of_a_lora_learn(lora):
    _, network, _ = lora
    network(torch.randn(2, 2, 4, 4)).square().mean().backward()
    assert {n.split(".")[-1] for n, one in network.named_parameters() if one.grad is not None} == {"up", "down"}


@pytest.mark.parametrize("model", list(VARIANTS))
def test_the_halves_of_the_prompts_are_halves(model):
    asked = lines(ROOT / "stats" / transfer_models.FOLDERS[model] / "prompts.txt")
    others = [one for one in asked if second_half(model, one, asked)]
    assert 0.4 < len(others) / len(asked) < 0.6


def test_a_fine_run_keeps_its_samples_in_float32_and_is_the_same_where_the_network_does():
    def ended(variant: Variant) -> tuple[torch.Tensor, torch.Tensor]:
        problem = Changed("digits", variant)
        usual = problem.end(problem.pipe.scheduler, 2, 2, 1)
        with problem.fine():
            fine = problem.end(problem.pipe.scheduler, 2, 2, 1)
        torch.testing.assert_close(usual, problem.end(problem.pipe.scheduler, 2, 2, 1), rtol=0, atol=0)
        return usual, fine

    usual, fine = ended(AGAIN)
    assert torch.equal(usual, fine)
    rounded, fine = ended(Variant("bfloat16", dtype=torch.bfloat16))
    assert torch.equal(rounded, rounded.bfloat16().float()) and not torch.equal(fine, fine.bfloat16().float())
    assert (rounded - fine).abs().max() < 0.2 and (usual - fine).abs().max() < 0.5


def test_a_size_changes_the_shape_of_the_noise_and_of_the_result():
    problem = Changed("digits", Variant("tall", size=(48, 32)))
    assert problem.end(problem.pipe.scheduler, 1, 2, 1).shape == problem.noise(2, 1).shape == (2, 4, 12, 8)


def test_a_measurement_is_not_apart_from_itself_and_scaling_r_is_seen():
    record = ScoreStatistics.load(ROOT / "stats/tiny-sd-digits")
    same = apart(record, record)
    assert same["r"] == same["path"] == 0.0
    assert apart(ScoreStatistics(**vars_of(record, 1.1)), record)["r"] == pytest.approx(0.1)


def vars_of(record: ScoreStatistics, factor: float) -> dict:
    """What a record is made of, r times a factor."""
    known = {"timesteps": record.timesteps, "log_snr": record.log_snr, "costs": dict(record.costs)}
    return known | {"mean_abs": factor * record.mean_abs}


# ---------------------------------------------------------------------------------------------------------- of the rows


def invented(factors: dict[tuple[str, str], float], variant: str = "LoRA", spread: float = 0.3) -> dict:
    """Rows whose errors are so many times those of DEIS-SN with its own statistics, sample by sample."""
    errors = np.exp(spread * np.random.default_rng(0).standard_normal(48)) * 0.05
    rows = [
        {"sampler": s, "statistics": of, "calls": n, "method": f"{s} {n}", "grain": 1.0, "errors": packed(f * errors)}
        for (s, of), f in factors.items()
        for n in (5, 8, 10)
    ]
    far = {"r": 0.1, "path": 0.01, "curves": {name: [0.0, 1.0] for name in ("log_rho", "own", "base")}}
    return {"model": "digits", "variant": variant, "apart": far, "disagreement": 1e-4, "rows": rows}


def usual(base: float) -> dict[tuple[str, str], float]:
    ours = {(one, of): f for one in SCHEDULERS for of, f in (("own", 1.0), ("base", base))}
    return ours | {NONE: 2.0, ("UniPC 2", RIVAL): 4.0, ("DPM++ 2M", RIVAL): 3.0}


def test_ratios_are_those_of_the_rows_and_their_errors_are_paired():
    result = Result(invented(usual(1.25)))
    own = (SCHEDULERS[0], "own")
    for key, expected in (((SCHEDULERS[0], "base"), 1.25), (NONE, 2.0), (BEST, 3.0), (own, 1.0)):
        ratio = result.ratio(key, own)
        assert ratio.value == pytest.approx(expected, rel=2e-3)  # the rows have three digits
        assert ratio.error < 1e-3  # though samples differ by a third among themselves
        assert result.by(geometric_mean, key, own) == pytest.approx(ratio.value)
        assert result.ratio(own, key).value == pytest.approx(1.0 / ratio.value)
    assert result.same == (6, 6)


@pytest.mark.parametrize(
    ("base", "control", "pays", "costs"), [(1.3, 1.0, 3, 0), (1.3, 1.35, 0, 0), (1.03, 1.0, 0, 0), (0.7, 1.0, 0, 3)]
)
def test_measuring_again_pays_where_it_gains_more_than_the_same_model_measured_again(base, control, pays, costs):
    results = [Result(invented(usual(control), AGAIN.name)), Result(invented(usual(base)))]
    better, worse, number, _ = transfer_table.clear(results)
    assert (len(better), len(worse), number) == (
        pays,
        costs,
        3,
    )  # both schedulers do the same, in three numbers of calls


def test_a_cell_counts_for_each_scheduler_where_they_differ():
    factors = usual(1.2) | {(SCHEDULERS[1], "base"): 1.4}
    assert [cell.scheduler for cell in transfer_table.cells_of(Result(invented(factors)))] == [*SCHEDULERS] * 3


def test_a_table_of_cells_has_the_errors_of_each_statistics():
    one = invented(usual(1.5))
    line = next(line for line in cells([one]).splitlines() if line.startswith("| digits, LoRA | 8 |"))
    values = [float(cell.split(" ")[0]) for cell in line.split(" | ")[2:8]]
    assert np.array(values) / values[0] == pytest.approx([1.0, 1.5, 2.0, 1.0, 1.5, 3.0], rel=5e-3)


@pytest.fixture(scope="module")
def found():
    return json.loads((FOLDER / "transfer.json").read_text())


def test_every_kind_of_change_is_measured_and_the_same_model_again(found):
    measured = [(one["model"], one["variant"]) for one in found]
    assert set(measured) <= {(model, one.name) for model in VARIANTS for one in VARIANTS[model]}
    assert all((model, AGAIN.name) in measured for model in VARIANTS)
    assert all(any(name in names for _, name in measured) for names in transfer_table.KINDS.values())


def test_the_tables_are_those_of_the_numbers(found):
    assert (FOLDER / "transfer.md").read_text().strip() == table(found).strip()
    assert (FOLDER / "transfer-cells.md").read_text().strip() == cells(found).strip()


def test_the_best_rival_is_no_worse_than_any(found):
    for one in found:
        best = Result(one).errors[BEST]
        for row in one["rows"]:
            if row["statistics"] == RIVAL:
                place = transfer.STEPS.index(row["calls"])
                assert geometric_mean(best[place]) <= geometric_mean(unpacked(row["errors"])) * (1 + 1e-12)


def test_own_and_base_are_the_same_measurement_but_for_the_seed_where_nothing_was_changed(found):
    for one in found:
        if one["variant"] == AGAIN.name:
            assert one["apart"]["r"] < 0.1 and one["disagreement"] < 0.01
