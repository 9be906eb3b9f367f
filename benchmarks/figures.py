"""The figures of README, docs and recipes: measured, stored, and written into pages and pictures.

    python benchmarks/figures.py measure [GROUP ...]   run commands, store what they print
    python benchmarks/figures.py measure GROUP --keep FOLDER
                                                       the same in pieces: what is finished stays
    python benchmarks/figures.py write                 rewrite the pages from the stored results
    python benchmarks/figures.py check                 say what differs (exit 1)

README.md of this folder says how a page marks a figure.
"""

import argparse
import sys
from pathlib import Path

from quoted import marks, names, store, tables
from quoted.groups import GROUPS
from quoted.pictures import pictures


def main() -> int:
    """Run one verb; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    measured = verbs.add_parser("measure", help="run the commands of groups and store the results")
    measured.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    measured.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="go on with what FOLDER has, and leave it there"
    )
    measured.add_argument(
        "--so-far", action="store_true", help="run nothing: store the steps that FOLDER has"
    )
    verbs.add_parser("write", help="rewrite the pages from the stored results")
    verbs.add_parser("check", help="say where pages and stored results differ")
    options = parser.parse_args()
    try:
        if options.verb == "measure":
            return _measure(parser, options)
        return _write() if options.verb == "write" else _check()
    except marks.PageError as wrong:
        print(f"error: {wrong}", file=sys.stderr)  # noqa: T201
        return 2


def pages_as_stored() -> dict[Path, str]:
    """Every page that quotes figures, and every picture of them, as the stored results have it."""
    files = store.read_all()
    figures = names.by_name(files)
    templates = tables.templates(files)
    pages = {
        path: marks.rewritten(path, figures, templates, tables.HEADERS) for path in marks.pages()
    }
    return pages | pictures(figures)


def _write() -> int:
    for path, text in pages_as_stored().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(store.ROOT))  # noqa: T201
    return 0


def _check() -> int:
    differences = [marks.difference(path, text) for path, text in pages_as_stored().items()]
    print("\n".join(filter(None, differences)), end="")  # noqa: T201
    return int(any(differences))


def _measure(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from quoted.measuring import measure  # torch and numba, which the other verbs do without

    if unknown := sorted(set(options.groups) - set(GROUPS)):
        parser.error(f"no group {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    if options.so_far and options.keep is None:
        parser.error("--so-far stores what a folder has: name it by --keep")
    for group in options.groups or GROUPS:
        document = measure(group, options.keep, so_far=options.so_far)
        print(store.write(document))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
