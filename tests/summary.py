#!/usr/bin/env python3
"""Sums up ctest's JUnit files: what ran, failed and was skipped, per label.

    tests/summary.py BUILD=FILE.xml ...    exits 1 if anything failed or skipped
"""

import collections
import sys
import xml.etree.ElementTree as ET


def main():
    counts = collections.defaultdict(collections.Counter)
    bad = []
    for argument in sys.argv[1:]:
        build, path = argument.split("=", 1)
        for case in ET.parse(path).getroot().iter("testcase"):
            label = f"{build} {case.get('name').split('.')[0]}"
            status = {"run": "passed", "fail": "failed"}.get(case.get("status"), "skipped")
            counts[label][status] += 1
            counts[label]["seconds"] += float(case.get("time"))
            if status != "passed":
                bad.append(f"{status}: {build} {case.get('name')}")
    print(f"{'label':24}{'ran':>6}{'failed':>8}{'skipped':>9}{'seconds':>10}")
    for label, c in sorted(counts.items()):
        print(f"{label:24}{c['passed'] + c['failed']:6}{c['failed']:8}{c['skipped']:9}{c['seconds']:10.1f}")
    print("\n".join(bad))
    return 1 if bad or not counts else 0


if __name__ == "__main__":
    sys.exit(main())
