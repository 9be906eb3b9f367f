"""One module a command: (recipe, run options) -> result. The only place where packages meet."""
