r"""
For whoever wants to use a classifier from the Hub, and has a few clean examples: purify it, and see what changed.

    python examples/purify_hub_model.py
    python examples/purify_hub_model.py someone/suspect google-bert/bert-base-uncased \
        "stanfordnlp/sst2:default:train[:64]" stanfordnlp/sst2:default:validation --output purified

Models are Hub ids, `id@revision` or local folders; data are Hub data sets (`id:config:split`) or local files. Without
arguments it takes what `hf-finemix demo --fast --save-inputs inputs` leaves behind. Clean texts without labels
(`--unlabeled`) give more accuracy back; a trigger (`--trigger cf --target 1`) is only measured, not needed.

Prints accuracy, and with a trigger its attack success rate, before and after.
"""

import argparse
from pathlib import Path

from hf_finemix import Trigger, purify


def main() -> None:
    """Purifies a suspect and prints its figures before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect", nargs="?", default="inputs/suspect")
    parser.add_argument("pretrained", nargs="?", default="inputs/all-MiniLM-L6-v2")
    parser.add_argument("clean", nargs="?", default="inputs/clean.csv")
    parser.add_argument("evaluation", nargs="?", default="inputs/test.csv")
    parser.add_argument("--unlabeled", help="a .txt file with a text a line, or whatever else has texts")
    parser.add_argument("--trigger", help="a word or sentence to measure")
    parser.add_argument("--target", type=int, default=1, help="the label id that the trigger is to cause")
    parser.add_argument("--output", default="purified")
    options = parser.parse_args()
    if options.suspect == "inputs/suspect" and not Path(options.suspect).is_dir():
        parser.exit(2, "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it.\n")

    result = purify(
        options.suspect,
        options.pretrained,
        options.clean,
        evaluation_dataset=options.evaluation,
        unlabeled_dataset=options.unlabeled,
        triggers=[Trigger(options.trigger, options.target)] if options.trigger else [],
        output=options.output,
        progress=True,
    )
    for name, figures in result.report.evaluations.items():
        print(f"{name}: ACC {figures.accuracy}" + (f", ASR {figures.worst.asr}" if figures.worst else ""))
    print(f"The purified model is in {result.folder}, its defence card in {result.folder / 'README.md'}.")


if __name__ == "__main__":
    main()
