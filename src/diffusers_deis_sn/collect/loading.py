"""What to load, and how: a folder, a Hub name or a single file as a pipeline, in the precision that is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diffusers_deis_sn.collect.hush import hushed
from diffusers_deis_sn.collect.loadable import (
    INDEX,
    URL,
    check_lora,
    check_other_network,
    check_pipeline,
    check_words,
    said,
)
from diffusers_deis_sn.core.value_types import checked, demand, is_number, kind_of, shown
from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.hub.local import path_of

PRECISIONS = ("float32", "float16", "bfloat16")
OFFLOADS = ("model", "sequential")
_MISSING = re.compile(r"^(\w+) = \w+\.from_pretrained\(", re.MULTILINE)
_MEASURED = ("unet", "transformer")  # what a file is shared for
_NETWORKS = (*_MEASURED, "vae", "encoder")
DTYPE_SINCE = (0, 40)  # Diffusers before takes `torch_dtype` alone, and drops `dtype` without a word


@dataclass(frozen=True)
class Lora:
    """A LoRA and how much of it: a file, a folder or a Hub name.

    Raises:
        CalibrationError: A weight that is no number, a file that is not there, or no PEFT, which Diffusers needs.
    """

    place: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        demand(CalibrationError, "place", kind_of(str), self.place, default=False)
        if not is_number(self.weight) or not math.isfinite(self.weight):
            raise CalibrationError(
                f"The weight of the LoRA {self.place!r} must be a finite number, got {shown(self.weight)}. Give one."
            )
        check_lora(self.place)
        if not _installed("peft"):
            raise CalibrationError("`loras` needs the package peft, which is not installed: pip install peft.")

    @classmethod
    def of(cls, text: str) -> Lora:
        """A LoRA as the command line has it, PLACE or PLACE:WEIGHT."""
        place, colon, weight = text.rpartition(":")
        try:
            return (
                cls(place, float(weight))
                if colon and not path_of(text, "`loras`", CalibrationError).exists()
                else cls(text)
            )
        except ValueError as error:
            if isinstance(error, CalibrationError):
                raise
            return cls(text)  # a colon of the path


@checked(CalibrationError)
@dataclass(frozen=True)
class Loading:
    """Everything that says which pipeline is meant; `load()` loads it. Nothing is imported to check it.

    Args:
        place: Folder of a pipeline, its name on the Hub, or one file (.safetensors, .ckpt) with all networks.
        revision: Commit, branch or tag of a Hub model.
        variant: Such as fp16, of files like diffusion_pytorch_model.fp16.safetensors.
        dtype: Precision in which the networks are loaded, so that they never take more memory than that.
        device: Such as cuda or cpu; None for cuda where there is one.
        offload: None, "model" or "sequential": what is not at work waits in the memory of the CPU.
        loras: LoRAs, all in use at once.
        vae: Folder, Hub name or file of another autoencoder.
        config: For a single file: folder or Hub name of a pipeline of the same family, for class, configs, tokenizers,
            and the networks that the file lacks. By default Diffusers takes those of the family's first model from the
            Hub.

    Raises:
        CalibrationError: What cannot be loaded, as far as that can be known without loading.
    """

    place: str
    revision: str | None = None
    variant: str | None = None
    dtype: str = "float32"
    device: str | None = None
    offload: str | None = None
    loras: tuple[Lora, ...] = ()
    vae: str | None = None
    config: str | None = None

    def __post_init__(self) -> None:
        path_of(self.place, "`place`", CalibrationError)
        check_words(self.device, self.variant, self.revision)
        for name, known in (("dtype", PRECISIONS), ("offload", (None, *OFFLOADS))):
            if getattr(self, name) not in known:
                raise CalibrationError(f"`{name}` must be one of {known}, got {getattr(self, name)!r}.")
        if self.offload is not None and self.device is not None and self.device.startswith("cpu"):
            raise _no_offload(self.offload)
        if self.offload is not None and not _installed("accelerate"):
            raise CalibrationError("`offload` needs the package accelerate, which is not installed.")
        check_pipeline(self.place)
        for name, place in (("vae", self.vae), ("config", self.config)):
            if place is not None:
                check_other_network(name, place)
        self._check_single()

    @property
    def single(self) -> bool:
        """Whether all networks are in one file."""
        return bool(URL.match(self.place)) or Path(self.place).is_file()

    @property
    def name(self) -> str | None:
        """What to call the model in a record; None where the pipeline knows it."""
        return Path(self.place).stem if self.single else None

    def _check_single(self) -> None:
        if not self.single:
            if self.config is not None:
                raise CalibrationError(f"`config` is for single files, and {self.place!r} is none. Leave it out.")
            return
        if self.variant is not None:
            raise CalibrationError("`variant` is for folders and Hub names: give the single file that is meant.")
        if self.revision is not None and not URL.match(self.place):
            raise CalibrationError("`revision` is for Hub models, and a file has none. Leave it out.")
        if self.config is not None and Path(self.config).exists() and not (Path(self.config) / INDEX).is_file():
            raise CalibrationError(f"`config` must be the folder of a pipeline, and {self.config!r} has no {INDEX}.")

    def load(self) -> Any:
        """The pipeline on its device.

        What Diffusers and Transformers say meanwhile of backends, precisions and layers is not shown: it is about our
        call, and nobody can act on it. Their bars stay where something may be downloaded.

        Raises:
            CalibrationError: It cannot be loaded, or what is asked for does not go with it.
        """
        with hushed(bars=self._is_here()):
            return self._loaded(self._device())

    def _is_here(self) -> bool:
        """Whether all is on this machine."""
        places = (self.place, self.vae, self.config, *(one.place for one in self.loras))
        whole = not self.single or self.config is not None  # else the configs are the Hub's
        return whole and all(place is None or Path(place).exists() for place in places)

    def _loaded(self, device: str) -> Any:
        try:
            pipe = self._from_file() if self.single else self._from_pretrained()
        except CalibrationError:
            raise
        except Exception as error:  # loaders raise whatever they meet, of files that other people made
            raise CalibrationError(f"The pipeline {self.place!r} cannot be loaded: {said(error)}") from error
        try:
            self._add_loras(pipe)
            self._put(pipe, device)
        except (OSError, ValueError, RuntimeError, AssertionError, KeyError, ImportError) as error:
            if isinstance(error, CalibrationError):
                raise
            raise CalibrationError(f"The pipeline {self.place!r} cannot be set up: {said(error)}") from error
        return pipe

    def _device(self) -> str:
        import torch

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        _check_device(device)
        if self.offload is not None and device.startswith("cpu"):
            raise _no_offload(self.offload)
        return device

    def _from_pretrained(self) -> Any:
        from diffusers import DiffusionPipeline

        return DiffusionPipeline.from_pretrained(
            self.place, revision=self.revision, variant=self.variant, **self._precision(), **self._other_vae()
        )

    def _from_file(self) -> Any:
        import diffusers

        config = self.config or self._family()
        try:
            index = diffusers.DiffusionPipeline.load_config(config)
        except OSError as error:
            raise CalibrationError(
                f"The file {self.place!r} holds weights only. The classes, configs and tokenizers of its family are "
                f"those of {config!r} on the Hub, which cannot be had ({said(error).rstrip('.')}). Give `config`, the "
                "folder of a pipeline of the same family."
            ) from error
        kind: Any = getattr(diffusers, index["_class_name"], None)
        if not hasattr(kind, "from_single_file"):
            raise CalibrationError(
                f"{index['_class_name']} of {config!r} cannot be loaded from a single file by Diffusers. Use a folder "
                "or a Hub name."
            )
        options = {"config": config, "revision": self.revision, **self._precision(), **self._other_vae()}
        while True:
            try:
                return kind.from_single_file(self.place, **options)
            except Exception as error:
                name = _missing(error)
                if name is None or name in options:
                    raise
                options[name] = self._of_config(config, index, name)

    def _of_config(self, config: str, index: Mapping[str, Any], name: str) -> Any:
        """A network that the file lacks, from the pipeline that gives the configs."""
        from diffusers import DiffusionPipeline

        if name.startswith(_MEASURED):
            raise CalibrationError(
                f"The file {self.place!r} has no network {name!r} as {config!r} has it, so it is none of that family. "
                "Give `config`, the folder of a pipeline of its own family, or another file."
            )
        others = {key: None for key in index if any(part in key for part in _NETWORKS) and key != name}
        try:
            return getattr(DiffusionPipeline.from_pretrained(config, **others, **self._precision()), name)
        except Exception as error:
            raise CalibrationError(
                f"The file {self.place!r} lacks the network {name!r}, and so does {config!r}. Give `config`, the "
                f"folder of a whole pipeline of the same family. {said(error)}"
            ) from error

    def _family(self) -> str:
        """The Hub name of the first model whose weights have the same names and shapes, as Diffusers has them."""
        from diffusers.loaders.single_file_utils import fetch_diffusers_config, load_single_file_checkpoint

        return str(fetch_diffusers_config(load_single_file_checkpoint(self.place))["pretrained_model_name_or_path"])

    def _precision(self) -> dict[str, Any]:
        """The argument for the precision at load."""
        import torch
        from diffusers import __version__

        version = tuple(int(number) for number in __version__.split(".")[:2])
        return {"dtype" if version >= DTYPE_SINCE else "torch_dtype": getattr(torch, self.dtype)}

    def _other_vae(self) -> dict[str, Any]:
        """Another autoencoder as an argument of the pipeline's loading, or none."""
        if self.vae is None:
            return {}
        from diffusers import AutoencoderKL, AutoModel

        options = self._precision()
        if Path(self.vae).is_file():
            whole = self.config or (self.place if not self.single else None)
            if whole is not None:  # whose own autoencoder has the same sizes; that of the first of the family otherwise
                options |= {"config": whole, "subfolder": "vae"}
            return {"vae": AutoencoderKL.from_single_file(self.vae, **options)}
        if (Path(self.vae) / "vae").is_dir():
            options["subfolder"] = "vae"
        return {"vae": AutoModel.from_pretrained(self.vae, **options)}

    def _add_loras(self, pipe: Any) -> None:
        if not self.loras:
            return
        if not hasattr(pipe, "load_lora_weights"):
            raise CalibrationError(f"{type(pipe).__name__} takes no LoRA. Leave `loras` out.")
        weights: Mapping[str, float] = {f"lora_{i}": one.weight for i, one in enumerate(self.loras)}
        for name, one in zip(weights, self.loras, strict=True):
            path = Path(one.place)
            # With the name of the file Diffusers need not look for it, which it does on the Hub.
            where = (str(path.parent), {"weight_name": path.name}) if path.is_file() else (one.place, {})
            pipe.load_lora_weights(where[0], adapter_name=name, **where[1])
        pipe.set_adapters(list(weights), list(weights.values()))

    def _put(self, pipe: Any, device: str) -> None:
        """Move it to the device, part by part while it runs where it is to be offloaded."""
        if self.offload is None:
            pipe.to(device)
        elif self.offload == "model":
            pipe.enable_model_cpu_offload(device=device)
        else:
            pipe.enable_sequential_cpu_offload(device=device)


def _missing(error: Exception) -> str | None:
    """The name of the network that a single file lacks, where that is what Diffusers complains of."""
    found = _MISSING.search(str(error)) if type(error).__name__ == "SingleFileComponentError" else None
    return found[1] if found else None


def _no_offload(offload: str) -> CalibrationError:
    return CalibrationError(
        f"`offload` is {offload!r}, and the device is the CPU, from which there is nothing to offload. Leave it out."
    )


def _installed(package: str) -> bool:
    return find_spec(package) is not None


def _check_device(device: str) -> None:
    """Raise CalibrationError for a device that this machine has not, before anything is loaded for it."""
    import torch

    try:
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        first = said(error).partition(". ")[0].rstrip(".")
        raise CalibrationError(
            f"`device` is {device!r}, and PyTorch has none here: {first}. Take another, such as cpu."
        ) from error
