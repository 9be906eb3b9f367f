"""What a linear model makes of the data: the least that a net has to be better than.

    python benchmarks/baselines.py RECIPE [KEY=VALUE ...]

Multinomial logistic regression of scikit-learn (L-BFGS, C = 1, 200 iterations at most) on the
recipe's training samples as a net sees them, all time steps side by side; its test accuracy as
JSON. There is nothing random in it.
"""

import argparse
import json
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from clifctl.data.contract import Split
from clifctl.experiments.build import load_data
from clifctl.recipe.load import load_recipe

ITERATIONS = 200


def features(split: Split) -> np.ndarray:
    """`[N, T x features]`, float64."""
    seen = split.prepared(split.held)
    return seen.transpose(0, 1).flatten(1).numpy().astype(np.float64)


def main() -> None:
    """Fit, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides).recipe
    data = load_data(recipe)
    model = LogisticRegression(max_iter=ITERATIONS)
    with warnings.catch_warnings():  # how many iterations there were is in the result
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features(data.train), data.train.targets.numpy())
    right = model.predict(features(data.test)) == data.test.targets.numpy()
    document = {
        "schema": "clifctl.benchmarks.baselines/1",
        "recipe": options.recipe,
        "train_samples": len(data.train),
        "test_samples": len(data.test),
        "iterations": int(model.n_iter_.max()),
        "test_accuracy_percent": 100 * float(right.mean()),
    }
    print(json.dumps(document, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
