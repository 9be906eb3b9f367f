"""Trained nets on other terms: CLIF on LIF neurons, norms folded, NIR graphs proven by readers."""
