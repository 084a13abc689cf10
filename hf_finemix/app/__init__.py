"""An app in a browser: scan a suspect, purify it, try it, take the result away. `hf-finemix ui`, extra `ui`."""
