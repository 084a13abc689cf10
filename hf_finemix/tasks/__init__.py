"""Tasks and pretrained models of the laboratory, described in small YAML files."""
