"""The file of a key map, which renames the keys of a state dict of other code."""

from pathlib import Path

from clifctl.errors import CheckpointError, RecipeError
from clifctl.reading import read_given_text
from clifctl.recipe.yamlfile import parse_document
from clifctl.training.key_map import KeyMap

_FORM = "give a YAML file of lines 'their key: our key'; null for ours leaves a key out"


def read_key_map(path: Path) -> KeyMap:
    """The map in the YAML file `path`. Raises CheckpointError for what is none."""
    where = f"key map '{path}'"
    try:
        document = parse_document(read_given_text(path), where, "a key map")
    except FileNotFoundError:
        raise CheckpointError(f"no file '{path}' for --key-map", hint=_FORM) from None
    except (OSError, ValueError) as unreadable:
        reason = getattr(unreadable, "strerror", None) or "not text in UTF-8"
        raise CheckpointError(f"cannot read {where}: {reason}", hint=_FORM) from None
    except RecipeError as broken:
        raise CheckpointError(broken.message, hint=_FORM) from None
    for key, ours in document.items():
        if not (key and (ours is None or isinstance(ours, str))):
            raise CheckpointError(
                f"{where}: '{key}' becomes '{str(ours)[:40]}', which is no key", hint=_FORM
            )
    return KeyMap(str(path), document)
