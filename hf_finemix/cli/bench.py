"""`hf-finemix bench`: run attacks against defences on several tasks; can be stopped and started again."""

import argparse

from .arguments import show_progress


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
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that share the cores (default: 1)"
    )
    parser.add_argument(
        "--extend", action="store_true", help="take a folder of another configuration, keep its cells and add to them"
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from ..laboratory.benching import bench
    from ..laboratory.executors import InProcess, Processes
    from .console import printable

    results = bench(
        args.config,
        args.output,
        executor=InProcess() if args.workers == 1 else Processes(args.workers),
        extend=args.extend,
        progress=show_progress(),
        say=lambda line: print(printable(line), flush=True),
    )
    failed = len(results.failures)
    print(f"{len(results.cells)} cells of {len(results.suspects)} suspects are in {args.output}; {failed} failed.")
    print(f"To make tables and figures of them: hf-finemix report {args.output}")
    return int(failed > 0)
