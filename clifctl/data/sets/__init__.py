"""The data sets: one file each, a row of the DATASETS table."""
