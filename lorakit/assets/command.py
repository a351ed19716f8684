"""`python -m lorakit.assets [--all] [NAME …]`: fill the cache, so that everything after runs without a network."""

import argparse
import sys

from lorakit.assets import fetch, manifest


def main(arguments: list[str] | None = None) -> int:
    """Fetch the named assets, or the defaults, or all; 1 if something could not be had, 0 otherwise."""
    known = manifest()
    parser = argparse.ArgumentParser(prog="lorakit fetch", description="Fetch models and corpora into the cache.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(known)}; without any, the defaults")
    parser.add_argument("--all", action="store_true", help="everything in the manifest")
    options = parser.parse_args(arguments)
    defaults = [name for name, asset in known.items() if asset.default or options.all]
    return max(map(_report, options.names or defaults))


def _report(name):
    try:
        print(f"{name}: {fetch(name)}")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
