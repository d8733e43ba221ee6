"""`lifecyclehub` and `python -m lifecyclehub`."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run what the arguments say. Gives the exit code."""
    # What is imported stays, and ends with the process: to look for garbage among it took a fifth of a short command.
    gc.set_threshold(100_000, 20, 20)
    # httpx loads its own command line, and what that draws with, wherever it is installed; FastAPI loads Pydantic's first
    # version, if it is there, only to refuse its models. Nobody here needs either.
    sys.modules["httpx._main"] = sys.modules["pydantic.v1"] = None  # type: ignore[assignment]
    arguments = sys.argv[1:]
    if _first_word(arguments) == "serve" and not {"--help", "-h"} & set(arguments):
        from lifecyclehub.cli.serve import main as serve

        return serve([one for one in arguments if one != "serve"])
    from lifecyclehub.cli.app import main as others

    try:
        return others(arguments)
    finally:
        gc.freeze()


def _first_word(arguments: list[str]) -> str | None:
    """Give the first argument that is neither an option nor the value of `--home`."""
    skip = False
    for one in arguments:
        if not skip and not one.startswith("-"):
            return one
        skip = one == "--home"
    return None


if __name__ == "__main__":
    sys.exit(main())
