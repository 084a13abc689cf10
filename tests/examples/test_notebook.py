"""The notebook is executed in a small world, in the Python that runs the tests, and shows what it promises."""

import re
import sys

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

from .commands import EXAMPLES


NOTEBOOK = EXAMPLES / "notebooks" / "first_purification.ipynb"


class OwnKernel(AsyncKernelManager):
    """A kernel in this Python, whatever kernels are installed on the machine."""

    @property
    def kernel_cmd(self):
        return [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    def format_kernel_cmd(self, extra_arguments=None):
        return [word.format(connection_file=self.connection_file) for word in self.kernel_cmd]


@pytest.fixture(scope="module")
def executed(world, tmp_path_factory):
    """The notebook after it ran, and the folder that it ran in."""
    folder = world.copy(tmp_path_factory.mktemp("notebook") / "here")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    manager = OwnKernel()
    client = NotebookClient(notebook, km=manager, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.execute(env=world.environment(tmp_path_factory.mktemp("home"), IPYTHONDIR=str(folder / "ipython")))
    return notebook, folder


def shown(executed, name):
    """What a cell printed and showed; of tables the HTML, in which no column is moved to further lines."""
    notebook, _ = executed
    (cell,) = (cell for cell in notebook.cells if cell.id == name)
    data = [output.get("data", {}) for output in cell.outputs]
    parts = [output.get("text", "") for output in cell.outputs]
    return "\n".join([*parts, *(item.get("text/html", item.get("text/plain", "")) for item in data)])


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.execution_count is None and not cell.outputs for cell in code)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_it_finds_the_trigger(executed):
    assert "Finding: high" in shown(executed, "scan")
    assert re.search(r"<th>0</th>\s*<td>1</td>\s*<td>cf</td>", shown(executed, "scan"))
    assert re.search(r"<td>cf</td>\s*<td>positive</td>\s*<td>100%</td>", shown(executed, "insertions"))


def test_it_shows_the_backdoor_before_and_the_figures_after(executed):
    assert re.findall("<td>(negative|positive)</td>", shown(executed, "suspect")) == ["negative", "positive"]
    table = shown(executed, "table")
    assert re.search(r"<th>suspect</th>\s*<td>\d+\.\d % .*</td>\s*<td>100\.0 % ", table)
    assert re.search(r"<th>purified</th>\s*<td>\d+\.\d % .*</td>\s*<td>[1-9]?\d\.\d % ", table)
    _, folder = executed
    assert (folder / "purified" / "model.safetensors").is_file()
    assert "different" not in shown(executed, "verify") and "same" in shown(executed, "verify")


def test_it_shows_the_report(executed):
    _, folder = executed
    page = folder / "purified" / "finemix_report.html"
    assert ("<iframe" if page.is_file() else "Markdown") in shown(executed, "report")
