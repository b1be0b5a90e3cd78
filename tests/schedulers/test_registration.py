"""Diffusers' table of libraries that pipelines are loaded from: this one is in it, whoever imports what first."""

from __future__ import annotations

import subprocess
import sys

import pytest

TABLE = "from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES"
ORDERS = {
    "us first": f"import diffusers_deis_sn; {TABLE}",
    "the table first": f"{TABLE}; import diffusers_deis_sn",
    "pipelines first": f"import diffusers.pipelines; import diffusers_deis_sn; {TABLE}",
    "looked for only": "import diffusers_deis_sn, importlib.util; "
    f"importlib.util.find_spec('diffusers.pipelines.pipeline_loading_utils'); {TABLE}",
    "loaded again": "import diffusers_deis_sn, importlib, diffusers.pipelines.pipeline_loading_utils as table; "
    f"importlib.reload(table); {TABLE}",
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_this_library_is_in_the_table(order):
    program = f"{order}; print(LOADABLE_CLASSES['diffusers_deis_sn'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'SchedulerMixin': ['save_pretrained', 'from_pretrained']}"
