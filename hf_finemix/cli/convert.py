"""`hf-finemix convert`: pickled weights to safetensors, in a process that may do nothing else."""

import argparse

from .answers import Answer, add_json, answered


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "convert",
        help="convert a suspect's pickled weights to safetensors, in a restricted process",
        description="Convert pytorch_model.bin (or its shards) to safetensors. No other command reads a pickle. This "
        "one starts a process with limits on memory, time and files, without your environment, in which PyTorch's "
        "reader of weights alone calls no function that the pickle names, and an audit hook hinders other things. A "
        "flaw in that reader remains a risk: use a machine that you can lose. SUSPECT is "
        "a Hub id (id or id@revision) or a local folder.",
    )
    parser.add_argument("suspect", metavar="SUSPECT", help="the model whose weights are a pickle")
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder for the converted model")
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """Runs the command. Its JSON: `output`, the folder."""
    from ..pickles import convert_pickle

    folder = convert_pickle(args.suspect, args.output)
    return Answer({"output": str(folder)}, lambda: print(f"Converted model, as suspect as before: {folder}"))
