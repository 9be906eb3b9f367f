"""What a window of truncated BPTT contradicts in a recipe."""

from typing import Any

from clifctl.recipe.problems import Problem


def window_problems(document: dict[str, Any], timesteps: int) -> list[Problem]:
    """The problems of `neuron.window` with T, and with recurrent layers."""
    window, model = document["neuron"].get("window"), document.get("model")
    if not isinstance(window, int):
        return []
    found = []
    if window > timesteps:
        found.append(f"must be at most timesteps = {timesteps}; null is full BPTT")
    if isinstance(model, dict) and model.get("recurrent") is True:
        found.append("with model.recurrent = true there is no window; null is full BPTT")
    return [Problem("neuron.window", f" = {window}: {said}") for said in found]
