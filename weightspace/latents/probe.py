"""A linear read-out of one property, as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import ClassifierTags, RegressorTags, Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from weightspace.errors import TableError


def _tells_names(probe: PropertyProbe) -> bool:
    return probe.kind == "name"


@final
class PropertyProbe(BaseEstimator):
    """Linear read-out of one property from latents: ridge for numbers, multinomial logistic for names.

    How much of the property is written in the latent in plain sight; a low score says "not linear", never "not
    there". Columns are standardised to `x`; minimised is the mean over rows of `(y - w x - b)^2`, or of twice the
    cross-entropy, plus `penalty |w|^2`, so that a penalty means the same for few rows and many. `score` is R2 for
    numbers and accuracy for names.

    Args:
        kind: `number`, a regressor, or `name`, a classifier.
        penalty: On squared weights, above zero.

    Source:
        Alain and Bengio (2016), "Understanding intermediate layers using linear classifier probes"; there without a
        penalty.

    Example:
        >>> latents, depth = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([5.0, 7.0, 9.0, 11.0])
        >>> PropertyProbe(penalty=1e-9).fit(latents, depth).predict([[4.0]]).round(3).tolist()
        [13.0]
        >>> PropertyProbe("name").fit(latents, ["mnist", "mnist", "usps", "usps"]).predict([[4.0]]).tolist()
        ['usps']
    """

    def __init__(self, kind: Any = "number", penalty: Any = 0.01) -> None:  # `fit` checks, as scikit-learn has it
        self.kind, self.penalty = kind, penalty

    def fit(self, X: Any, y: Any) -> PropertyProbe:
        """Learn to read the property off latents.

        Args:
            X: Latents `(rows, latent)`.
            y: The property of each row: numbers, or names of at least two kinds.

        Raises:
            ValueError: Shapes that do not go together, NaN, or a single name.
            TableError: `kind` is neither `number` nor `name`, or the penalty is not above zero.
        """
        if self.kind not in ("number", "name"):
            raise TableError(f"kind = {self.kind!r}: a probe reads a 'number' or a 'name'.")
        if not self.penalty > 0:
            raise TableError(f"penalty = {self.penalty}: it must be above zero.")
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=self.kind == "number")
        self.centre_, spread = X.mean(0), X.std(0)
        self.spread_ = np.where(spread > 1e-12 * np.abs(X).max(0), spread, np.inf)
        X = (X - self.centre_) / self.spread_
        if self.kind == "name":
            check_classification_targets(y)
            self.model_ = LogisticRegression(C=1 / (self.penalty * len(X)), max_iter=5000, tol=1e-3).fit(X, y)
            self.classes_ = self.model_.classes_
        else:
            self.model_ = Ridge(self.penalty * len(X)).fit(X, y)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the property as it is read off each row."""
        X = self._standardised(X)
        return self.model_.predict(X)

    @available_if(_tells_names)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each name, `(rows, names)`, in the order of `classes_`."""
        X = self._standardised(X)
        return self.model_.predict_proba(X)

    @available_if(_tells_names)
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logit of each name; of the second where there are two."""
        X = self._standardised(X)
        return self.model_.decision_function(X)

    def score(self, X: Any, y: Any) -> float:
        """Return R2 for numbers, accuracy for names."""
        return float((accuracy_score if self.kind == "name" else r2_score)(y, self.predict(X)))

    def _standardised(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return (validate_data(self, X, dtype=np.float64, reset=False) - self.centre_) / self.spread_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self.kind == "name":
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        else:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        return tags
