"""Recipes: what is run. `schema` is strict, `load` reads and overrides, `catalog` ships them.

Nothing is imported here: `catalog` and `yamlfile` serve commands that must answer without torch.
"""
