"""Backdoor attacks, for evaluation and as positive controls. One module per attack."""
