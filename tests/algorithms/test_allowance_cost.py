"""The allowance looks at all waiting members at once; it answers as if it went through the better ones, one after another."""

from __future__ import annotations

import numpy as np

from poptrain.algorithms.parts.allowance import Allowance


def allowance(generator, n):
    made = Allowance.__new__(Allowance)
    made._budget, made._interval = 12, 3
    made._step = generator.integers(0, 13, n)
    made._failed = generator.random(n) < 0.1
    made._rest = np.where(made._failed, 0, np.maximum(12 - made._step - 3 * generator.integers(0, 2, n), 0))
    made._score = np.where(generator.random(n) < 0.1, np.inf, generator.integers(0, 4, n).astype(float))
    made._all, made._left = int(made._rest.sum()), int(generator.integers(0, made._rest.sum() + 13))
    return made


def one_by_one(self, seat, score, rest):
    if self._left >= self._all - int(self._rest[seat]) + rest:
        return True
    length, left, kept = min(self._interval, rest), self._left, False
    others = [other for other in np.flatnonzero(self._rest > 0).tolist() if other != seat]
    for other in sorted(others, key=lambda each: (-self._score[each], each)):
        better = self._score[other] > score or (self._score[other] == score and other < seat)
        if better and self._rest[other] <= left and (not kept or self._score[other] == np.inf):
            left, kept = left - int(self._rest[other]), True
    return left >= length and (kept or min([rest, *(self._rest[others] + length)]) <= self._left)


def test_all_at_once_is_one_by_one():
    generator, answers = np.random.default_rng(0), []
    for _ in range(300):
        made = allowance(generator, int(generator.integers(1, 12)))
        for seat in range(len(made._rest)):
            for score in (float(made._score[seat]), -np.inf, 1.0):
                rest = int(generator.integers(0, 13))
                answers.append(made._spares(seat, score, rest))
                assert answers[-1] == one_by_one(made, seat, score, rest)
        seats = list(range(len(made._rest)))
        wanted = [made._may_train(seat) for seat in seats]
        assert made._denied(seats) == (wanted.index(True) if True in wanted else len(seats))
    assert 0.1 < np.mean(answers) < 0.9
