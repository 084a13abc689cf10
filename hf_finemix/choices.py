"""Names that arguments choose from. Apart from the code behind them, so that the command line starts at once."""

SELECTIONS = ("random", "smallest_drift", "largest_drift")
POSITIONS = ("start", "end", "random")
FINDINGS = ("low", "medium", "high")
AUTO = "auto"
