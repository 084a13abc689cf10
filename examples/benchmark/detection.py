"""
Scans the suspects and the clean models of `recipe.py`: where is the trigger ranked, and which finding is reported?

    python examples/benchmark/detection.py --work WORK

WORK is the folder that `recipe.py` filled. Writes `results/detection.json` and `detection.md` beside this file.
"""

import argparse
import json
from pathlib import Path

from recipe import SUSPECTS
from transformers import AutoTokenizer

from hf_finemix import scan
from hf_finemix.demo.material import minilm_folder


HERE = Path(__file__).parent
SOURCES = ("vocabulary", "wordfreq")
HEADER = ["model", "trigger", *(f"{word} ({source})" for source in SOURCES for word in ("rank", "top", "finding"))]


def main() -> None:
    """Scans each model with each frequency source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    results = []
    for name, suspect in SUSPECTS.items():
        tokens = tokenizer.tokenize(suspect.trigger.text)
        for model in (name, f"{name}-clean"):
            for source in SOURCES:
                report = scan(work / model, minilm_folder(), top=tokenizer.vocab_size, frequencies=source)
                # Of a trigger of several tokens, the one that stands out most.
                first = next(item for item in report.tokens if item.token in tokens)
                results.append(
                    {
                        "model": model,
                        "trigger": suspect.trigger.text,
                        "frequencies": source,
                        "trigger_token": first.token,
                        "trigger_rank": first.rank,
                        "finding": report.finding,
                        "prominence": round(report.prominence, 3),
                        "top": [[item.token, round(item.deviation, 2)] for item in report.tokens[:5]],
                    }
                )
    (HERE / "results" / "detection.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (HERE / "detection.md").write_text(table(results))


def table(results: list[dict]) -> str:
    """Returns the results as a Markdown table, one row a model."""
    rows = [HEADER, ["---"] * len(HEADER)]
    for name in dict.fromkeys(item["model"] for item in results):
        items = [item for item in results if item["model"] == name]
        row = [name, f"`{items[0]['trigger']}`"]
        for item in items:
            token, deviation = item["top"][0]
            found = f"{item['finding']} ({item['prominence']:.2f})"
            row += [f"{item['trigger_rank']} (`{item['trigger_token']}`)", f"`{token}` {deviation}", found]
        rows.append(row)
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"""# Where the scan ranks the trigger

Made by `python examples/benchmark/detection.py --work WORK` after `recipe.py`. By source of the token counts: the rank
of the trigger among 30,522 tokens (of a sentence, its highest token), the first token with its robust standard
deviations, and the finding with its prominence (score of the first token over the median of the next 19). Models whose
name ends in `-clean` were trained on the same sentences without poison: a rank there means nothing, and any finding
above `low` is a false alarm. The thresholds of the findings were set on these very models, so the table does not test
them.

{lines}
"""


if __name__ == "__main__":
    main()
