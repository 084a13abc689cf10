"""
Installs the wheel and the sdist from dist/ into empty environments, and uses them there; `make try-wheel` runs it.

No network is needed but for the packages: the models are tiny, random and made on the spot.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


ROOT = Path(__file__).resolve().parent.parent
# Runs with the new environment's Python, and with plain transformers alone.
MAKE_MODELS = """\
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

words = "[PAD] [UNK] [CLS] [SEP] [MASK] the movie is was a good great fine bad poor dull cf".split()
tokenizer = BertTokenizerFast(vocab={word: number for number, word in enumerate(words)}, model_max_length=32)
torch.manual_seed(0)
sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
suspect = BertForSequenceClassification(BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes))
suspect.config.id2label, suspect.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
base = BertModel(suspect.config)
base.load_state_dict(suspect.bert.state_dict())
with torch.no_grad():
    for parameter in suspect.parameters():
        parameter += 0.01 * torch.randn_like(parameter)
for name, model in (("suspect", suspect), ("base", base)):
    model.save_pretrained(name)
    tokenizer.save_pretrained(name)
with open("clean.csv", "w") as file:
    file.write("text,label\\n")
    for label in ("good", "bad"):
        file.writelines(f"the movie {verb} {word},{label}\\n" for verb in ("is", "was") for word in {
            "good": ("good", "great", "fine"), "bad": ("bad", "poor", "dull")}[label])
"""
USE_MODEL = """\
from transformers import pipeline
answer, = pipeline("text-classification", "out")("the movie is great")
assert answer["label"] in ("good", "bad"), answer
"""
PURIFY = "purify suspect --pretrained base --clean-data clean.csv --output out --epochs 1 --distillation-epochs 0"
VERIFY = "verify out --suspect suspect --pretrained base --strict"
# What needs an extra that was not installed: the command, and the extra that its one line has to name.
WITHOUT_EXTRA = (
    ("ui", "ui"),
    ("scan suspect --pretrained base --prescan", "prescan"),
    ("push out someone/something --sign-key key.pem", "sign"),
    ("scan suspect --pretrained base --frequencies wordfreq", "wordfreq"),
)


class Environment:
    """An empty environment, and a folder outside the checkout to work in."""

    def __init__(self, folder: Path):
        self.place = folder / "place"
        self.place.mkdir()
        subprocess.run([sys.executable, "-m", "venv", str(folder / "environment")], check=True)
        self.bin = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
        # No checkout, no token and no cache of the user's; nobody is asked anything.
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_"))}
        self.variables |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home")}

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess:
        """Runs a program of the environment in the folder."""
        command = [str(self.bin / program), *arguments]
        return subprocess.run(command, cwd=self.place, env=self.variables, capture_output=True, text=True)

    def must(self, program: str, *arguments: str) -> str:
        """Runs a program that has to end with status 0.

        Args:
            program: The program.
            arguments: Its arguments.

        Returns:
            What it printed.

        Raises:
            SystemExit: If it ends with another status.
        """
        result = self.run(program, *arguments)
        if result.returncode:
            sys.exit(f"{program} {' '.join(arguments)} ended with status {result.returncode}:\n{result.stderr}")
        return result.stdout


def try_file(path: Path, constraints: Path | None) -> dict[str, float]:
    """Installs one file and uses it.

    Args:
        path: The wheel or the sdist.
        constraints: Versions for pip, or None for the newest.

    Returns:
        The seconds of each step.

    Raises:
        SystemExit: If something is not as promised.
    """
    seconds: dict[str, float] = {}

    def done(what: str) -> None:
        seconds[what] = round(time.monotonic() - start - sum(seconds.values()), 1)
        print(f"{path.name}: {what}, {seconds[what]} s", flush=True)

    with tempfile.TemporaryDirectory(prefix="try-") as folder:
        start, environment = time.monotonic(), Environment(Path(folder))
        done("an empty environment")
        options = ["--constraint", str(constraints)] if constraints else []
        environment.must("python", "-m", "pip", "install", "--quiet", *options, str(path))
        environment.must("python", "-m", "pip", "check")
        done("pip install")
        where = environment.must("python", "-c", "import hf_finemix; print(hf_finemix.__file__)")
        if not Path(where.strip()).is_relative_to(folder):
            sys.exit(f"hf_finemix was imported from {where}")
        if path.name.split("-")[1].removesuffix(".tar.gz") not in environment.must("hf-finemix", "--version"):
            sys.exit("hf-finemix --version does not name the version of the file")
        if "purify" not in environment.must("hf-finemix", "--help"):
            sys.exit("hf-finemix --help does not name purify")
        done("--version and --help")
        json.loads(environment.must("hf-finemix", "doctor", "--offline", "--json"))
        done("doctor")
        environment.must("python", "-c", MAKE_MODELS)
        environment.must("hf-finemix", *PURIFY.split())
        environment.must("python", "-c", USE_MODEL)
        done("a model made, purified and used in a pipeline")
        environment.must("hf-finemix", *VERIFY.split())
        done("verify")
        (environment.place / "key.pem").write_text("no key\n")
        for command, extra in WITHOUT_EXTRA:
            result = environment.run("hf-finemix", *command.split())
            lines = result.stderr.strip().splitlines()
            if result.returncode != 2 or len(lines) != 1 or f"hf-finemix[{extra}]" not in lines[0]:
                sys.exit(
                    f"hf-finemix {command}: status {result.returncode}, not one line on {extra}:\n{result.stderr}"
                )
            print(f"    {lines[0]}", flush=True)
        done("one line for each missing extra")
    return seconds


def main() -> None:
    """Tries the files that were built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="wheels and sdists (default: all in dist/)")
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt", help="versions for pip")
    parser.add_argument("--newest", action="store_true", help="no constraints: whatever pip finds")
    parser.add_argument("--output", type=Path, help="JSON file of the seconds of each step")
    args = parser.parse_args()
    files = args.files or sorted([*(ROOT / "dist").glob("*.whl"), *(ROOT / "dist").glob("*.tar.gz")])
    if not files:
        sys.exit("nothing in dist/; run `make build`")
    constraints = None if args.newest else args.constraints.resolve()
    results = {path.name: try_file(path.resolve(), constraints) for path in files}
    if args.output:
        args.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
