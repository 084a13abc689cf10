"""`hf-finemix bench`: run attacks against defences on several tasks; can be stopped and started again."""

import argparse
from typing import TYPE_CHECKING

from ..errors import InputError
from .answers import Answer, add_json, answered
from .arguments import show_progress


if TYPE_CHECKING:
    from ..laboratory.executors import JobExecutor


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "bench",
        help="run attacks against defences on several tasks; can be stopped and resumed",
        description="Plant each attack in a model of each task, try each defence on it, measure all of them alike. "
        "Every result is a file of its own: a run that was stopped goes on when it is started again.",
        epilog="`hf-finemix report DIR` makes tables and figures of the results.",
    )
    parser.add_argument("config", metavar="CONFIG.yaml", help="tasks, models, attacks, defences and seeds")
    parser.add_argument("--output", required=True, metavar="DIR", help="new folder, or one of the same configuration")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that share the cores (default: 1)")
    parser.add_argument(
        "--executor",
        choices=("processes", "ray"),
        default="processes",
        help="who runs the cells: processes of this machine (default), or the machines of a Ray cluster, which all "
        "see DIR",
    )
    parser.add_argument(
        "--ray-address", metavar="ADDRESS", help="the cluster (default: RAY_ADDRESS, or one of this machine alone)"
    )
    parser.add_argument("--cpus-per-cell", type=int, metavar="N", help="with ray: cores of a cell (default: 1)")
    parser.add_argument("--gpus-per-cell", type=float, metavar="N", help="with ray: GPUs of a cell (default: 0)")
    parser.add_argument(
        "--extend", action="store_true", help="take a folder of another configuration, keep its cells and add to them"
    )
    add_json(parser)
    return parser


@answered
def run(args: argparse.Namespace) -> Answer:
    """Runs the command. Its JSON: `output`, and the numbers of `cells`, `suspects` and `failures`."""
    from ..laboratory.benching import bench
    from .console import printable

    results = bench(
        args.config,
        args.output,
        executor=_executor(args),
        extend=args.extend,
        progress=show_progress(),
        say=lambda line: print(printable(line), flush=True),
    )
    cells, suspects, failed = len(results.cells), len(results.suspects), len(results.failures)
    content = {"output": args.output, "cells": cells, "suspects": suspects, "failures": failed}

    def show() -> None:
        print(f"{cells} cells of {suspects} suspects are in {args.output}; {failed} failed.")
        print(f"To make tables and figures of them: hf-finemix report {args.output}")

    return Answer(content, show, int(failed > 0))


def _executor(args: argparse.Namespace) -> "JobExecutor":
    from ..laboratory.executors import InProcess, Processes

    given = {"address": args.ray_address, "cpus": args.cpus_per_cell, "gpus": args.gpus_per_cell}
    settings = {name: value for name, value in given.items() if value is not None}
    if args.executor == "ray":
        if args.workers is not None:
            raise InputError("--workers is for processes of this machine; a Ray cluster has its own.")
        from ..laboratory.cluster import RayCluster

        return RayCluster(**settings)
    if settings:
        raise InputError("--ray-address, --cpus-per-cell and --gpus-per-cell need --executor ray.")
    return InProcess() if args.workers in (None, 1) else Processes(args.workers)
