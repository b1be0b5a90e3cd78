"""Finds where a Diffusers scheduler makes the host wait for the device, on a machine without a GPU.

The scheduler runs on tensors that claim to be on "cuda:0" but compute on the CPU. Every place where a real GPU would
make the host wait, or would be sent work that is not needed, is reported with its source line:

    read       a device value is read: item(), bool(), float(), a device tensor as index of a host tensor  (blocks)
    nonzero    the size of a result depends on device values: nonzero(), masks as indices, unique()         (blocks)
    check      a library function checks for errors on the device: torch.linalg.solve()                     (blocks)
    to host    copy from the device                                                                         (blocks)
    to device  copy from pageable host memory                                                               (blocks)
    async      copy with non_blocking=True
    fill       a tensor created on the device by a factory function; a kernel, no wait

Operations that mix host and device tensors raise RuntimeError, as they do with CUDA.

    report = trace(MyScheduler(), num_inference_steps=20, begin_index=0)
    assert not report.blocking("step"), report

Phases: "set_timesteps", "first step" (the one that looks up its index when begin_index is None) and "step" (all
others). Limits: tensors only (no streams, no memory), and operations unknown to `FakeCudaTensor` count as kernels.
"""

from __future__ import annotations

import collections
import linecache
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

BLOCKING = frozenset({"read", "nonzero", "check", "to host", "to device"})
PHASES = ("set_timesteps", "first step", "step")
DEVICE = torch.device("cuda:0")

TORCH_FOLDER = str(Path(torch.__file__).parent) + os.sep
STDLIB_FOLDER = sysconfig.get_path("stdlib") + os.sep


@dataclass(frozen=True, order=True)
class Event:
    """A kind of host/device traffic at a source line, in one phase."""

    phase: str
    kind: str
    file: str
    line: int

    @property
    def source(self) -> str:
        """The text of the line."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def blocks(self) -> bool:
        """Whether the host waits."""
        return self.kind in BLOCKING


@dataclass
class Report:
    """What happened while one scheduler ran."""

    title: str
    num_inference_steps: int
    events: collections.Counter[Event] = field(default_factory=collections.Counter)
    kernels_per_step: list[int] = field(default_factory=list)

    def blocking(self, phase: str | None = None) -> dict[Event, int]:
        """The events that make the host wait, of one phase or of all, with their numbers."""
        return {event: n for event, n in self.events.items() if event.blocks and phase in (None, event.phase)}

    def __str__(self) -> str:
        kernels = sorted(self.kernels_per_step)[len(self.kernels_per_step) // 2]
        lines = [f"{self.title}: {kernels} kernels per step"]
        for event, number in sorted(self.events.items(), key=lambda item: (PHASES.index(item[0].phase), item[0])):
            rate = f"{number / max(1, self.num_inference_steps - 1):.2f}/step" if event.phase == "step" else str(number)
            place = f"{Path(event.file).name}:{event.line}"
            mark = "!" if event.blocks else " "
            lines.append(f"  {mark} {event.phase:13s} {event.kind:9s} {rate:>10s}  {place}  | {event.source[:80]}")
        return "\n".join(lines)


class Recorder:
    """Collects events; one is active at a time."""

    active: Recorder | None = None

    def __init__(self, report: Report) -> None:
        self.report = report
        self.phase = PHASES[0]
        self.kernels = 0

    @contextmanager
    def activate(self) -> Iterator[Recorder]:
        """Makes this the recorder that `record` and `count_kernel` use."""
        previous, Recorder.active = Recorder.active, self
        try:
            yield self
        finally:
            Recorder.active = previous


def is_library(file: str) -> bool:
    """Whether code in this file is not to be blamed, but its caller: torch, the standard library, this tool."""
    if file == is_library.__code__.co_filename or file.startswith((TORCH_FOLDER, "<frozen ")):
        return True
    return file.startswith(STDLIB_FOLDER) and "site-packages" not in file and "dist-packages" not in file


def caller() -> tuple[str, int]:
    """File and line of the innermost frame that is to be blamed."""
    frame = sys._getframe(1)
    while frame is not None:
        if not is_library(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return "?", 0


def record(kind: str) -> None:
    """Adds an event of this kind at the line that is being executed."""
    if Recorder.active is not None:
        recorder = Recorder.active
        recorder.report.events[Event(recorder.phase, kind, *caller())] += 1


def count_kernel() -> None:
    """Counts an operation that computes something on the device (a view does not)."""
    if Recorder.active is not None:
        Recorder.active.kernels += 1


class FakeCudaTensor(torch.Tensor):
    """A tensor that says it is on the GPU and holds its values on the CPU."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> FakeCudaTensor:
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype
        )
        tensor.host = host
        return tensor

    @property
    def device(self) -> torch.device:
        return DEVICE

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_cpu(self) -> bool:
        return False

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        record("to host")
        return self.host.tolist()

    def __repr__(self) -> str:
        return f"FakeCudaTensor({self.host})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::").partition(".")[0]
        kwargs = dict(kwargs or {})
        to_host = kwargs.get("device") is not None and not is_cuda(kwargs["device"])
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        if not func.is_view:
            classify(name, args, kwargs, to_host)
        result = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
        if to_host:
            return result
        return args[0] if name.endswith("_") and result is unwrap(args[0]) else tree_map(wrap, result)


def wrap(value: Any) -> Any:
    """A tensor as a device tensor, anything else as it is."""
    return FakeCudaTensor(value) if isinstance(value, torch.Tensor) and not is_fake(value) else value


def unwrap(value: Any) -> Any:
    """The host tensor of a device tensor, anything else as it is."""
    return value.host if is_fake(value) else value


def is_fake(value: Any) -> bool:
    """Whether this is a device tensor."""
    return isinstance(value, FakeCudaTensor)


def is_cuda(device: Any) -> bool:
    """Whether a device argument means the GPU."""
    return device is not None and torch.device(device).type == "cuda"


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested lists and tuples."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)


def classify(name: str, args: Any, kwargs: dict[str, Any], to_host: bool) -> None:
    """Records what an operation costs; raises if CUDA would refuse it."""
    operands = list(tensors(args))
    if name in ("_local_scalar_dense", "is_nonzero", "equal"):
        record("read")
    elif name == "_linalg_check_errors":
        record("check")
    elif name in ("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"):
        record("nonzero")
        count_kernel()
    elif name == "copy_":
        if not all(map(is_fake, operands)):
            asynchronous = kwargs.get("non_blocking", len(args) > 2 and args[2])
            record("async" if asynchronous else "to device" if is_fake(operands[0]) else "to host")
        count_kernel()
    elif name in ("index", "index_put_", "_index_put_impl_"):
        if not is_fake(operands[0]):
            raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        masks = [index.dtype in (torch.bool, torch.uint8) for index in tensors(args[1])]
        filled = name != "index" and all(masks) and not is_fake(args[2]) and args[2].numel() == 1  # tensor[mask] = 0.0
        if any(masks) and not filled:
            record("nonzero")
        if any(not is_fake(operand) and operand.ndim for operand in operands):
            record("to device")
        count_kernel()
    elif to_host:
        if name == "_to_copy":
            record("to host")
    else:
        if any(not is_fake(operand) and operand.ndim for operand in operands):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, found cuda:0 and cpu")
        count_kernel()


class FakeCuda(TorchFunctionMode):
    """Within this context, what is created on or moved to "cuda" becomes a `FakeCudaTensor`."""

    COPIES = (torch.tensor, torch.as_tensor, torch.asarray)
    """Functions that copy data given as an argument."""

    OPAQUE = (torch.quantile, torch.nanquantile, torch.Tensor.quantile, torch.Tensor.nanquantile)
    """Functions that check their arguments on the CPU only; on the GPU they are kernels."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.cpu):
            return self.move(func, args, kwargs)
        if func in self.COPIES and is_fake(args[0]):
            return self.move(torch.Tensor.to, args, kwargs)
        if func in self.OPAQUE and is_fake(args[0]):
            count_kernel()
            return wrap(func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs)))
        if func is torch.Tensor.new_tensor and is_fake(args[0]):
            record("to device")
            return wrap(torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs, "device": "cpu"}))
        if is_cuda(kwargs.get("device")) and not any(map(is_fake, tensors(args))):
            del kwargs["device"]
            record("to device" if func in self.COPIES else "fill")
            count_kernel()
            return wrap(func(*args, **kwargs))
        return func(*args, **kwargs)

    @staticmethod
    def move(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Tensor.to, Tensor.cuda and Tensor.cpu."""
        tensor, *positional = args
        non_blocking = kwargs.pop("non_blocking", False)
        named_target = kwargs.pop("device", None)
        target = {torch.Tensor.cuda: DEVICE, torch.Tensor.cpu: torch.device("cpu")}.get(func, named_target)
        dtype = kwargs.get("dtype")
        for value in positional:
            if isinstance(value, torch.Tensor):
                target, dtype = value.device, value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, (str, torch.device)):
                target = value
        if target is not None and is_cuda(target) != is_fake(tensor):
            record("async" if non_blocking else "to device" if is_cuda(target) else "to host")
            count_kernel()
            tensor = tensor.host.clone() if is_fake(tensor) else FakeCudaTensor(tensor.clone())
        elif kwargs.get("copy"):
            tensor = tensor.clone()
        return tensor if dtype in (None, tensor.dtype) else torch.ops.aten._to_copy(tensor, dtype=dtype)


def trace(
    scheduler: Any,
    num_inference_steps: int = 20,
    begin_index: int | None = None,
    shape: tuple[int, ...] = (2, 4, 16, 16),
    dtype: torch.dtype = torch.float32,
    step_kwargs: dict[str, Any] | None = None,
    title: str | None = None,
) -> Report:
    """Runs set_timesteps(n, device="cuda") and all steps of a scheduler on fake device tensors.

    Args:
        scheduler: has set_timesteps, timesteps and step; perhaps scale_model_input and set_begin_index.
        num_inference_steps: number of steps; the phase "step" needs at least 2.
        begin_index: argument of set_begin_index, which some pipelines call and others do not; None: not called.
        shape, dtype: of the sample and of the model output, which are random.
        step_kwargs: more arguments for step.
        title: first words of the report.
    """
    report = Report(title or type(scheduler).__name__, num_inference_steps)
    generator = torch.Generator().manual_seed(0)
    sample = FakeCudaTensor(torch.randn(shape, generator=generator).to(dtype))
    model_output = FakeCudaTensor(torch.randn(shape, generator=generator).to(dtype))
    with warnings.catch_warnings(), FakeCuda(), Recorder(report).activate() as recorder:
        warnings.simplefilter("ignore")
        scheduler.set_timesteps(num_inference_steps, device="cuda")
        if begin_index is not None and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin_index)
        for index, timestep in enumerate(scheduler.timesteps):
            recorder.phase = "first step" if index == 0 else "step"
            recorder.kernels = 0
            if hasattr(scheduler, "scale_model_input"):
                scheduler.scale_model_input(sample, timestep)
            sample = scheduler.step(model_output, timestep, sample, **(step_kwargs or {})).prev_sample
            report.kernels_per_step.append(recorder.kernels)
    return report
