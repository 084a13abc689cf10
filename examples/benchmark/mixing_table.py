"""The tables of the benchmark of mixing."""

import statistics


OURS, FLOOR = "hf-finemix", "floor"
_LABELS = {
    OURS: "`hf-finemix mix --no-hash`",
    "hf-finemix, hashes": "`hf-finemix mix`",
    "load and save": "transformers: load both, mix, save",
    FLOOR: "plain reading and writing",
}


def render(result: dict, command: str, results: str) -> str:
    """Makes the page of a result of `mixing_speed.py`."""
    settings, versions = result["settings"], result["environment"]
    rival = f", mergekit {versions['mergekit']}" if versions["mergekit"] else ""
    compared = [run for run in result["runs"] if "growth" not in run]
    groups = dict.fromkeys((run["pair"], run["cache"], run["workers"]) for run in compared)
    cold = "the system's page cache emptied" if settings["drop_caches"] else "the inputs taken out of the page cache"
    lines = [
        "# Speed of mixing",
        "",
        f"Keep ratio {settings['keep_ratio']}; the programs in turns, {settings['repeats']} times, each a process of "
        "its own. Medians of wall times with all imports, lowest and highest; ratios are medians of the ratios "
        "within a turn. Memory is the highest sample of what no file backs, at 50 Hz. `hf-finemix` and the plain "
        "reading and writing wait until the disk has the output, the others do not: *to disk* is what that would add. "
        f"Cold: {cold} before each run.",
    ]
    for pair, cache, workers in groups:
        lines += section(result, compared, pair, cache, workers)
    lines += growth(result)
    lines += [
        "",
        "## Imports alone",
        "",
        "| program | seconds |",
        "|---|---:|",
        *(f"| {name} | {spread(times(result['imports'], name))} |" for name in names(result["imports"])),
        "",
        f"torch {versions['torch']}, transformers {versions['transformers']}{rival}. "
        f"Every time: [results/{results}](results/{results}).",
        "",
        f"    {command}",
    ]
    return "\n".join(lines) + "\n"


def section(result: dict, compared: list[dict], pair: str, cache: str, workers: int) -> list[str]:
    """Makes the table of one pair."""
    size = result["pairs"][pair]
    runs = [run for run in compared if (run["pair"], run["cache"], run["workers"]) == (pair, cache, workers)]
    lines = [
        "",
        f"## {pair}, {cache}",
        "",
        f"{size['parameters'] / 1e6:,.0f} million parameters, {size['bytes'] / 1e9:.2f} GB on each side; {workers} "
        f"{'thread' if workers == 1 else 'threads'}.",
        "",
        "| program | seconds | to disk | memory | times `hf-finemix` | times the floor |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in names(runs):
        own = [run for run in runs if run["program"] == name]
        later = statistics.median(run["sync_seconds"] for run in own)
        memory = max(run["anonymous_mb"] for run in own)
        ratios = [ratio(runs, name, other) for other in (OURS, FLOOR)]
        cells = [_LABELS.get(name, name), spread(times(runs, name)), f"{later:.2f}", f"{memory:.0f} MB", *ratios]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def growth(result: dict) -> list[str]:
    """Makes the table of growth with size, for each number of workers."""
    runs = [run for run in result["runs"] if "growth" in run]
    if not runs:
        return []
    lines = [
        "",
        "## Growth with size, warm",
        "",
        "| pair | parameters | threads | seconds | GB/s | memory | times the floor |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for pair, workers in dict.fromkeys((run["pair"], run["workers"]) for run in runs):
        own = [run for run in runs if (run["pair"], run["workers"]) == (pair, workers)]
        size = result["pairs"][pair]
        # Two reads and one write.
        rate = 3 * size["bytes"] / 1e9 / statistics.median(times(own, OURS))
        memory = max(run["anonymous_mb"] for run in own if run["program"] == OURS)
        cells = [pair, f"{size['parameters'] / 1e6:,.0f} M", str(workers), spread(times(own, OURS))]
        lines.append(f"| {' | '.join([*cells, f'{rate:.2f}', f'{memory:.0f} MB', ratio(own, OURS, FLOOR)])} |")
    return lines


def names(runs: list[dict]) -> list[str]:
    """Returns the programs of some runs, in their order."""
    return list(dict.fromkeys(run["program"] for run in runs))


def times(runs: list[dict], name: str) -> list[float]:
    """Returns a program's wall times."""
    return [run["seconds"] for run in runs if run["program"] == name]


def ratio(runs: list[dict], name: str, other: str) -> str:
    """Returns the median of how many times longer a program takes than the other one in the same turn."""
    pairs = list(zip(times(runs, name), times(runs, other), strict=False))
    return f"{statistics.median(a / b for a, b in pairs):.2f}" if pairs and name != other else ""


def spread(seconds: list[float]) -> str:
    """Formats a median with the lowest and the highest value."""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
