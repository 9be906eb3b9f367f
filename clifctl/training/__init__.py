"""Training: loss, loop, evaluation, checkpoints and the run folder. No recipe is known here."""
