"""Run the blocks of README and tutorial that set things up, in a fresh clone, as somebody new does.

`make demo` ends here after its proof instead of staying up, and `make test` only collects: this is run by what tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.docs.blocks import ROOT, RUN, Block, blocks_of
from tests.docs.shown import difference

INSTEAD = {"make demo": "make demo ONCE=1", "make test": "make test ARGS='--collect-only --quiet'"}
SAID_BY_OTHERS = {"make test"}  # what it shows comes with the run that this belongs to
KEPT_OUT = ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MYPYPATH", "PYTHONPATH")


def run(block: Block, where: Path, document: str) -> str:
    """Run one block. Gives what is wrong, "" for nothing."""
    text = INSTEAD.get(block.text, block.text)
    print(f"{document}:{block.line}: {text}", flush=True)
    env = {name: value for name, value in os.environ.items() if name not in KEPT_OUT} | {"NO_COLOR": "1", "COLUMNS": "110"}
    done = subprocess.run(
        ["bash", "-c", text],
        check=False,
        cwd=where,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=900,
    )
    came = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        return f"{document}:{block.line}: {text} ended with {done.returncode}:\n{came[-4000:]}"
    if block.shows is None or block.text in SAID_BY_OTHERS:
        return ""
    wrong = difference(block.shows, came)
    return f"{document}:{block.line}: {text}\n{wrong}" if wrong else ""


def main() -> int:
    """Clone, and run what a newcomer runs."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "lifecyclehub"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
        for document in RUN:
            for block in blocks_of(clone / document):
                if block.is_a("set-up"):
                    wrong = run(block, clone, document)
                    if wrong:
                        print(wrong, file=sys.stderr)
                        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
