"""Numbers with their nouns: "1 member", "2,000 members"."""

from __future__ import annotations


def counted(number: float, noun: str) -> str:
    """Returns a number with its noun, which is in the plural unless the number is 1.

    Args:
        noun: the singular; the last of several words is what is counted.

    >>> counted(1, "other row"), counted(2000, "copy"), counted(0, "batch"), counted(3, "process"), counted(2, "day")
    ('1 other row', '2,000 copies', '0 batches', '3 processes', '2 days')
    """
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """Returns the regular plural of an English noun."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
