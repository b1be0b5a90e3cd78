"""The score statistics published with DEIS-SN, two files that `torch.save` wrote, read as a `ScoreStatistics`.

The repository of the paper (`REPOSITORY`) has one such file for each of its two models. It is a dict of two vectors,
one entry for each training time of the linear schedule of DDPM:

    `score_abs`: E[ 1/d sum_i |s_i| ], the mean absolute score s = -eps / sigma over one batch of samples
    `Ls`:        sigma_t

so that r(t) = score_abs * Ls. They were taken down along a trajectory, hence noisiest first.

A file of `torch.save` is a pickle, and a pickle can do anything. It is never opened but by the restricted reader of
PyTorch (`weights_only=True`), and even so only where its bytes are known, or where that reader can be trusted.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from diffusers_deis_sn.core.process import Array, NoiseSchedule, log_snr
from diffusers_deis_sn.core.vp import vp_schedule
from diffusers_deis_sn.errors import (
    StatisticsError,
    StatisticsFormatError,
    StatisticsMismatchError,
    StatisticsNotFoundError,
)
from diffusers_deis_sn.hub.local import path_of
from diffusers_deis_sn.statistics.origin import StatisticsOrigin
from diffusers_deis_sn.statistics.record import ScoreStatistics

REPOSITORY = "https://github.com/mtkresearch/Diffusion-DEIS-SN"
LARGEST_FILE = 2**20  # bytes, packed or unpacked; the published files have 9 kB

# Of sigma, relative. The published sigma came from `alphas_cumprod` in float32. There each factor is rounded twice, by
# 3e-8 at most, and adds at least 1e-4 to the noise share: up to 3e-4 of sigma (8e-5 is found, at t = 0). Schedules that
# mean to be others are further away: betas up to 0.0201 instead of 0.02 make 2e-3, entries one place off 0.5.
TOLERANCE = 1e-3

# The first PyTorch whose restricted reader no forged file is known to get past: before 2.6 an archive of TorchScript
# was run (CVE-2025-32434), before 2.10 memory could be overwritten (CVE-2026-24747).
TRUSTED_TORCH = (2, 10)

_KEYS = ("score_abs", "Ls")
_TENSOR_PARTS = re.compile(r"torch\._utils _rebuild_tensor_v2|torch \w+Storage|collections OrderedDict")
_REMEDY = (
    f"Published are cifar10_Ls_score_abs.pt and lsunchurch_Ls_score_abs.pt in {REPOSITORY}; measure other models with "
    "`deis-sn calibrate`."
)
_DOWNLOAD = f"Download it again from {REPOSITORY}."

# What the repository's code says of the files it ships; it does not say how many samples there were, nor their seed.
_MEASURED: dict[str, Any] = {
    "solver": "DEIS order 3 in t, trailing, to sigma zero, on the EMA network (defaults of the published code)",
    "num_inference_steps": 1000,
    "guidance_scale": 1.0,  # unconditional models: the network's own output
    "licence": "MIT",
}
_PUBLISHED: dict[str, dict[str, Any]] = {  # by SHA-256 of the file
    "8d5cafd1c93be6c0dac90d30929cd32db7f2b4dfe2fbc3f61694d86f25c61d9c": {
        "base_model": "Diffusion-DEIS-SN, CIFAR-10 32x32 unconditional DDPM",
        "sample_shape": (3, 32, 32),
        "source": f"{REPOSITORY} cifar10_Ls_score_abs.pt",
    },
    "0693e8dc39ad6906cf7f17117a5aa825eb7cb59c990de015b2e983e39f031788": {
        "base_model": "Diffusion-DEIS-SN, LSUN-Church 64x64 unconditional DDPM",
        "sample_shape": (3, 64, 64),
        "source": f"{REPOSITORY} lsunchurch_Ls_score_abs.pt",
    },
}


def read_published(path: str | PathLike[str], base_model: str | None = None) -> ScoreStatistics:
    """Statistics from a file in the form that was published with DEIS-SN (arXiv 2311.00157).

        r(t) = score_abs * Ls    at t = 0, 1, ..., T-1

    Entry k from the clean end belongs to the training time t = k: `Ls` there is sigma_k, and the network was called at
    k. The published sampler spreads the entries over its time (t + 1) / T as `linspace(0, 1, T)`, and so reads r one
    place off at the clean end: the measurement of t + 1 near t = 0. Here r is read where it was measured.

    What the file does not hold is left unknown: standard errors, mean square and number of samples. The two published
    files are recognised by their SHA-256, and only of these are model, solver and licence known. Keys of the file
    other than the two are ignored.

    Args:
        path: A file written by `torch.save`.
        base_model: Name of the model that was measured; by default that of the published file, otherwise unknown.

    Raises:
        StatisticsNotFoundError: No such file.
        StatisticsFormatError: Not a file of `torch.save`, one with anything in it but tensors, too large, damaged,
            without the two vectors, or with numbers that are not finite and positive, or jump.
        StatisticsMismatchError: `Ls` is not sigma of the linear schedule of DDPM.
    """
    path = path_of(path, "The file", StatisticsNotFoundError)
    data = _bytes(path)
    digest = hashlib.sha256(data).hexdigest()
    content = _opened(data, str(path), known=digest in _PUBLISHED)
    noise = vp_schedule()
    score_abs, sigma = (_vector(content, key, len(noise), str(path)) for key in _KEYS)
    if sigma[0] > sigma[-1]:
        score_abs, sigma = score_abs[::-1], sigma[::-1]
    times = np.arange(float(len(noise)))
    _check_schedule(sigma, times, noise, str(path))
    try:
        return ScoreStatistics(
            timesteps=times,
            log_snr=log_snr(noise.rho(times)),
            mean_abs=score_abs * sigma,
            origin=_origin(digest, path.name, base_model, noise),
        )
    except StatisticsError as error:
        raise StatisticsFormatError(f"{str(path)!r} holds no magnitudes of a score: {error} {_REMEDY}") from error


def _origin(digest: str, name: str, base_model: str | None, noise: NoiseSchedule) -> StatisticsOrigin:
    """What is known of a file: much of a published one, of another only what its form implies."""
    facts: dict[str, Any] = {"source": name}
    if digest in _PUBLISHED:
        facts = _MEASURED | _PUBLISHED[digest]
    if base_model is not None:
        facts["base_model"] = base_model
    facts["source"] += f", SHA-256 {digest}"
    return StatisticsOrigin(
        noise_schedule=str(noise), fingerprint=noise.fingerprint, prediction_type="epsilon", **facts
    )


# ------------------------------------------------------------------------------------------------- opening the file


def _refuse(place: str, rule: str, remedy: str = _REMEDY) -> NoReturn:
    raise StatisticsFormatError(f"{place!r} {rule}. {remedy}")


def _bytes(path: Path) -> bytes:
    """The file; no more of it than a byte beyond what is allowed."""
    if not path.is_file():
        what = "it is a folder" if path.is_dir() else "there is no such file"
        raise StatisticsNotFoundError(f"No published statistics at {str(path)!r}: {what}. {_REMEDY}")
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        _refuse(str(path), f"has more than {LARGEST_FILE} bytes, and published statistics have some 9000")
    return data


def _opened(data: bytes, place: str, known: bool) -> dict[Any, Any]:
    """The dict in a file of `torch.save`.

    Raises:
        StatisticsFormatError: Whatever else it is; and any but the published files under an old PyTorch.
    """
    import torch  # seconds, which a file that is not there need not take

    # torch.load decides by these bytes; what begins otherwise it would take for older formats, which run code.
    if not data.startswith(b"PK\x03\x04"):
        _refuse(place, "is not a zip archive as torch.save writes them")
    try:
        _check_archive(data, place)
        if not known:
            _check_torch(place)
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except StatisticsError:
        raise
    except Exception as error:
        # A forged archive fails in ways without end. What PyTorch says is left out: it advises to trust the file.
        raise StatisticsFormatError(
            f"{place!r} cannot be read as an archive of tensors ({type(error).__name__}). {_REMEDY}"
        ) from error
    if not isinstance(content, dict):
        _refuse(place, f"holds a {type(content).__name__}, and it must be a dict of {' and '.join(_KEYS)}")
    return content


def _check_archive(data: bytes, place: str) -> None:
    """Refuse an archive that unpacks to too much, is damaged, or whose pickle asks for anything but tensors.

    PyTorch itself does not look at the CRC-32 that the archive has of each of its members.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_FILE:
            _refuse(place, f"unpacks to {size} bytes, and published statistics have some 9000")
        names = archive.namelist()
        if len(set(names)) < len(names):  # of which PyTorch may take another than is checked here
            _refuse(place, "is a zip archive that has two members of one name")
        if (damaged := archive.testzip()) is not None:
            _refuse(place, f"is damaged: {damaged!r} in it is not what its CRC-32 says", _DOWNLOAD)
        pickles = [name for name in names if name.lower().endswith(".pkl")]
        if len(pickles) != 1:  # TorchScript has several
            _refuse(place, "is a zip archive, but not one that torch.save wrote")
        for opcode, argument, _ in pickletools.genops(archive.read(pickles[0])):
            if opcode.name == "GLOBAL" and not _TENSOR_PARTS.fullmatch(str(argument)):
                asked = str(argument).replace(" ", ".")[:80]
                _refuse(place, f"asks for {asked!r}, and nothing but a dict of tensors is ever loaded")


def _check_torch(place: str) -> None:
    """Refuse to open a stranger's file with a PyTorch that it could get the better of."""
    import torch

    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < TRUSTED_TORCH:
        needed = ".".join(map(str, TRUSTED_TORCH))
        _refuse(
            place,
            f"is none of the published files, and PyTorch {torch.__version__} does not open strangers' files safely",
            f"Import it with PyTorch {needed} or later; what is written can be used with any. {_REMEDY}",
        )


# ------------------------------------------------------------------------------------------------------- the numbers


def _vector(content: dict[Any, Any], key: str, length: int, place: str) -> Array:
    """One of the two vectors as float64, finite and positive; (T,)."""
    import torch

    if key not in content:
        _refuse(place, f"lacks {key!r}: a dict of {' and '.join(_KEYS)} is wanted")
    tensor = content[key]
    if not isinstance(tensor, torch.Tensor):
        _refuse(place, f"has a {type(tensor).__name__} as {key!r}, and it must be a tensor")
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.dtype not in (torch.float32, torch.float64) or tuple(tensor.shape) != (length,):
        found = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        _refuse(place, f"has {key!r} as {found}, and it must be float32 or float64 [{length}], one entry for each time")
    values = tensor.detach().to(torch.float64).numpy()
    bad = ~(np.isfinite(values) & (values > 0.0))
    if np.any(bad):
        worst = int(np.argmax(bad))
        _refuse(place, f"has {values[worst]} in {key!r} at position {worst}, and it must be finite and positive")
    return values


def _check_schedule(sigma: Array, times: Array, noise: NoiseSchedule, place: str) -> None:
    """Raise StatisticsMismatchError unless `sigma` is that of `noise` at `times`."""
    expected = noise.sigma(noise.rho(times))
    apart = np.abs(sigma / expected - 1.0)
    if np.any(apart > TOLERANCE):
        worst = int(np.argmax(apart))
        raise StatisticsMismatchError(
            f"{place!r} is of another noise schedule than {noise}, the one of all published statistics: `Ls` is "
            f"{sigma[worst]:.6g} at t = {times[worst]:g}, and sigma there is {expected[worst]:.6g}. {_REMEDY}"
        )
