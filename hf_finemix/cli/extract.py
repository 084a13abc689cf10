"""`hf-finemix extract`: an adapter made of a mixed model."""

import argparse
from typing import TYPE_CHECKING

from ..errors import InputError
from .answers import Answer, add_json, answered


if TYPE_CHECKING:
    from ..adapter_extraction import Extraction


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "extract",
        help="make a LoRA adapter of what a model differs from its base in",
        description="Make a LoRA adapter of what MODEL differs from BASE in, by truncated singular value "
        "decomposition, and say how much of it the rank cannot hold. A mixed model differs in full rank: measure the "
        "adapter with `evaluate` before you trust it.",
    )
    parser.add_argument("model", metavar="MODEL", help="the model, such as an output of `mix` or `purify`")
    parser.add_argument("--pretrained", required=True, metavar="BASE", help="the base that the adapter is for")
    parser.add_argument("--rank", type=int, default=16, metavar="R", help="rank of each change (default: 16)")
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder for the adapter")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """
    Runs the command.

    Its JSON: `output`, `rank`, and what there is of an [`~hf_finemix.Extraction`]: `modules`, `whole`, `left_out` and
    `residual`.
    """
    from dataclasses import asdict

    import transformers

    from ..adapter_extraction import extract_adapter
    from ..loading import resolve_checkpoint
    from ..model_loading import load_complete
    from ..output import check_output

    check_output(args.output)
    if args.rank < 1:
        raise InputError(f"--rank is {args.rank}, but must be 1 or more.")
    files = resolve_checkpoint(args.model, "MODEL")
    base = resolve_checkpoint(args.pretrained, "--pretrained")
    named = files.config.get("architectures")
    cls = getattr(transformers, str(named[0]), None) if isinstance(named, list) and named else None
    if not isinstance(cls, type) or not issubclass(cls, transformers.PreTrainedModel):
        raise InputError(f"MODEL {args.model!r} has no architecture of transformers in its config.json.")
    model = load_complete(cls, files, "MODEL")
    found = extract_adapter(model, base, args.output, args.rank)
    content = {"output": args.output, "rank": args.rank, **asdict(found)}
    return Answer(content, lambda: _show(found, args))


def _show(found: "Extraction", args: argparse.Namespace) -> None:
    print(f"Adapter: {len(found.modules)} modules of rank {args.rank}, {len(found.whole)} stored whole.")
    print(f"It lacks {100 * found.residual:.1f} % of the change (Euclidean norm).")
    if found.left_out:
        print(f"Left out: {len(found.left_out)} parameters that are no matrices of linear layers.")
    print(f"Adapter folder: {args.output}")
