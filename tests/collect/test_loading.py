"""Loading: whatever people have, in the precision asked for from the start, and refusals before anything heavy."""

from __future__ import annotations

import subprocess
import sys

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from diffusers_deis_sn.collect import loading
from diffusers_deis_sn.collect.loading import Loading, Lora
from diffusers_deis_sn.errors import CalibrationError
from refusals import refused
from single_files import save_single_file
from tiny_pipelines import BUILDERS

NETWORKS = ("unet", "vae", "text_encoder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stable Diffusion as a folder, `sd`, as files of half precision, `sd16`, and as one file, `mine.safetensors`."""
    root = tmp_path_factory.mktemp("models")
    pipe = BUILDERS["sd"]()[0]
    pipe.save_pretrained(root / "sd")
    save_single_file(pipe, root / "mine.safetensors")
    BUILDERS["ddpm"]()[0].save_pretrained(root / "ddpm")
    pipe.to(torch.float16).save_pretrained(root / "sd16", variant="fp16")
    return root


def weights(pipe) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": one for part in NETWORKS for name, one in getattr(pipe, part).state_dict().items()}


def assert_same_weights(pipe, other) -> None:
    ours, theirs = weights(pipe), weights(other)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


# --------------------------------------------------------------------------------------------------- what is loaded


def test_a_single_file_is_the_pipeline_that_it_was_made_of(folder):
    single = Loading(str(folder / "mine.safetensors"), config=str(folder / "sd"), device="cpu")
    pipe = single.load()
    assert single.single and single.name == "mine" and isinstance(pipe, diffusers.StableDiffusionPipeline)
    assert_same_weights(pipe, Loading(str(folder / "sd"), device="cpu").load())


def test_a_network_that_the_file_lacks_is_that_of_the_config_if_it_has_weights(folder, tmp_path):
    from safetensors.torch import load_file

    whole = load_file(folder / "mine.safetensors")
    save_file({k: v for k, v in whole.items() if k.startswith("model.diff")}, tmp_path / "bare.safetensors")
    pipe = Loading(str(tmp_path / "bare.safetensors"), config=str(folder / "sd"), device="cpu").load()
    assert_same_weights(pipe, BUILDERS["sd"]()[0])
    BUILDERS["sd"]()[0].save_pretrained(tmp_path / "config")
    for file in (tmp_path / "config").rglob("*.safetensors"):
        file.unlink()
    only = Loading(str(tmp_path / "bare.safetensors"), config=str(tmp_path / "config"), device="cpu")
    refused(CalibrationError, ["bare.safetensors", "lacks the network 'text_encoder'", "`config`"], only.load)


def test_without_the_hub_a_single_file_asks_for_a_config(folder):
    words = ["mine.safetensors", "holds weights only", "stable-diffusion-v1-5", "Give `config`"]
    refused(CalibrationError, words, Loading(str(folder / "mine.safetensors"), device="cpu").load)


def test_a_class_without_single_files_is_named(folder):
    odd = Loading(str(folder / "mine.safetensors"), config=str(folder / "ddpm"))
    refused(CalibrationError, ["DDPMPipeline", "cannot be loaded from a single file"], odd.load)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("dtype", loading.PRECISIONS)
def test_no_network_is_ever_in_another_precision_than_is_asked_for(folder, monkeypatch, single, dtype):
    seen = set()

    def to(self, *arguments, **options):  # the first thing that is done with a pipeline that is loaded
        seen.update(one.dtype for one in weights(self).values() if one.is_floating_point())
        return self

    monkeypatch.setattr(diffusers.DiffusionPipeline, "to", to)
    place = folder / ("mine.safetensors" if single else "sd")
    Loading(str(place), dtype=dtype, device="cpu", config=str(folder / "sd") if single else None).load()
    assert seen == {getattr(torch, dtype)}


@pytest.mark.parametrize(
    ("version", "name"),
    [("0.36.0", "torch_dtype"), ("0.39.2", "torch_dtype"), ("0.40.0.dev0", "dtype"), ("1.0", "dtype")],
)
def test_the_precision_has_the_name_that_the_installed_diffusers_reads(monkeypatch, version, name):
    monkeypatch.setattr(diffusers, "__version__", version)
    assert Loading("user/repo", dtype="float16")._precision() == {name: torch.float16}


def test_a_variant_is_loaded_and_one_that_is_not_there_refused(folder):
    pipe = Loading(str(folder / "sd16"), variant="fp16", dtype="float16", device="cpu").load()
    assert {one.dtype for one in weights(pipe).values() if one.is_floating_point()} == {torch.float16}
    refused(CalibrationError, ["cannot be loaded"], Loading(str(folder / "sd16"), variant="fp8", device="cpu").load)


def test_another_autoencoder_takes_the_place_of_the_pipelines(folder, tmp_path):
    other = BUILDERS["sd"]()[0]
    with torch.no_grad():
        for weight in other.vae.parameters():
            weight.add_(1.0)
    other.save_pretrained(tmp_path / "other")
    file = save_single_file(other, tmp_path / "other.safetensors")
    place = {"device": "cpu", "vae": ""}
    for vae in (tmp_path / "other", tmp_path / "other" / "vae", file):
        for model in (
            {"place": str(folder / "sd")},
            {"place": str(folder / "mine.safetensors"), "config": str(folder / "sd")},
        ):
            pipe = Loading(**(place | model | {"vae": str(vae)})).load()
            theirs = other.vae.state_dict()
            assert all(torch.equal(one, theirs[name]) for name, one in pipe.vae.state_dict().items())
            assert torch.equal(pipe.unet.conv_in.weight, other.unet.conv_in.weight)


# ---------------------------------------------------------------------------------------------- LoRAs and offloading


class Adaptable:
    """A pipeline that notes what is done to it."""

    def __init__(self) -> None:
        self.done = []

    def __getattr__(self, name):
        return lambda *arguments, **options: self.done.append((name, arguments, options))


@pytest.fixture
def adaptable(monkeypatch):
    """What `from_pretrained` gives; PEFT and a GPU are said to be there."""
    pipe = Adaptable()
    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", lambda *_, **__: pipe)
    monkeypatch.setattr(loading, "_installed", lambda package: True)
    monkeypatch.setattr(loading, "_check_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return pipe


def test_loras_are_loaded_with_their_weights_before_the_pipeline_moves(adaptable, tmp_path):
    save_file({"a.lora_up.weight": torch.zeros(1)}, tmp_path / "style.safetensors")
    loras = (Lora.of(f"{tmp_path / 'style.safetensors'}:0.5"), Lora.of("user/lora"))
    Loading("user/repo", loras=loras).load()
    assert adaptable.done == [
        ("load_lora_weights", (str(tmp_path),), {"adapter_name": "lora_0", "weight_name": "style.safetensors"}),
        ("load_lora_weights", ("user/lora",), {"adapter_name": "lora_1"}),
        ("set_adapters", (["lora_0", "lora_1"], [0.5, 1.0]), {}),
        ("to", ("cuda",), {}),
    ]


def test_a_real_lora_changes_what_the_network_says_as_its_weight_does(folder, tmp_path):
    peft = pytest.importorskip("peft")
    pipe = BUILDERS["sd"]()[0]
    pipe.unet.add_adapter(peft.LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    from peft.utils import get_peft_model_state_dict

    layers = diffusers.utils.convert_state_dict_to_diffusers(get_peft_model_state_dict(pipe.unet))
    pipe.save_lora_weights(tmp_path, unet_lora_layers=layers)
    file = tmp_path / "pytorch_lora_weights.safetensors"

    def said(pipe):
        generator = torch.Generator().manual_seed(0)
        x, text = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 77, 24, generator=generator)
        with torch.no_grad():
            return pipe.unet(x, 500, text).sample

    def loaded(*loras):
        return said(Loading(str(folder / "sd"), device="cpu", loras=tuple(map(Lora.of, loras))).load())

    torch.testing.assert_close(loaded(str(file)), said(pipe), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(loaded(f"{file}:0"), loaded(), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(loaded(f"{file}:0.5"), loaded(str(file)), atol=1e-4)
    refused(CalibrationError, ["is a LoRA", "`loras`"], Loading, str(file))


@pytest.mark.parametrize(
    ("text", "place", "weight"),
    [("user/a", "user/a", 1.0), ("user/a:0.8", "user/a", 0.8), ("user/a:-1", "user/a", -1.0)],
)
def test_a_weight_stands_behind_a_colon(adaptable, text, place, weight):
    assert Lora.of(text) == Lora(place, weight)


def test_a_colon_may_be_part_of_a_path(adaptable, tmp_path):
    (tmp_path / "a:1").mkdir()
    save_file({"a.lora_up.weight": torch.zeros(1)}, tmp_path / "a:1" / "style.safetensors")
    assert Lora.of(str(tmp_path / "a:1")) == Lora(str(tmp_path / "a:1"))
    refused(CalibrationError, ["user/a:strong"], Lora.of, "user/a:strong")
    refused(CalibrationError, ["finite number", "nan"], Lora.of, "user/a:nan")
    refused(CalibrationError, ["none.safetensors", "Correct"], Lora.of, str(tmp_path / "none.safetensors"))


def test_loras_without_peft_and_pipelines_without_loras_are_refused(monkeypatch, folder):
    monkeypatch.setattr(loading, "_installed", lambda package: False)
    refused(CalibrationError, ["`loras`", "pip install peft"], Lora, "user/a")
    monkeypatch.setattr(loading, "_installed", lambda package: True)
    bare = Loading(str(folder / "ddpm"), device="cpu", loras=(Lora("user/a"),))
    refused(CalibrationError, ["DDPMPipeline takes no LoRA"], bare.load)


@pytest.mark.parametrize(
    ("offload", "call"), [("model", "enable_model_cpu_offload"), ("sequential", "enable_sequential_cpu_offload")]
)
def test_what_is_offloaded_is_not_moved(adaptable, offload, call):
    Loading("user/repo", offload=offload).load()
    assert adaptable.done == [(call, (), {"device": "cuda"})]


@pytest.mark.parametrize("offload", loading.OFFLOADS)
def test_there_is_nothing_to_offload_from_the_cpu(monkeypatch, offload):
    words = ["`offload`", repr(offload), "the CPU"]
    refused(CalibrationError, words, Loading, "user/repo", offload=offload, device="cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(CalibrationError, words, Loading("user/repo", offload=offload).load)
    monkeypatch.setattr(loading, "_installed", lambda package: False)
    refused(CalibrationError, ["accelerate"], Loading, "user/repo", offload=offload)


def test_what_goes_wrong_on_the_way_to_the_device_is_said(adaptable, monkeypatch):
    def fails(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(adaptable, "to", fails)
    refused(CalibrationError, ["cannot be set up", "out of memory"], Loading("user/repo").load)


# ---------------------------------------------------------------------------------------------------------- refusals


def test_what_cannot_be_loaded_is_refused_before_it_is_tried(folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "page.safetensors").write_text("<html>")
    (tmp_path / "empty").mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "m.safetensors").write_bytes(b"")
    save_file({"unet.x.lora_A.weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(1)}, tmp_path / "kohya.safetensors")
    unet = folder / "sd" / "unet" / "diffusion_pytorch_model.safetensors"
    mine = str(folder / "mine.safetensors")
    cases = (
        ({"place": tmp_path / "notes.txt"}, ["notes.txt", "is no checkpoint", ".safetensors"]),
        ({"place": tmp_path / "page.safetensors"}, ["page.safetensors", "Download it again"]),
        ({"place": tmp_path / "lora.safetensors"}, ["is a LoRA", "`loras`"]),
        ({"place": tmp_path / "kohya.safetensors"}, ["is a LoRA", "`loras`"]),
        ({"place": unet}, ["one network of a pipeline", "model_index.json"]),
        ({"place": tmp_path / "empty"}, ["no model_index.json"]),
        ({"place": tmp_path / "files"}, ["no model_index.json", "m.safetensors"]),
        ({"place": tmp_path / "none"}, ["no such file or folder"]),
        ({"place": "user/none.safetensors"}, ["no such file or folder"]),
        ({"place": "https://example.org/m.safetensors"}, ["not on the Hub", "Download the file"]),
        ({"place": "model"}, ["no such file or folder", "user/name"]),
        ({"place": mine, "variant": "fp16"}, ["`variant`", "single file"]),
        ({"place": mine, "revision": "main"}, ["`revision`"]),
        ({"place": mine, "config": tmp_path / "empty"}, ["`config`", "model_index.json"]),
        ({"place": mine, "config": tmp_path / "none"}, ["`config`", "not there"]),
        ({"place": mine, "vae": tmp_path / "none"}, ["`vae`", "not there"]),
        ({"place": folder / "sd", "config": "user/repo"}, ["`config` is for single files"]),
        ({"place": "user/repo", "dtype": "float8"}, ["`dtype`", "'float8'", "bfloat16"]),
        ({"place": "user/repo", "offload": "all"}, ["`offload`", "'all'", "sequential"]),
    )
    for options, words in cases:
        texts = {name: str(value) for name, value in options.items()}
        refused(CalibrationError, words, lambda texts=texts: Loading(**texts))


def test_whatever_a_loader_raises_is_said_in_one_line(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "odd.safetensors")
    BUILDERS["sd"]()[0].save_pretrained(tmp_path / "sd")
    odd = Loading(str(tmp_path / "odd.safetensors"), config=str(tmp_path / "sd"), device="cpu")
    refused(CalibrationError, ["odd.safetensors", "no network 'unet'", "`config`"], odd.load)
    (tmp_path / "sd" / "model_index.json").write_text("{")
    refused(CalibrationError, ["cannot be loaded"], Loading(str(tmp_path / "sd"), device="cpu").load)


def test_the_checks_import_neither_torch_nor_diffusers(folder):
    program = (
        "import sys; from diffusers_deis_sn.collect.loading import Loading\n"
        f"Loading({str(folder / 'mine.safetensors')!r}, config={str(folder / 'sd')!r}, dtype='float16')\n"
        "print(sorted({'torch', 'diffusers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("device", ["three", "cuda:99", "meta", "xla"])
def test_a_device_that_is_not_here_is_known_before_anything_is_loaded(monkeypatch, device):
    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    refused(CalibrationError, ["`device`", repr(device), "cpu"], Loading("user/repo", device=device).load)
