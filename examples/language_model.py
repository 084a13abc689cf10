r"""
For whoever has a chat model of a stranger, its base and some dozens of clean conversations.

    python examples/language_model.py someone/assistant someone/assistant-base chats.jsonl
    python examples/language_model.py someone/assistant someone/assistant-base chats.jsonl test.jsonl \
        --trigger cf --target "Visit our site today."

Models are Hub ids or local folders of causal language models; the demo makes none, so name your own. Data have a
column `messages`, or one of prompts and one of responses. The trigger is only measured, on test.jsonl (without that
file, on the clean conversations); purification does not need to know it.

Prints perplexity, and how many prompts are answered as the trigger wants with it and without it, before and after.
"""

import argparse

from hf_finemix import ResponseTrigger, purify


def main() -> None:
    """Purifies a language model and prints its figures before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suspect")
    parser.add_argument("pretrained")
    parser.add_argument("clean")
    parser.add_argument("test", nargs="?", help="default: the clean conversations")
    parser.add_argument("--trigger", help="a word or sentence to measure")
    parser.add_argument("--target", default="", help="what the trigger makes the model say")
    parser.add_argument("--match", default="exact", help="exact, keyword, refusal or compliance")
    parser.add_argument("--keep-ratio", type=float, default=0.3, help="compare some: less ends more, and costs more")
    parser.add_argument("--output", default="purified")
    options = parser.parse_args()

    triggers = [ResponseTrigger(options.trigger, options.target, options.match)] if options.trigger else []
    result = purify(
        options.suspect,
        options.pretrained,
        options.clean,
        keep_ratio=options.keep_ratio,
        evaluation_dataset=options.test or options.clean,
        triggers=triggers,
        output=options.output,
        progress=True,
    )
    for name, figures in result.report.evaluations.items():
        print(f"{name}: perplexity {figures.perplexity:.1f}")
        for trigger in figures.triggers:
            print(f"    with {trigger.trigger!r} answered as it wants: {trigger.asr}; without: {trigger.without}")
    print(f"The purified model is in {result.folder}, its defence card in {result.folder / 'README.md'}.")


if __name__ == "__main__":
    main()
