"""
For whoever purifies a model of a field or a language of its own: word frequencies of your own, instead of guesses.

    python examples/frequencies.py
    python examples/frequencies.py someone/suspect google-bert/bert-base-uncased corpus.txt mixed

The counts are a clean corpus (.txt, one text a line), or a list of words (.tsv, a word and its count on each line). A
word that is frequent in your texts is less suspicious for having moved. `hf-finemix purify --frequencies corpus.txt`
and `hf-finemix scan --frequencies corpus.txt` take the corpus as it is; this script takes a list, too, and shows what
it changes. Without arguments it takes what `hf-finemix demo --fast --save-inputs inputs` leaves behind, and its texts
as corpus.

Prints the most suspicious tokens by your counts, beside their rank by the usual guess (the order of the vocabulary).
"""

import argparse
from pathlib import Path

import numpy as np
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from hf_finemix import FineMixConfig, fine_mix_, purify_embeddings_, score_embeddings
from hf_finemix.frequencies import corpus, word_list
from hf_finemix.printing import printable


def count_tokens(path: Path, tokenizer: PreTrainedTokenizerBase, rows: int) -> np.ndarray:
    """Counts tokens, not words: the pieces that words are cut into are what the embedding has rows for."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.suffix != ".tsv":
        return corpus(lines, tokenizer, rows)
    counts = {word: float(count) for word, count in (line.split("\t") for line in lines if line.strip())}
    total = sum(counts.values())
    return word_list({word: count / total for word, count in counts.items()}, tokenizer, rows)


def main() -> None:
    """Scores the word embeddings twice, mixes, resets the most suspicious ones, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect", nargs="?", default="inputs/suspect")
    parser.add_argument("pretrained", nargs="?", default="inputs/all-MiniLM-L6-v2")
    parser.add_argument("counts", nargs="?", default="inputs/unlabeled.txt", type=Path)
    parser.add_argument("output", nargs="?", default="mixed")
    options = parser.parse_args()
    if options.suspect == "inputs/suspect" and not Path(options.suspect).is_dir():
        parser.exit(2, "There is no folder `inputs`: `hf-finemix demo --fast --save-inputs inputs` makes it.\n")

    tokenizer = AutoTokenizer.from_pretrained(options.suspect)
    model = AutoModelForSequenceClassification.from_pretrained(options.suspect, use_safetensors=True)
    counts = count_tokens(options.counts, tokenizer, len(model.get_input_embeddings().weight))
    usual = score_embeddings(model, options.pretrained, tokenizer=tokenizer)
    scores = score_embeddings(model, options.pretrained, counts, tokenizer=tokenizer)
    rank = {int(row): place for place, row in enumerate(np.argsort(-usual, kind="stable"), start=1)}
    print("rank  usual rank  count  token")
    for place, row in enumerate(np.argsort(-scores, kind="stable")[:10], start=1):
        token = printable(tokenizer.convert_ids_to_tokens(int(row)))  # the suspect's author may have chosen it
        print(f"{place:4}  {rank[int(row)]:10}  {counts[row]:5.0f}  {token}")

    config = FineMixConfig(keep_ratio=0.3, purify_top_k=200)
    fine_mix_(model, options.pretrained, config, tokenizer=tokenizer)
    purify_embeddings_(model, options.pretrained, config, scores, tokenizer=tokenizer)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    print(f"Mixed and reset: {options.output}. Fine-tune it on clean examples before you use it.")


if __name__ == "__main__":
    main()
