"""The call of a pipeline in a thread of its own, as if it were in the thread that started it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from diffusers_deis_sn.errors import CalibrationError
from diffusers_deis_sn.tuning.waiting import Answer, AskedScheduler, Stopped


class PerThread:
    """Whatever it is asked for, the scheduler of the thread that asks has it."""

    def __init__(self, config: Any) -> None:
        self._own = threading.local()
        self._config = config

    @property
    def config(self) -> Any:
        """The same in all threads."""
        return self._config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own.scheduler, name)

    def __len__(self) -> int:
        return len(self._own.scheduler)


class Batch:
    """A pipeline's call in a thread, asked one question after the other.

    Args:
        call: Calls the pipeline.
        scheduler: Its scheduler in all threads.
        config: Of the model's own.
    """

    def __init__(self, call: Callable[[], Any], scheduler: PerThread, config: Mapping[str, Any]) -> None:
        self._questions: SimpleQueue[tuple[Tensor, float] | None] = SimpleQueue()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._ended: BaseException | None = None
        self.scheduler = AskedScheduler.waiting(config, self._tell)
        self._call, self._shared = call, scheduler
        self._threads = torch.get_num_threads()
        self._around = _surroundings()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=lambda: context.run(self._run), daemon=True)
        self._thread.start()
        first = self.answer()
        assert first.sample is not None and first.output is not None
        self.start, self.first = first.sample, first.output

    def ask(self, sample: Tensor, level: float) -> Tensor:
        """What the network says of a batch of samples at a level. Raises what the pipeline raised, now or before."""
        if self._ended is not None:
            raise self._ended
        self._questions.put((sample, level))
        output = self.answer().output
        assert output is not None
        return output

    def answer(self) -> Answer:
        """The next answer. Raises what the pipeline raised."""
        answer = self._answers.get()
        if answer.error is not None:
            self._ended = answer.error
            self._thread.join()
            raise answer.error
        return answer

    def stop(self) -> None:
        """Leave the pipeline."""
        if self._thread.is_alive():
            self._questions.put(None)
            self._thread.join()

    def _tell(self, answer: Answer) -> tuple[Tensor, float] | None:
        self._answers.put(answer)
        return self._questions.get()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # of OpenMP each thread has a number of its own
        self._shared._own.scheduler = self.scheduler
        try:
            with ExitStack() as stack:
                for make in self._around:
                    stack.enter_context(make())
                self._call()
        except Stopped:
            return
        except BaseException as error:
            self._answers.put(Answer(error=error))
        else:
            self._answers.put(
                Answer(error=CalibrationError("The pipeline ended where its scheduler has further times for it."))
            )


def _surroundings() -> list[Callable[[], AbstractContextManager[Any]]]:
    """Contexts that hold in this thread and would not in another: no gradients, the GPU, mixed precision."""
    found: list[Callable[[], AbstractContextManager[Any]]] = [torch.no_grad]
    if torch.cuda.is_available():
        found.append(partial(torch.cuda.device, torch.cuda.current_device()))
    for device in ("cuda", "cpu"):
        if _is_mixed(device):
            found.append(partial(torch.autocast, device, _mixed_with(device)))
    return found


def _is_mixed(device: str) -> bool:
    try:
        return bool(torch.is_autocast_enabled(device))
    except TypeError:  # before PyTorch 2.4
        return torch.is_autocast_enabled() if device == "cuda" else torch.is_autocast_cpu_enabled()


def _mixed_with(device: str) -> torch.dtype:
    if hasattr(torch, "get_autocast_dtype"):
        return torch.get_autocast_dtype(device)
    return torch.get_autocast_gpu_dtype() if device == "cuda" else torch.get_autocast_cpu_dtype()
