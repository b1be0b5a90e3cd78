"""Two runs on one scheduler are told apart, whatever they hand back: one picture is right, or somebody is told."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.exact.flows import SD_BETAS
from diffusers_deis_sn import DEISSNScheduler, ScoreOptimalScheduler
from diffusers_deis_sn.errors import StepError
from diffusers_deis_sn.schedulers._turns import FORMER, Turn, address
from records import costed_record

STATS = costed_record(DEISSNScheduler(**SD_BETAS).noise)
# What loops hand back: a view of the list, a copy, a number.
HANDED: dict[str, Callable[[Tensor], Any]] = {
    "view": lambda t: t,
    "copy": torch.clone,
    "float": float,
    "bfloat16": lambda t: t.to(torch.bfloat16),
}


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def made(kind: Any = DEISSNScheduler, **options: Any) -> Any:
    return kind.from_config(SD_BETAS, stats=STATS, **options)


def run(scheduler: Any, steps: int, seed: int, hand: Callable[[Tensor], Any] = HANDED["view"]) -> Tensor:
    scheduler.set_timesteps(steps)
    x = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(seed))
    for t in scheduler.timesteps:
        output = torch.sin(3.0 * x + float(t) / 500.0)
        x = scheduler.step(output, hand(t), x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("hand", HANDED)
@pytest.mark.parametrize("steps", [(6, 6, 6, 6), (4, 5, 6, 7)], ids=str)
@pytest.mark.parametrize("kind", [DEISSNScheduler, ScoreOptimalScheduler])
def test_threads_get_the_right_picture_or_are_told(kind, steps, hand, switching):
    alone = [run(made(kind), number, seed) for seed, number in enumerate(steps)]
    shared, outcomes = made(kind), []

    def one(seed: int) -> None:
        for _ in range(8):
            gate.wait()
            try:
                end = run(shared, steps[seed], seed, HANDED[hand])
                outcomes.append(None if torch.equal(end, alone[seed]) else "another picture")
            except StepError:
                outcomes.append(None)
            except BaseException as error:
                outcomes.append(repr(error))

    gate = threading.Barrier(len(steps))
    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(len(steps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8 * len(steps) and not any(outcomes), [one for one in outcomes if one]


@pytest.mark.parametrize("hand", HANDED)
def test_two_loops_in_one_thread_are_told_wherever_they_take_turns(hand):
    """Every order of the steps of two runs, of one plan or of two."""
    for steps in ((4, 4), (4, 5)):
        alone = [run(made(), number, seed) for seed, number in enumerate(steps)]
        for first in range(steps[0] + 1):
            for second in range(steps[1] + 1):
                told, ends = _turns(made(), steps, first, second, HANDED[hand])
                right = all(end is None or torch.equal(end, alone[n]) for n, end in enumerate(ends))
                amid = 0 < second < steps[1] if first == 0 else second > 0 and first < steps[0]
                assert right and told == amid, (steps, first, second)


def _turns(scheduler: Any, steps: tuple[int, int], first: int, second: int, hand: Callable[[Tensor], Any]) -> Any:
    """The first run's steps up to `first`, the second's up to `second`, and then both to their ends."""

    def loop(number: int, seed: int) -> Iterator[Tensor]:
        scheduler.set_timesteps(number)
        x = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(seed))
        for t in scheduler.timesteps:
            x = scheduler.step(torch.sin(3.0 * x + float(t) / 500.0), hand(t), x, return_dict=False)[0]
            yield x

    loops: list[Any] = [loop(number, seed) for seed, number in enumerate(steps)]
    ends: list[Tensor | None] = [None, None]
    counts, told = [0, 0], False
    for n, until in ((0, first), (1, second), (0, steps[0]), (1, steps[1])):
        try:
            while loops[n] is not None and counts[n] < until:
                ends[n], counts[n] = next(loops[n]), counts[n] + 1
        except StepError:
            told, loops[n], ends[n] = True, None, None
    return told, [end if counts[n] == steps[n] else None for n, end in enumerate(ends)]


@pytest.mark.parametrize("hand", HANDED)
def test_tasks_of_one_thread_are_told_wherever_they_wait(hand):
    """Also between `set_timesteps` and the first step, where the other's next time is one that a run may begin at."""

    async def walk(scheduler: Any, seed: int, late: int) -> Tensor:
        for _ in range(late):
            await asyncio.sleep(0)
        scheduler.set_timesteps(4)
        times, x = scheduler.timesteps, torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(seed))
        for t in times:
            await asyncio.sleep(0)
            output = torch.sin(3.0 * x + float(t) / 500.0)
            x = scheduler.step(output, HANDED[hand](t), x, return_dict=False)[0]
        return x

    async def both(late: int) -> list[Any]:
        scheduler = made()
        walks = [walk(scheduler, 0, 0), walk(scheduler, 1, late)]
        return await asyncio.gather(*walks, return_exceptions=True)

    alone = [run(made(), 4, seed) for seed in (0, 1)]
    for late in range(7):
        with ThreadPoolExecutor(1) as pool:  # a browser of other tests has a loop in this one
            ends = pool.submit(asyncio.run, both(late)).result()
        told = [isinstance(end, StepError) for end in ends]
        assert all(no or torch.equal(end, right) for no, end, right in zip(told, ends, alone, strict=True)), late
        assert sum(told) == (late < 4), late


def test_a_run_may_be_planned_in_one_thread_and_walked_through_in_another():
    scheduler, expected = made(), run(made(), 6, 0)
    scheduler.set_timesteps(6)

    def walk() -> Tensor:
        x = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
        for t in scheduler.timesteps:
            x = scheduler.step(torch.sin(3.0 * x + float(t) / 500.0), t, x, return_dict=False)[0]
        return x

    with ThreadPoolExecutor(1) as pool:
        assert torch.equal(pool.submit(walk).result(), expected)
        assert torch.equal(pool.submit(run, scheduler, 6, 0).result(), expected)
    assert torch.equal(run(scheduler, 6, 0), expected)


def test_each_step_may_be_taken_in_another_thread_of_a_pool():
    """As servers do: what the last step returned says that it is the same run."""
    scheduler, expected = made(), run(made(), 6, 0)
    scheduler.set_timesteps(6)
    x = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        with ThreadPoolExecutor(1) as pool:  # a thread of its own each time
            output = torch.sin(3.0 * x + float(t) / 500.0)
            x = pool.submit(scheduler.step, output, t, x, return_dict=False).result()[0]
    assert torch.equal(x, expected)


def test_another_thread_with_another_sample_is_told():
    scheduler, x = made(), torch.ones(1, 3, 4)
    scheduler.set_timesteps(6)
    scheduler.step(x, scheduler.timesteps[0], x)
    with ThreadPoolExecutor(1) as pool, pytest.raises(StepError, match="Another thread takes the steps"):
        pool.submit(scheduler.step, x, scheduler.timesteps[1], x).result()
    with ThreadPoolExecutor(1) as pool, pytest.raises(StepError, match="Another thread takes the steps"):
        pool.submit(scheduler.set_begin_index, 3).result()


def test_where_another_run_begins_is_not_for_a_thread_to_say_whose_own_was_ended():
    """Image-to-image: `set_begin_index`, and `add_noise` that plans anew, come before the first step."""
    scheduler = made(ScoreOptimalScheduler)
    scheduler.set_timesteps(6)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(scheduler.set_timesteps, 6).result()
    with pytest.raises(StepError, match="Another thread has called `set_timesteps`"):
        scheduler.set_begin_index(3)


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_go_on_by_themselves_in_whatever_thread(way):
    scheduler, expected = made(), run(made(), 6, 0)
    scheduler.set_timesteps(6)
    x = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    for n in range(3):
        t = scheduler.timesteps[n]
        x = scheduler.step(torch.sin(3.0 * x + float(t) / 500.0), t, x, return_dict=False)[0]

    def rest(one: Any, y: Tensor) -> Tensor:
        for t in one.timesteps[3:]:
            y = one.step(torch.sin(3.0 * y + float(t) / 500.0), t, y, return_dict=False)[0]
        return y

    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(rest, one, x.clone()) for one in [way(scheduler) for _ in range(4)]]
        assert all(torch.equal(end.result(), expected) for end in ends)
    assert torch.equal(rest(scheduler, x), expected)


def test_a_step_that_another_thread_replans_ends_as_it_began():
    """It works on the run that it began with, to its end; the next one is told."""
    scheduler, x = made(), torch.ones(1, 3, 4)
    expected = run(made(), 6, 0)
    scheduler.set_timesteps(6)
    y, plan, replanned = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0)), None, False
    convert = scheduler._convert

    def slow(*arguments: Any) -> Any:
        nonlocal replanned
        if scheduler.step_index == 5 and not replanned:
            replanned = True
            scheduler.set_timesteps(9)
        return convert(*arguments)

    scheduler._convert = slow
    for t in scheduler.timesteps:
        y = scheduler.step(torch.sin(3.0 * y + float(t) / 500.0), t, y, return_dict=False)[0]
    assert replanned and torch.equal(y, expected) and plan is None
    assert scheduler.step_index is None and scheduler.num_inference_steps == 9
    assert torch.isfinite(scheduler.step(x, scheduler.timesteps[0], x).prev_sample).all()


def test_runs_are_known_for_a_while_and_then_forgotten():
    """So memory does not grow with the number of runs, and of former runs no outputs are kept."""
    scheduler = DEISSNScheduler(**SD_BETAS)
    for _ in range(2 * FORMER):
        scheduler.set_timesteps(6)
    known = scheduler._cursor._known
    assert len(known) == FORMER and all(isinstance(one, Turn) for one in known)
    assert not any(
        isinstance(value, list | Tensor) and not any(value is kept for kept in (one._known, one.grid, one.sigmas))
        for one in known
        for value in vars(one).values()
    )


# ------------------------------------------------------------------------------------------ transforms and compilers


def _unrolled(scheduler: Any, x: Tensor) -> Tensor:
    scheduler.set_timesteps(5)
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(3.0 * x), t, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("options", [{}, {"solver_order": 1}, {"prediction_type": "v_prediction"}], ids=str)
def test_runs_have_derivatives_by_every_transform(options):
    scheduler = DEISSNScheduler(**SD_BETAS, **options)
    x, v = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    _unrolled(scheduler, leaf).square().sum().backward()
    gradient = torch.func.grad(lambda y: _unrolled(scheduler, y).square().sum())(x)
    assert torch.allclose(gradient, leaf.grad, rtol=1e-12)
    end, tangent = torch.func.jvp(lambda y: _unrolled(scheduler, y), (x,), (v,))
    assert torch.equal(end, _unrolled(scheduler, x))
    _, pull = torch.func.vjp(lambda y: _unrolled(scheduler, y), x)
    assert torch.allclose((pull(v)[0] * v).sum(), (tangent * v).sum(), rtol=1e-9)
    each = torch.func.vmap(lambda y: _unrolled(scheduler, y))(x)
    assert torch.allclose(each, torch.stack([_unrolled(scheduler, y) for y in x]), rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"solver": "heun"}, {"prediction_type": "v_prediction"}], ids=str)
def test_a_loop_is_compiled_whole(options):
    """As with DPM++ of Diffusers, which wants `set_begin_index` before it too."""
    scheduler = DEISSNScheduler(**SD_BETAS, **options)

    def loop(x: Tensor) -> Tensor:
        scheduler.set_begin_index(0)
        for t in scheduler.timesteps:
            x = scheduler.step(torch.tanh(x), t, x, return_dict=False)[0]
        return x

    compiled = torch.compile(loop, fullgraph=True, backend="eager")
    for steps in (3, 4):
        scheduler.set_timesteps(steps)
        x = torch.randn(2, 3)
        assert torch.equal(loop(x), compiled(x))


def test_a_function_that_plans_its_run_too_is_compiled_around_it():
    """Dynamo does not know all of the NumPy that plans are made with."""
    scheduler = made()
    assert torch.allclose(torch.compile(run, backend="eager")(scheduler, 4, 0), run(made(), 4, 0), atol=1e-6)


def test_a_compiled_loop_that_does_not_say_where_it_begins_is_told():
    scheduler = DEISSNScheduler(**SD_BETAS)
    scheduler.set_timesteps(3)

    def loop(x: Tensor) -> Tensor:
        for t in scheduler.timesteps:
            x = scheduler.step(torch.tanh(x), t, x, return_dict=False)[0]
        return x

    with pytest.raises(Exception, match="set_begin_index"):
        torch.compile(loop, fullgraph=True, backend="eager")(torch.randn(2, 3))


def test_where_a_tensor_lies_is_not_known_within_a_transform():
    seen = []
    torch.func.grad(lambda x: seen.append(address(x)) or x.sum())(torch.ones(2))
    assert seen == [None] and address(torch.ones(2)) is not None
