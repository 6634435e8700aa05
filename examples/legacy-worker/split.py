"""The predecessor's split: scikit-learn's train_test_split(test_size=0.2, random_state=42), without scikit-learn."""

import random

SEED = 42


def test_and_train(n):
    """Which of n cells are for the test, and which are learned from.

    >>> test_and_train(5)
    ([1], [4, 2, 0, 3])
    >>> test_and_train(10)
    ([8, 1], [5, 0, 7, 2, 9, 4, 3, 6])
    """
    order = permutation(n)
    n_test = -(-n // 5)
    return order[:n_test], order[n_test:]


def permutation(n):
    """numpy.random.RandomState(42).permutation(n): the Mersenne twister of Python's own, seeded as numpy seeds it."""
    words = [SEED]
    for at in range(1, 624):
        before = words[-1]
        words.append((1812433253 * (before ^ (before >> 30)) + at) & 0xFFFFFFFF)
    twister = random.Random()
    twister.setstate((3, (*words, 624), None))
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        mask = (1 << last.bit_length()) - 1
        while (chosen := twister.getrandbits(32) & mask) > last:
            pass
        order[last], order[chosen] = order[chosen], order[last]
    return order
