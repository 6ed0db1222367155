"""Accuracy averaged over classes, and the harmonic mean."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drmn.evaluation.metrics import class_weights, harmonic_mean, harmonic_means, per_class_accuracy

seeds = st.integers(0, 2**32 - 1)
shares = st.integers(0, 1000).map(lambda right: right / 1000)  # of 1000 images


def test_per_class_accuracy_counts_a_class_once_however_large():
    # Class 0: 3 of 4 right. Class 2: 0 of 1. Class 1 is absent and must not become 0/0.
    labels = torch.tensor([0, 0, 0, 0, 2])
    guesses = torch.tensor([0, 0, 0, 1, 0])
    assert per_class_accuracy(guesses, labels) == pytest.approx((3 / 4 + 0 / 1) / 2)


def test_a_class_that_is_guessed_but_not_there_does_not_count():
    # Class 0: 1 of 2 right; the other guess is of class 7, beyond every label.
    assert per_class_accuracy(torch.tensor([0, 7]), torch.tensor([0, 0])) == 1 / 2


def test_class_weights_are_shared_among_the_images_of_a_class():
    # Two classes at 1/2 each: three images share one half, one image has the other.
    weights = class_weights(torch.tensor([4, 1, 4, 4]))
    expected = torch.tensor([1 / 6, 1 / 2, 1 / 6, 1 / 6], dtype=torch.double)
    torch.testing.assert_close(weights, expected)


@given(seeds)
def test_per_class_accuracy_is_the_mean_of_the_classes_accuracies(seed):
    guesses, labels = torch.randint(6, (2, 40), generator=torch.Generator().manual_seed(seed))
    each = []
    for label in set(labels.tolist()):
        own = [guess == label for guess, of in zip(guesses, labels, strict=True) if of == label]
        each.append(sum(own) / len(own))
    assert per_class_accuracy(guesses, labels) == pytest.approx(float(sum(each) / len(each)))


@given(seeds, st.permutations(range(6)))
def test_accuracy_does_not_depend_on_the_order_of_classes(seed, order):
    guesses, labels = torch.randint(6, (2, 40), generator=torch.Generator().manual_seed(seed))
    renamed = torch.tensor(order)
    assert per_class_accuracy(renamed[guesses], renamed[labels]) == pytest.approx(
        per_class_accuracy(guesses, labels)
    )


@given(seeds)
def test_showing_every_image_twice_changes_no_accuracy(seed):
    guesses, labels = torch.randint(6, (2, 40), generator=torch.Generator().manual_seed(seed))
    assert per_class_accuracy(guesses.repeat(2), labels.repeat(2)) == pytest.approx(
        per_class_accuracy(guesses, labels)
    )


@pytest.mark.parametrize(
    ("unseen", "seen", "expected"),
    [(0.5, 0.5, 0.5), (1.0, 0.5, 2 / 3), (0.2, 0.3, 0.12 / 0.5), (0.0, 1.0, 0), (0.0, 0.0, 0)],
)
def test_the_harmonic_mean_of_two_accuracies(unseen, seen, expected):
    assert harmonic_mean(unseen, seen) == pytest.approx(expected)


@given(shares, shares)
def test_the_harmonic_mean_lies_between_the_lower_and_twice_the_lower(unseen, seen):
    value = harmonic_mean(unseen, seen)
    low = min(unseen, seen)
    assert low * (1 - 1e-9) <= value <= 2 * low * (1 + 1e-9)
    assert value <= max(unseen, seen) * (1 + 1e-9)
    assert value == harmonic_mean(seen, unseen)


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=5))
def test_many_harmonic_means_are_each_the_one_of_its_pair(pairs):
    unseen, seen = torch.tensor(pairs, dtype=torch.double).T
    expected = torch.tensor([harmonic_mean(*pair) for pair in pairs], dtype=torch.double)
    torch.testing.assert_close(harmonic_means(unseen, seen), expected)
