"""One run: planned, its folder locked and begun or gone on with, recorded."""
