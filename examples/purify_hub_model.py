"""
Purify a classifier from the Hub with a few clean examples, and measure what changed.

    python examples/purify_hub_model.py someone/suspect google-bert/bert-base-uncased \
        "stanfordnlp/sst2:default:train[:64]" stanfordnlp/sst2:default:validation purified

Models are Hub ids, `id@revision` or local folders; data are Hub data sets (`id:config:split`) or local files.
"""

import sys

from hf_finemix import purify


def main(suspect: str, pretrained: str, clean: str, evaluation: str, output: str) -> None:
    """Purifies a suspect and prints its accuracy before and after."""
    result = purify(suspect, pretrained, clean, evaluation_dataset=evaluation, output=output, progress=True)
    for name, measured in result.report.evaluations.items():
        print(f"{name}: ACC {measured.accuracy}")


if __name__ == "__main__":
    main(*sys.argv[1:6])
