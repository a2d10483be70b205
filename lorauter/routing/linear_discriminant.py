"""Linear discriminant analysis of texts: coordinates in which tasks lie apart and a task's own inputs together.

Knows: form and meaning of labelled texts, scatter within and between tasks. Does not know: routes, where texts come
from.

Source: shrinkage LDA (Friedman 1989, Regularized Discriminant Analysis) in the span of the examples. Whitening the
scatter within classes and comparing by cosine is the WCCN of speaker recognition (Hatch et al., Interspeech 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lorauter.routing.text_form import Sparse, TextForm, count_ngrams

Matrix = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
MEANING = 0.7  # share of the sentence embeddings in an inner product, beside the form's shares (text_form.VIEWS)
SHRINKAGE = 0.23
LANDMARKS = 2048  # examples whose span is searched: exact up to so many, an even sample beyond
_RANK = 1e-6  # eigenvalues below this share of the largest are rounding


@dataclass(frozen=True, slots=True)
class CountedTexts:
    """n texts. form: n-gram counts, a CSR (n, columns) a view. meaning: unit embeddings, float32 (n, d)."""

    form: Sequence[Sparse]
    meaning: npt.NDArray[np.float32]

    def rows(self, rows: Any) -> CountedTexts:
        """Some of them: an index array, a mask or a slice."""
        return CountedTexts([view[rows] for view in self.form], self.meaning[rows])


def count_texts(texts: Sequence[str], embeddings: npt.NDArray[np.float32]) -> CountedTexts:
    """Texts with their embeddings, in the same order, as the discriminant reads them."""
    return CountedTexts(count_ngrams(texts), embeddings)


class TextKernel:
    """Inner products of form and meaning with some of the texts that it is made from, the landmarks.

    Args:
        texts: n of them.
    """

    def __init__(self, texts: CountedTexts) -> None:
        n = texts.meaning.shape[0]
        self._form = TextForm(texts.form)
        self.kept = np.unique(np.linspace(0, n - 1, min(n, LANDMARKS)).astype(np.int64))
        self._landmarks = self._weigh(texts.rows(self.kept))
        self.own = self.of(texts)

    def of(self, texts: CountedTexts) -> Matrix:
        """With the landmarks: (texts, landmarks)."""
        (form, meaning), (form_of_landmarks, meaning_of_landmarks) = self._weigh(texts), self._landmarks
        likeness = meaning @ meaning_of_landmarks.T
        for view, view_of_landmarks in zip(form, form_of_landmarks, strict=True):
            likeness += (view @ view_of_landmarks.T).toarray()
        return np.asarray(likeness)

    def basis(self) -> Matrix:
        """Orthonormal axes of the landmarks' span, in terms of inner products with them: (landmarks, rank)."""
        return _span(self.own[self.kept])

    def _weigh(self, texts: CountedTexts) -> tuple[list[Sparse], Matrix]:
        return self._form.weigh(texts.form), texts.meaning.astype(np.float64) * MEANING**0.5


@dataclass(frozen=True, slots=True)
class _Axes:
    """projection: from inner products with the landmarks, (landmarks, d), d < tasks. centroids: unit, (tasks, d)."""

    projection: Matrix
    centroids: Matrix

    def similarities(self, kernel: Matrix) -> npt.NDArray[np.float32]:
        return np.asarray(_unit(kernel @ self.projection) @ self.centroids.T, dtype=np.float32)


class TaskDiscriminant:
    """Fitted on labelled texts in seconds; the same texts give the same coordinates up to rounding.

    Args:
        texts: n of them.
        owners: int (n,), the task of each, 0 to tasks - 1; every task has one or more, two or more tasks.
    """

    def __init__(self, texts: CountedTexts, owners: Places) -> None:
        self._owners = owners
        self._inner = TextKernel(texts)
        self._kept, self._kernel = self._inner.kept, self._inner.own
        self._axes = self._fit(np.ones(len(owners), dtype=np.bool_))

    def similarities(self, texts: CountedTexts) -> npt.NDArray[np.float32]:
        """Cosine of each text to each task's centroid: float32 (texts, tasks)."""
        return self._axes.similarities(self._inner.of(texts))

    def held_out(self, folds: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Highest cosines of texts that the fit has not seen: of texts of its tasks, and of texts of no task of its.

        In each fold every `folds`-th task is left out whole, and every `folds`-th text of the others. n-grams are
        weighed once, on all texts.
        """
        turn, own, strangers = _turns(self._owners), [], []
        for fold in range(folds):
            stranger = self._owners % folds == fold
            held = ~stranger & (turn % folds == fold)
            axes = self._fit(~stranger & ~held)
            own.append(axes.similarities(self._kernel[held]).max(axis=1))
            strangers.append(axes.similarities(self._kernel[stranger]).max(axis=1))
        return np.concatenate(own), np.concatenate(strangers)

    def _fit(self, fitted: npt.NDArray[np.bool_]) -> _Axes:
        """On some of the texts; landmarks that are not among them count for nothing."""
        tasks, owners = np.unique(self._owners[fitted], return_inverse=True)
        landmarks = fitted[self._kept]
        places = np.cumsum(fitted)[self._kept[landmarks]] - 1
        kernel = self._kernel[np.ix_(fitted, landmarks)]
        basis = _span(kernel[places])
        means, within = _scatter(kernel @ basis, owners, len(tasks))
        white = _whitening(within)
        axes = _between(means @ white)
        projection = np.zeros((len(self._kept), axes.shape[1]))
        projection[landmarks] = basis @ white @ axes
        return _Axes(projection, _unit(means @ white @ axes))


def _turns(owners: Places) -> Places:
    """The how-manieth of its task each text is."""
    order = np.argsort(owners, kind="stable")
    _, first, sizes = np.unique(owners[order], return_index=True, return_counts=True)
    turns = np.empty(len(owners), dtype=np.int64)
    turns[order] = np.arange(len(owners)) - np.repeat(first, sizes)
    return turns


def _unit(vectors: Matrix) -> Matrix:
    """Rows at length 1; rows of zeros stay."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _span(gram: Matrix) -> Matrix:
    """Orthonormal axes of the landmarks' span, in terms of inner products with them: (landmarks, rank)."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > _RANK * values[-1]
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))


def _scatter(points: Matrix, owners: Places, tasks: int) -> tuple[Matrix, Matrix]:
    """Means of the tasks and scatter within them, tasks counting alike however many texts they have."""
    sizes = np.bincount(owners)
    means = np.zeros((tasks, points.shape[1]))
    np.add.at(means, owners, points / sizes[owners, None])
    away = (points - means[owners]) / np.sqrt(tasks * sizes[owners, None])
    return means, away.T @ away


def _whitening(within: Matrix) -> Matrix:
    """What makes the shrunken scatter within tasks the identity: (rank, rank)."""
    d = len(within)
    shrunk = (1 - SHRINKAGE) * within + (SHRINKAGE * np.trace(within) / d + 1e-12) * np.eye(d)
    return np.asarray(np.linalg.inv(np.linalg.cholesky(shrunk)).T)


def _between(means: Matrix) -> Matrix:
    """Orthonormal axes that the tasks' means differ on: (rank, min(tasks - 1, rank))."""
    _, _, axes = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    return np.asarray(axes[: len(means) - 1].T)
