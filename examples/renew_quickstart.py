"""Run examples/quickstart.ipynb from top to bottom and keep its outputs, without what belongs to one machine.

python examples/renew_quickstart.py      # needs nbclient and ipykernel, of the extra "test"
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

FILE = Path(__file__).with_name("quickstart.ipynb")

notebook = nbformat.read(FILE, 4)
where = {"metadata": {"path": str(FILE.parent)}}
NotebookClient(notebook, timeout=900, record_timing=False, resources=where).execute()
notebook.metadata["language_info"] = {"name": "python"}
for cell in notebook.cells:
    for output in cell.get("outputs", []):
        output.get("metadata", {}).clear()
nbformat.write(notebook, FILE)
