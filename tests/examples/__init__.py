"""Tests of the examples: scripts, the notebook, and the page about the way from Trainer."""
