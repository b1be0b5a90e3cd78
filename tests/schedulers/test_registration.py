"""Diffusers finds this library when it loads a pipeline, whoever imports what first; and nothing is left in the way."""

from __future__ import annotations

import subprocess
import sys

import pytest

USE = "from diffusers.pipelines.pipeline_loading_utils import simple_get_class_obj as found"
ORDERS = {
    "us first, and nothing of ours used": f"import diffusers_deis_sn; {USE}",
    "a scheduler of ours first": f"from diffusers_deis_sn import DEISSNScheduler; {USE}",
    "Diffusers' pipelines first": f"{USE}; import diffusers_deis_sn",
    "Diffusers first": f"import diffusers; import diffusers_deis_sn; {USE}",
    "looked for only": f"import diffusers_deis_sn, importlib.util; importlib.util.find_spec('diffusers.models'); {USE}",
}
CHECK = """
import sys
import diffusers, diffusers_deis_sn
assert hasattr(diffusers.pipelines, "diffusers_deis_sn")  # what Diffusers asks before it downloads
assert found("diffusers_deis_sn", "DEISSNScheduler") is diffusers_deis_sn.DEISSNScheduler
assert not [one for one in sys.meta_path if type(one).__module__.startswith("diffusers_deis_sn")], sys.meta_path
"""


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_this_library_is_found(order):
    done = subprocess.run([sys.executable, "-c", f"{order}\n{CHECK}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
