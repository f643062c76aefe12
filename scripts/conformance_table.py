"""Write the table of a conformance run as Markdown: one row per point, one column per class.

It reads pytest's reports::

    python -m pytest tests/conformance/test_llama_index.py --junitxml=ours.xml
    python scripts/conformance_table.py ours.xml others.xml
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

from linkspan_sandbox.conformance import llama_index

POINT = re.compile(r"Point (\d+)")


def points() -> dict[str, int]:
    """The point of each test, by the test's name; tests of two suites that share a name share a point."""
    found: dict[str, int] = {}
    for name in llama_index.__all__:
        suite = getattr(llama_index, name)
        for test in dir(suite):
            stated = POINT.match(getattr(suite, test).__doc__ or "") if test.startswith("test_") else None
            if stated:
                found[test] = int(stated[1])
    return found


def outcomes(reports: list[Path]) -> dict[str, dict[int, list[int]]]:
    """Count passed, failed and skipped tests for each class and point."""
    point_of = points()
    table: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for report in reports:
        for case in ET.parse(report).iter("testcase"):
            class_name = (case.get("classname") or "").rpartition(".")[2].removeprefix("Test")
            point = point_of.get((case.get("name") or "").partition("[")[0])
            if point is None:
                continue
            failed = case.find("failure") is not None or case.find("error") is not None
            place = 1 if failed else 2 if case.find("skipped") is not None else 0
            table[class_name][point][place] += 1
    return table


def cell(counts: list[int]) -> str:
    """Return the number passed; if not all, also the total, in bold; a dash if the API lacks the feature."""
    passed, failed, skipped = counts
    if failed:
        return f"**{passed} of {passed + failed}**"
    return str(passed) if passed else "-" if skipped else ""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path)
    table = outcomes(parser.parse_args().reports)
    classes = list(table)
    print("| point | " + " | ".join(f"`{name}`" for name in classes) + " |")
    print("|---" * (len(classes) + 1) + "|")
    for point in sorted({point for column in table.values() for point in column}):
        print(f"| {point} | " + " | ".join(cell(table[name].get(point, [0, 0, 0])) for name in classes) + " |")
    sums = [[sum(counts[place] for counts in table[name].values()) for place in range(3)] for name in classes]
    print("| all | " + " | ".join(cell(counts) for counts in sums) + " |")


if __name__ == "__main__":
    main()
