"""The law of a member whose data, or whose trainer, have a state of their own: it goes on, resumed and in a copy."""

from __future__ import annotations


def check_goes_on(make, old, new, directory, steps=2):
    """Asserts that a member which is resumed trains as the one that was saved, and a copy as one whose values change.

    Args:
        make: ``make(hp, seed)`` returns a new member.
        old: the values until the checkpoint.
        new: those of the copy, which matter.

    Returns:
        the metrics of the interval after the checkpoint with the old values, and the copied member.
    """
    first, changed = make(old, 1), make(old, 1)
    for member in (first, changed):
        member.train(old, steps)
    first.save(directory)
    found = first.train(old, steps)
    resumed, copied, other = make(old, 9), make(new, 7), make(new, 8)
    for member in (resumed, copied, other):
        member.load(directory)
    assert resumed.train(old, steps) == found
    assert copied.train(new, steps) == other.train(new, steps) == changed.train(new, steps) != found
    return found, copied
