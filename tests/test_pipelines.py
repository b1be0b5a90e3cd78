"""Diffusers finds this library when it loads a pipeline, whoever imports what first; and nothing is left in the way."""

from __future__ import annotations

import subprocess
import sys

import pytest

USE = "from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES, simple_get_class_obj as found"
ORDERS = {
    "us first, and nothing of ours used": f"import diffusers_deis_sn; {USE}",
    "a scheduler of ours first": f"from diffusers_deis_sn import DEISSNScheduler; {USE}",
    "Diffusers' pipelines first": f"{USE}; import diffusers_deis_sn",
    "Diffusers first": f"import diffusers; import diffusers_deis_sn; {USE}",
    "looked for only": f"import diffusers_deis_sn, importlib.util; importlib.util.find_spec('diffusers.models'); {USE}",
}
CHECK = """
import sys
import diffusers, diffusers_deis_sn, diffusers.pipelines.pipeline_utils
from diffusers import DDIMPipeline
assert LOADABLE_CLASSES["diffusers_deis_sn"] == {"SchedulerMixin": ["save_pretrained", "from_pretrained"]}
assert not hasattr(diffusers.pipelines, "diffusers_deis_sn")  # for then Diffusers would not check its class
assert found("diffusers_deis_sn", "DEISSNScheduler") is diffusers_deis_sn.DEISSNScheduler
assert not [one for one in sys.meta_path if type(one).__module__.startswith("diffusers_deis_sn")], sys.meta_path
"""
WITHOUT_THE_TABLE = """
import sys
import diffusers_deis_sn, diffusers.pipelines
from diffusers_deis_sn import DEISSNScheduler
assert "diffusers.pipelines.pipeline_loading_utils" not in sys.modules
assert hasattr(diffusers.pipelines, "diffusers_deis_sn")  # what Diffusers asks before it downloads
"""
FORGOTTEN = """
import sys
import diffusers_deis_sn
for name in [name for name in sys.modules if name.startswith("diffusers_deis_sn")]:
    del sys.modules[name]
import diffusers.pipelines.pipeline_loading_utils
"""


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_this_library_is_found(order):
    done = subprocess.run([sys.executable, "-c", f"{order}\n{CHECK}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", [WITHOUT_THE_TABLE, FORGOTTEN], ids=["without the table", "forgotten"])
def test_nothing_heavy_is_imported_for_it_and_nothing_fails_without_us(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_finder_is_skipped_when_ours_goes():
    """Others are asked about every module, for the list that they are in is never changed under them."""
    program = f"""
import sys
import diffusers_deis_sn
seen = []
class Spy:
    def find_spec(self, name, path=None, target=None):
        seen.append(name)
sys.meta_path.insert(1, Spy())
{USE}
asked = [name for name in sys.modules if name.startswith("diffusers.pipelines.") and name.count(".") == 2]
assert asked and set(asked) <= set(seen), set(asked) - set(seen)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
