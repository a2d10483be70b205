"""Routers of the field that need texts and their tasks alone, to compare with.

Knows: how each finds the task of a query. Does not know: domains, the judge (benchmarks/routing), adapters.
Each is made from labelled texts and gives similarities float (queries, tasks), higher is nearer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lorauter.routers.vector_database import shares_of_nearest
from lorauter.routing.routes import RouterOptions
from lorauter.routing.task_index import TaskInputs

Similarities = npt.NDArray[Any]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]


class TextRouter(Protocol):
    """Anything that says how near queries are to tasks."""

    def similarities(self, queries: Sequence[str]) -> Similarities:
        """(queries, tasks)."""
        ...


class TaskCentroids:
    """LORAUTER (arXiv 2601.21795): cosine to the mean embedding of a task's inputs."""

    def __init__(self, inputs: TaskInputs, embed: Embed) -> None:
        self._embed = embed
        self._means = _means(inputs.embeddings, inputs.owners)
        self._means /= np.linalg.norm(self._means, axis=1, keepdims=True)

    def similarities(self, queries: Sequence[str]) -> Similarities:
        """Cosines."""
        return np.asarray(self._embed(queries) @ self._means.T)


class LoraRetriever:
    """arXiv 2402.09997: inner product with the mean embedding, which is not normalised."""

    def __init__(self, inputs: TaskInputs, embed: Embed) -> None:
        self._embed = embed
        self._means = _means(inputs.embeddings, inputs.owners)

    def similarities(self, queries: Sequence[str]) -> Similarities:
        """Inner products."""
        return np.asarray(self._embed(queries) @ self._means.T)


class VectorDatabase:
    """arXiv 2602.21222: softmax over the nearest inputs, cut at the nucleus, mass added up by task."""

    def __init__(self, inputs: TaskInputs, embed: Embed) -> None:
        self._embed = embed
        self._inputs = inputs

    def similarities(self, queries: Sequence[str]) -> Similarities:
        """Mass of each task: rows sum to 1."""
        near = self._embed(queries) @ self._inputs.embeddings.T
        constants, tasks = RouterOptions(), int(self._inputs.owners.max()) + 1
        return shares_of_nearest(near, self._inputs.owners, tasks, constants.neighbours, constants.nucleus)


class TfidfCentroids:
    """Cosine to the mean tf-idf of word 1- to 3-grams."""

    def __init__(self, inputs: TaskInputs, embed: Embed) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize

        self._vectorizer = TfidfVectorizer(ngram_range=(1, 3), sublinear_tf=True)
        texts = self._vectorizer.fit_transform(inputs.texts)
        tasks = range(int(inputs.owners.max()) + 1)
        self._means = normalize(np.stack([np.asarray(texts[inputs.owners == t].mean(axis=0))[0] for t in tasks]))

    def similarities(self, queries: Sequence[str]) -> Similarities:
        """Cosines."""
        return np.asarray(self._vectorizer.transform(queries) @ self._means.T)


class NgramRegression:
    """Logistic regression on tf-idf of character 1- to 5-grams, solved in the span of the texts: the same optimum."""

    def __init__(self, inputs: TaskInputs, embed: Embed) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        self._pipeline = make_pipeline(
            TfidfVectorizer(analyzer="char", ngram_range=(1, 5), sublinear_tf=True, min_df=2),
            Nystroem(kernel="linear", n_components=len(inputs.texts), random_state=0),
            LogisticRegression(C=100, max_iter=300),
        ).fit(inputs.texts, inputs.owners)

    def similarities(self, queries: Sequence[str]) -> Similarities:
        """Probabilities."""
        return np.asarray(self._pipeline.predict_proba(list(queries)))


BASELINES: dict[str, Callable[[TaskInputs, Embed], TextRouter]] = {
    "lorauter": TaskCentroids,
    "loraretriever": LoraRetriever,
    "vector_database": VectorDatabase,
    "tfidf_centroids": TfidfCentroids,
    "ngram_regression": NgramRegression,
}


def _means(vectors: npt.NDArray[np.float32], owners: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    found = np.zeros((int(owners.max()) + 1, vectors.shape[1]))
    np.add.at(found, owners, vectors.astype(np.float64))
    return np.asarray(found / np.bincount(owners)[:, None])
