"""Plain DEIS and DEIS-SN on an exact mixture around scikit-learn's 1797 digits: benchmarks/mixture.md."""

from __future__ import annotations

import logging

from benchmarks.exact.flows import SD_BETAS, digits_mixture
from benchmarks.exact.runs import measured_statistics, rms, sample, start_noise
from benchmarks.places import results
from diffusers_deis_sn import DEISSNScheduler, Multistep

STEPS = (5, 10, 20)


def main() -> None:
    logging.getLogger("diffusers_deis_sn").setLevel(logging.ERROR)
    mixture = digits_mixture()
    statistics = measured_statistics(mixture.epsilon, mixture.noise, start_noise(48, seed=5))
    noise = start_noise(48)
    exact = mixture.flow(noise, mixture.noise.top, steps=1000)
    lines = ["| trailing | " + " | ".join(f"{n} steps" for n in STEPS) + " |", "|---" * (len(STEPS) + 1) + "|"]
    full = {"solver": Multistep(3, lower_order_final=False)}
    for name, options in {
        "plain DEIS, order 3": full,
        "DEIS-SN, order 3": full | {"stats": statistics},
        "DEIS-SN, defaults": {"stats": statistics},
    }.items():
        cells = []
        for number in STEPS:
            run = DEISSNScheduler(**SD_BETAS, **options)
            cells.append(f"{rms(sample(run, mixture.epsilon, noise, number), exact):.3f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "RMS distance of 48 samples to the exact flow (1000 Runge-Kutta steps); order 3 to the end, as in the papers.",
    ]
    results("mixture.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
