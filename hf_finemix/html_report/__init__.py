"""The report of a purification as one HTML file, to look at, to print and to pass on; it needs no network."""
