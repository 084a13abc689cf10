"""Names that arguments choose from. Apart from the code behind them, so that the command line starts at once."""

SELECTIONS = ("random", "smallest_drift", "largest_drift")
# Needs Fisher information, from a file or in memory, and is offered where that can be given.
FISHER = "fisher"
POSITIONS = ("start", "end", "random")
FINDINGS = ("low", "medium", "high")
AUTO = "auto"
# When a trigger of a language model succeeded; the first two need a text.
MATCHES = ("exact", "keyword", "refusal", "compliance")
