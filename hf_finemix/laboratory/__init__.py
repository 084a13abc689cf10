"""The laboratory: attacks, defences and tasks side by side."""
