#!/usr/bin/env python3
"""Runs the tests that compare engine torch on the GPU with engine cpu, and keeps what they say. Standard library only.

    agreement.py --output agreement.json [--device cuda:0] --tests COMMAND...
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

import about


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tests", nargs="+", required=True, help="the command that runs the test binary `it` of stagger-torch")
    arguments = parser.parse_args()
    line = [*arguments.tests, "agreement", "--test-threads", "1", "--nocapture"]
    environment = os.environ | {"STAGGER_TEST_DEVICE": arguments.device}
    lines = []
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as process:
        for said in process.stdout:
            print(said, end="", flush=True)
            lines.append(said.rstrip("\n"))
    # What a test prints stands between its name and its result.
    ended = next((found for said in reversed(lines) if (found := re.match(r"test result: \w+\. (\d+) passed; (\d+) failed", said))), None)
    passed = int(ended[1]) if ended else 0
    last = max((at for at, said in enumerate(lines) if said == "failures:"), default=len(lines))
    failed = [said.strip() for said in lines[last:] if said.startswith("    ")]
    # A filter that finds nothing passes, too.
    good = process.returncode == 0 and passed > 0
    report = {"step": "agreement", "about": about.about([]), "device": arguments.device, "passed": good,
              "tests_passed": passed, "tests_failed": failed,
              "worst": [said for said in lines if "worst: " in said],
              "exit": process.returncode, "output": lines[-400:]}
    if passed == 0 and not failed:
        print("no test passed: is this the test binary `it` of stagger-torch, built with --features torch?", file=sys.stderr)
    pathlib.Path(arguments.output).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
