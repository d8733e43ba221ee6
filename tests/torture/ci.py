"""What CI runs of the torture test: `python -m tests.torture.ci`. Two processes share the seeds; some run on PostgreSQL.

Every crash point and every seed that ever failed and was mended must hold, and every break of the code must be caught: by
the seed that is written beside it or, where a change of the simulation moved that, by one of a few others. For a minute,
and then on PostgreSQL, fresh seeds are tried, others for each commit: what they find is printed with its seed and stops
nobody whose change has nothing to do with it, unless `--strict` is given. Once mended it joins the seeds that must hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.support import postgres

PROCESSES = 2
SECONDS = 60
LEAST = 100  # scenarios of each process in that time, on a core of its own; a busy machine owes its share
ON_POSTGRES = 8
HUNTED = 60  # seeds for a break that the one beside it does not catch any more


def torture(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "lifecyclehub.torture", *arguments], check=False).returncode


def fresh_seed() -> int:
    """Give a first seed of this commit's own."""
    said = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return int(said[:7] or "0", 16) * 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--strict", action="store_true", help="Fail on what fresh seeds find, too.")
    asked = parser.parse_args()
    first = fresh_seed()
    print(f"fresh seeds from {first}", flush=True)
    shares = [(f"--from={first + number}", f"--step={PROCESSES}") for number in range(PROCESSES)]
    timed = ("--seeds=1000000", f"--seconds={asked.seconds}", f"--least={LEAST}")
    with postgres.server() as url, postgres.fresh_schema(url) as schema, ThreadPoolExecutor(PROCESSES) as both:
        fresh = max(both.map(lambda share: torture(*share, *timed, "--no-shrink"), shares))
        codes = list(both.map(lambda number: torture("--matrix", f"--from={number}", f"--step={PROCESSES}"), range(PROCESSES)))
        codes.append(torture("--regressions"))
        codes.append(torture("--mutants", f"--seeds={HUNTED}", f"--processes={PROCESSES}"))
        fresh = max(fresh, torture(f"--postgres={schema}", f"--from={first}", f"--seeds={ON_POSTGRES}", "--no-shrink"))
    if fresh and not asked.strict:
        print("Fresh seeds found something, see above. It is not part of this change's verdict.", flush=True)
    return max(*codes, fresh if asked.strict else 0)


if __name__ == "__main__":
    sys.exit(main())
