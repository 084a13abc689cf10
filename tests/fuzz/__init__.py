"""Readers of what a stranger wrote, fed with damaged bytes: a clean refusal or a result, never another exception."""
