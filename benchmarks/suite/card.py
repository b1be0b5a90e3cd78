"""README.md of a folder of the suite's networks: what each is and how it was trained, from the runs' own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.suite.judges import JUDGES
from benchmarks.suite.networks import NETWORKS, WEIGHTS, Description

PRECISIONS = {"bf16": "bfloat16", "no": "float32"}
HEAD = """\
---
license: cc-by-sa-3.0
library_name: diffusers
tags: [diffusion, benchmark, mnist, emoji]
---

# Small real networks for comparing solvers

Networks of under a million parameters, one for each kind of model that a sampler meets: noise, velocity and flow
prediction, EDM's preconditioning, U-Net, transformer and perceptron, with and without guidance. They are for measuring
samplers, not for their pictures. *Choosing* networks may decide about defaults, *reporting* ones never do; the roles
were fixed before anything was tuned.

`benchmarks/suite/networks.py` loads them: `load("digits-dit")` is an object with a `scheduler` that draws pictures in
[-1, 1]. A U-Net is Diffusers' `UNet2DModel` on patches of 2x2 pixels. `python -m benchmarks.suite.train` trains them
all; without files it says how to get MNIST and the emoji. This page is written by that program.
"""

LICENCES = """\
## Data and licences

| data | what | licence |
| --- | --- | --- |
| MNIST | 60,000 handwritten digits, by Y. LeCun, C. Cortes, C. J. C. Burges | commonly cited as CC BY-SA 3.0 |
| Noto emoji | 239 faces, hearts, clocks, shapes and letters at 32x32, by Google | images Apache-2.0, names MIT |
| scikit-learn's digits | 1,797 digits of 8x8, from E. Alpaydin, C. Kaynak, UCI | BSD; UCI's CC BY 4.0 |

The code is Apache-2.0, and so are the weights of `emoji-*`; those of `digits-mlp-flow` are CC BY 4.0 and those of the
other `digits-*` and of `digit-judge` CC BY-SA 3.0, as their data. No picture of the data is in this folder; the sheets
show samples.

Known limits: a few minutes of training, so strokes break and faces are askew; the emoji are too few not to be
remembered in part. Neither is of any concern to a solver, which has to follow the network as it is. Networks of epsilon
compute v inside and flows have a linear skip (`architectures.py`), without which minutes of training do not suffice.
"""


def write_card(folder: Path) -> None:
    """Write README.md about the networks that are there."""
    networks = [
        (description, facts) for description in NETWORKS.values() if (facts := _facts(folder, description.name))
    ]
    judged = [(name, facts) for name in JUDGES if (facts := _facts(folder, name))]
    lines = [
        "| network | role | what | guidance | parameters | MB | steps | loss |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(folder, *each) for each in networks),
    ]
    seen = sorted({PRECISIONS[facts["precision"]] for _, facts in [*networks, *judged]})
    notes = [
        f"Trained on a CPU in {' or '.join(seen)}, the faster one for each. The loss is a mean over the last steps.",
        *(
            f"`{name}`: {facts['parameters']:,} parameters, {100 * facts['accuracy']:.1f} % of "
            f"{'the test digits' if name == 'digit-judge' else 'its own training pictures, unmoved,'} named rightly."
            for name, facts in judged
        ),
        *(f"`{each.name}`: {facts['note']}" for each, facts in networks if "note" in facts),
    ]
    sheets = [f"### {each.name}\n\n{_caption(each)}\n\n![samples]({each.name}/samples.png)" for each, _ in networks]
    parts = [HEAD, "\n".join(lines), *notes, "## Samples", *sheets, LICENCES]
    (folder / "README.md").write_text("\n\n".join(part.rstrip("\n") for part in parts) + "\n")


def _facts(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / name / "training.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _row(folder: Path, description: Description, facts: dict[str, Any]) -> str:
    size = (folder / description.name / WEIGHTS).stat().st_size / 1e6
    loss = "" if facts["loss"] is None else f"{facts['loss']:.3f}"
    guidances = ", ".join(f"{each:g}" for each in description.guidances)
    cells = (
        f"[{description.name}]({description.name}/config.json)",
        description.role,
        description.text,
        guidances,
        f"{facts['parameters']:,}",
        f"{size:.2f}",
        f"{facts['steps']:,}",
        loss,
    )
    return f"| {' | '.join(cells)} |"


def _caption(description: Description) -> str:
    guided = "" if description.classes is None else ", guidance 3, the classes in turn"
    return f"{description.text[0].upper()}{description.text[1:]}: 100 steps of {description.scheduler[0]}{guided}."
