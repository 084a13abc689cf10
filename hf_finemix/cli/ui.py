"""`hf-finemix ui`: an app in a browser, to scan, purify and try a model without a command line."""

import argparse
import sys


def add_parser(commands: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "ui",
        help="scan, purify and try a classifier in a browser (extra: ui)",
        description="Serve a page on this machine: choose a suspect and its base, upload clean examples, scan, look "
        "at the plan, purify, try sentences on both models, and download or publish the result. Ctrl-C ends it and "
        "removes everything that it wrote.",
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="port; 0 for a free one (default: 7860)")
    parser.add_argument(
        "--work-folder",
        metavar="DIR",
        help="new folder for uploads and results, removed at the end (default: a temporary one)",
    )
    parser.add_argument(
        "--hub-only",
        action="store_true",
        help="for strangers: models from the Hub alone, no token of this machine, sizes and times bounded",
    )
    parser.add_argument(
        "--max-upload-mb", type=int, default=50, metavar="M", help="largest uploaded file in MB (default: 50)"
    )
    parser.add_argument(
        "--max-model-gb", type=int, default=3, metavar="G", help="with --hub-only: largest model in GB (default: 3)"
    )
    parser.add_argument("--suspect", default="", metavar="SUSPECT", help="fill in the suspect")
    parser.add_argument("--pretrained", default="", metavar="BASE", help="fill in the base")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the command; ends with Ctrl-C."""
    from ..app.serving import check_extra, serve, work_folder
    from ..app.settings import AppSettings, check_host
    from ..config import check_integer

    check_extra()
    check_integer("--port", args.port, 0, 65535)
    check_host(args.host, args.hub_only)
    with work_folder(args.work_folder) as folder:
        settings = AppSettings(
            folder,
            hub_only=args.hub_only,
            max_upload_mb=args.max_upload_mb,
            max_model_gb=args.max_model_gb,
            suspect=args.suspect,
            pretrained=args.pretrained,
        )
        serve(settings, host=args.host, port=args.port, started=_say)
    return 0


def _say(address: str) -> None:
    print(f"The app is at {address} (Ctrl-C ends it).", flush=True)
    sys.stdout.flush()
