"""``python -m benchmarks.instructions [ROW ...]``: instructions per small call, which valgrind counts.

Unlike CPU time, they depend on neither the load nor the processor's caches. Instructions of the kernel are not counted.
It takes about a minute per row.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

from benchmarks.contestants import MAIN_ROWS, RAW, ROWS, installed
from benchmarks.replay import replay_server

#: Two numbers of calls. What runs share, such as imports, cancels out to about a thousandth of it.
_FEW, _MANY = 5, 505


def main(names: list[str]) -> None:
    """Count the rows' instructions and print each with its ratio to raw reading plus floor."""
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed: apt-get install valgrind")
    if unknown := [name for name in names if name not in ROWS]:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    rows = [ROWS[name] for name in names] or [row for row in MAIN_ROWS if installed(row)]
    needed = dict.fromkeys([RAW, *(row.floor for row in rows if row.floor), *(row.name for row in rows)])
    counts: dict[str, float] = {}
    with replay_server() as server:
        for name in needed:
            counts[name] = (_count(name, server, _MANY) - _count(name, server, _FEW)) / (_MANY - _FEW)
            floor = ROWS[name].floor
            least = counts[RAW] + (counts[floor] if floor else 0)
            print(f"{name:32} {counts[name]:12,.0f} {counts[name] / least:6.2f}x", flush=True)


def _count(row: str, server: str, calls: int) -> int:
    job = json.dumps({"row": row, "server": server, "calls": calls})
    count = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    done = subprocess.run(
        [*count, sys.executable, "-m", "benchmarks.child", "warm_calls", job],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    found = re.search(r"I +refs: +([\d,]+)", done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(f"{row}: no count.\n{done.stderr}")
    return int(found[1].replace(",", ""))


if __name__ == "__main__":
    main(sys.argv[1:])
