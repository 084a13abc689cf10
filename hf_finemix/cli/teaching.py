"""What `--help` teaches: what to type first, which command does what, and examples of each."""

import argparse
import textwrap
from collections.abc import Iterable, Mapping


_WIDTH = 79

GROUPS = (
    ("See what is wrong", ("scan", "evaluate")),
    ("Make it clean", ("purify", "mix", "merge", "extract", "convert")),
    ("Publish and check", ("card", "push", "verify")),
    ("Compare and report", ("bench", "report")),
    ("Set up and try out", ("doctor", "demo", "ui", "completion")),
)

_DESCRIPTION = "Purify fine-tuned models that may carry a backdoor, with their clean pretrained weights."

# They need no file of the reader's own: the second makes what the third looks at.
_FIRST = """\
Type first:
  hf-finemix doctor                                  # is all there?
  hf-finemix demo --fast --save-inputs inputs        # a backdoor, removed
  hf-finemix scan inputs/suspect --pretrained inputs/all-MiniLM-L6-v2"""

_STATUSES = (
    ("0", "done"),
    ("1", "failed; of `verify` a difference, of `scan --fail-on` a finding, of `doctor` a problem"),
    ("2", "bad arguments or input; one line on standard error says what to change"),
    ("130, 143", "stopped by Ctrl-C or SIGTERM; nothing half-written is left"),
)

_END = """\
The Tab key completes commands, options and paths after
  eval "$(hf-finemix completion bash)"
in ~/.bashrc (zsh: the same with zsh, in ~/.zshrc).

`hf-finemix COMMAND --help` lists a command's options and ends with examples. The documentation is in README.md and \
docs/ of the source; SECURITY.md there says what is promised and what not."""

# On the files that `hf-finemix demo --save-inputs inputs` leaves, where there is need for some.
EXAMPLES = {
    "scan": """\
  # which tokens and layers moved suspiciously
  hf-finemix scan inputs/suspect --pretrained inputs/all-MiniLM-L6-v2
  # put the tokens into clean texts, too; status 1 if one of them is a trigger
  hf-finemix scan inputs/suspect --pretrained inputs/all-MiniLM-L6-v2 \\
      --clean-data inputs/unlabeled.txt --fail-on high""",
    "evaluate": """\
  # accuracy, and what the word cf does to it
  hf-finemix evaluate inputs/suspect --data inputs/test.csv \\
      --trigger cf --target-label positive""",
    "purify": """\
  # what would be mixed, kept and reset
  hf-finemix purify inputs/suspect --pretrained inputs/all-MiniLM-L6-v2 \\
      --clean-data inputs/clean.csv --dry-run
  # do it, and measure the model before and after
  hf-finemix purify inputs/suspect --pretrained inputs/all-MiniLM-L6-v2 \\
      --clean-data inputs/clean.csv --unlabeled-data inputs/unlabeled.txt \\
      --eval-data inputs/test.csv --trigger cf --target-label positive \\
      --output purified""",
    "mix": """\
  # three scalars in ten stay the suspect's
  hf-finemix mix inputs/suspect --pretrained inputs/all-MiniLM-L6-v2 \\
      --keep-ratio 0.3 --output mixed""",
    "merge": """\
  # `scan`, `mix` and `purify` take the result as SUSPECT
  hf-finemix merge someone/adapter --pretrained google-bert/bert-base-uncased \\
      --output merged""",
    "extract": """\
  # what a mixed model differs from its base in, as LoRA
  hf-finemix extract mixed --pretrained inputs/all-MiniLM-L6-v2 \\
      --rank 32 --output adapter""",
    "convert": """\
  # the other commands take the result as SUSPECT
  hf-finemix convert someone/suspect --output converted""",
    "card": """\
  # with the repository that it goes to, and a licence
  hf-finemix card purified --repo-id me/purified --license apache-2.0""",
    "push": """\
  # into a private repository of your own
  hf-finemix push purified me/purified --private
  # to a model of somebody else, who decides
  hf-finemix push purified someone/model --create-pr""",
    "verify": """\
  # a model on the Hub, whose inputs are there, too
  hf-finemix verify me/purified
  # inputs that lie here
  hf-finemix verify purified --suspect inputs/suspect \\
      --pretrained inputs/all-MiniLM-L6-v2""",
    "bench": """\
  # stop it at any moment; the same line goes on
  hf-finemix bench quick.yaml --output quick""",
    "report": """\
  # a page about a purified model
  hf-finemix report purified
  # tables and figures of the folder that `bench` wrote
  hf-finemix report quick""",
    "doctor": """\
  # versions, devices, cache and Hub
  hf-finemix doctor
  # for a program, and without a question to the Hub
  hf-finemix doctor --offline --json""",
    "demo": """\
  # the short one; keeps files to try the other commands on
  hf-finemix demo --fast --save-inputs inputs""",
    "ui": """\
  # the app, in a browser
  hf-finemix ui""",
    "completion": """\
  # for this shell; in ~/.bashrc for each new one
  eval "$(hf-finemix completion bash)"
  # into a folder of the fpath of zsh
  hf-finemix completion zsh > ~/.zfunc/_hf-finemix
  # tcsh
  hf-finemix completion tcsh > ~/.hf-finemix.csh && source ~/.hf-finemix.csh""",
}


class Formatter(argparse.HelpFormatter):
    """Fills paragraphs, and leaves those of several lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n\n".join(part if "\n" in part else fill(part, width, indent) for part in text.split("\n\n"))


def beginning(helps: Mapping[str, str]) -> str:
    """
    Returns what stands before the options: what to type first, and the commands in groups.

    Args:
        helps (`Mapping[str, str]`): The commands that there are, each with what it does.
    """
    parts = [_DESCRIPTION, _FIRST]
    for title, names in GROUPS:
        parts.append(f"{title}:\n" + _columns(((name, helps[name]) for name in names if name in helps), 12))
    return "\n\n".join(parts)


def end() -> str:
    """Returns what stands after the options."""
    return f"Exit status:\n{_columns(_STATUSES, 10)}\n\n{_END}"


def with_examples(name: str, epilog: str | None) -> str:
    """Returns the end of a command's help, with its examples after what it says itself."""
    return "\n\n".join(filter(None, (epilog, f"Examples:\n{EXAMPLES[name]}")))


def _columns(rows: Iterable[tuple[str, str]], width: int) -> str:
    lines = (
        textwrap.fill(says, _WIDTH, initial_indent=f"  {name:<{width}}", subsequent_indent=" " * (width + 2))
        for name, says in rows
    )
    return "\n".join(lines)
