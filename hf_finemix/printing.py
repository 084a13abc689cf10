"""Strings from a suspect made safe to print."""


def printable(text: str) -> str:
    """Replaces control characters, which could move the cursor or recolour the terminal, by their escapes."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
