"""What can be loaded, as far as files, names and options tell without loading it: nothing heavy is imported."""

from __future__ import annotations

import re
from pathlib import Path

from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.hub.names import check_revision

CHECKPOINTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
INDEX, CONFIG = "model_index.json", "config.json"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
URL = re.compile(r"https?://")
_LORA = re.compile(r"lora[._](up|down|A|B)\b")
_TORCH = (b"PK\x03\x04", b"\x80")  # how its files begin, new and old
_DEVICE = re.compile(r"[a-z]+(:\d{1,3})?")
_WORD = re.compile(r"\w[\w.-]*")  # within the name of a file


def check_words(device: str | None, variant: str | None, revision: str | None) -> None:
    """Raise CalibrationError for options that no device, file or commit can be called."""
    check_revision(revision, CalibrationError)
    for name, value, form, such in (
        ("device", device, _DEVICE, "a device of PyTorch such as cpu, cuda or cuda:1"),
        ("variant", variant, _WORD, "the part of the files' names that says so, such as fp16"),
    ):
        if value is not None and not (isinstance(value, str) and form.fullmatch(value)):
            raise CalibrationError(f"`{name}` must be {such}, got {value!r}. Leave it out for the default.")


def check_pipeline(place: str) -> None:
    """Raise CalibrationError for what is neither there nor a name on the Hub, or there and no pipeline."""
    path = Path(place)
    if URL.match(place):
        if not re.match(r"https?://(huggingface\.co|hf\.co)/", place):
            raise CalibrationError(f"The address {place!r} is not on the Hub. Download the file, and give its path.")
    elif path.is_dir():
        if not (path / INDEX).is_file():
            files = sorted(one.name for one in path.iterdir() if one.suffix in CHECKPOINTS[:2])
            hint = f" For a single file give its path, such as {str(path / files[0])!r}." if files else ""
            raise CalibrationError(f"The folder {place!r} is no Diffusers pipeline: it has no {INDEX}.{hint}")
    elif path.is_file():
        names = _names_of("The file", path)
        if any(_LORA.search(name) for name in names):
            raise CalibrationError(
                f"The file {place!r} is a LoRA, which is no model by itself. Give the model, and this as `loras`."
            )
        if path.suffix == ".safetensors" and path.name.startswith("diffusion_pytorch_model"):
            raise CalibrationError(
                f"The file {place!r} is one network of a pipeline. Give the folder of the whole, with its {INDEX}."
            )
    elif path.suffix in CHECKPOINTS or not HUB_NAME.fullmatch(place):
        raise CalibrationError(
            f"The pipeline {place!r} cannot be loaded: there is no such file or folder, and a Hub name is user/name."
        )


def check_lora(place: str) -> None:
    """Raise CalibrationError for what is no LoRA: not there and no name on the Hub, or another file or folder."""
    path = path_of(place, "`loras`", CalibrationError)
    if path.is_file():
        _names_of("The file of `loras`", path)
    elif path.is_dir() and not any(one.suffix in CHECKPOINTS for one in path.iterdir()):
        raise CalibrationError(f"`loras` has the folder {place!r}, without a file of weights. Give the file.")
    elif not path.exists() and not HUB_NAME.fullmatch(place):
        raise CalibrationError(f"`loras` has {place!r}, which is no file, folder or Hub name. Correct the path.")


def check_other_network(name: str, place: str) -> None:
    """Raise CalibrationError for another autoencoder, or another pipeline's config, that is not there or none.

    Args:
        name: Of the option, `vae` or `config`.
        place: A file, folder or Hub name.
    """
    path = path_of(place, f"`{name}`", CalibrationError)
    if not path.exists() and not HUB_NAME.fullmatch(place):
        raise CalibrationError(f"`{name}` is {place!r}, which is not there. Correct the path.")
    if name == "vae" and path.is_file():
        _names_of("The file of `vae`", path)
    elif name == "vae" and path.is_dir() and not any((path / one / CONFIG).is_file() for one in ("", "vae")):
        raise CalibrationError(f"`vae` is the folder {place!r}, which has no {CONFIG}. Give that of an autoencoder.")


def _names_of(what: str, path: Path) -> list[str]:
    """The names of the tensors in a file of weights; none where only torch can tell.

    Raises:
        CalibrationError: Another file, or one that is not whole.
    """
    if path.suffix not in CHECKPOINTS:
        raise CalibrationError(
            f"{what} {str(path)!r} is no checkpoint, which ends in one of {', '.join(CHECKPOINTS)}. Give one, a folder "
            "or a Hub name."
        )
    if path.suffix != ".safetensors":
        with path.open("rb") as file:
            if not file.read(4).startswith(_TORCH):
                raise CalibrationError(f"{what} {str(path)!r} is none that torch has written. Download it again.")
        return []
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return list(file.keys())
    except SafetensorError as error:
        raise CalibrationError(
            f"{what} {str(path)!r} is not whole, or no safetensors ({said(error)}). Download it again."
        ) from error


def said(error: Exception) -> str:
    """What an error says, in one line, and its class where that says more."""
    text = " ".join(str(error).split())
    named = isinstance(error, OSError | ValueError | RuntimeError)
    text = text if named and text else f"{type(error).__name__}: {text}"
    return text if text.endswith(".") else f"{text}."
