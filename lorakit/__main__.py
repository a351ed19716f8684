"""python -m lorakit inspect PATH …   what somebody's adapter did, as a table and as a page
python -m lorakit fetch [NAME …]   models and sentences into the cache
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

BAD_FILE = 2  # exit code; argparse uses it too


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; without any, say which there are. The exit code is 0, or 2 where a file is no good."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["fetch"]:
        from lorakit.assets.command import main as fetch

        return fetch(given[1:])
    options = _parser().parse_args(given or ["--help"])
    try:
        _inspect(options)
    except (OSError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        here = " (here: --alpha, which also says that the scale is α/r)" if "assume=" in said else ""
        print(f"lorakit: {said}{here}", file=sys.stderr)
        return BAD_FILE
    return 0


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m lorakit", description=__doc__, formatter_class=plain)
    commands = parser.add_subparsers(title="commands", metavar="inspect | fetch", required=True)
    commands.add_parser("fetch", help="fetch models and sentences; fetch --help says more")
    inspect = commands.add_parser(
        "inspect", help="look into an adapter: PEFT, loralib, torchtune, litgpt, whole models"
    )
    inspect.add_argument("path", help="a PEFT folder, an adapter file, or a model tuned from --base")
    inspect.add_argument("--base", metavar="MODEL", help="the model it changes: a name, a folder or a weights file")
    inspect.add_argument("--against", metavar="PATH", help="another adapter of the same model to compare it with")
    inspect.add_argument("--html", type=Path, metavar="FILE", help="write a page with all figures")
    inspect.add_argument("--only", default="*", metavar="PATTERN", help='layers to look at, as in "*.query"')
    inspect.add_argument("--alpha", type=float, help="α, where the file does not hold it (loralib never does)")
    inspect.add_argument("--parts", type=_parts, metavar="1,0,1", help="which of q, k, v a fused layer adapts")
    inspect.add_argument("--heads", type=int, help="of a litgpt model without model_config.yaml beside the file")
    inspect.add_argument("--groups", type=int, help="its query groups")
    return parser


def _parts(words: str) -> tuple[bool, ...]:
    return tuple(bool(int(word)) for word in words.split(","))


def _inspect(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from lorakit.inspecting import as_text, deltas_of, measured, page, weights_of

    told = {name: getattr(options, name) for name in ("alpha", "parts", "heads", "groups")}
    deltas = deltas_of(options.path, options.base, options.only, **told)
    other = deltas_of(options.against, options.base, options.only, **told) if options.against else None
    weights = weights_of(options.base) if options.base else None
    bar = tqdm(measured(deltas, weights, other), total=len(deltas), unit="layer", leave=False, disable=None)
    rows = list(bar)
    about = " · ".join([f"{len(rows)} layers", deltas.kind, *_about(options)])
    print(f"{options.path}: {about}\n\n{as_text(rows)}")
    if options.html:
        options.html.write_text(page(rows, Path(options.path).name, about), encoding="utf-8")
        print(f"\nfigures: {options.html}")


def _about(options: argparse.Namespace) -> list[str]:
    named = {"base": options.base, "against": options.against}
    return [f"{name} {value}" for name, value in named.items() if value]


if __name__ == "__main__":
    sys.exit(main())
