"""Grids of trials: planned, handed out to workers, kept in a results folder, summarised."""
