"""The paper's tables and figures: the runs that they are made of, and which of them are there."""
