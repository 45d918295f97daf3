"""CPU time of the filters that compare words, on texts of a megabyte and on questions of ordinary length.

    python benchmarks/filters.py [--pairs 5] [--against CHECKOUT]

With another checkout both run in turn, in processes of their own; what is printed then are the medians, the median
ratio of the pairs, and whether all reasons were the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILTERS = {"decontaminate": {}, "near_duplicates": {}, "duplicates": {"by": "normalised"}, "characters": {}}
MEGABYTE = 1_000_000
QUESTIONS = 5000
HELD_OUT = 1000


def texts() -> dict[str, list[str]]:
    """By name: one text of a megabyte each, or the questions."""
    from rlvr_plugins.conformance import corpus
    from rlvr_plugins.tasks import word_problems

    rng = random.Random(0)
    made = [word_problems.generate(rng, small=40, large=400)[0] for _ in range(QUESTIONS)]
    long = [text for text in corpus.LARGE if len(text) >= MEGABYTE // 5]
    return {
        "questions": made,
        "megabyte of questions": [" ".join(made)[:MEGABYTE]],
        "megabyte of signs": ["".join(rng.choices("+-*/()[]{}=<>1234 .,!'", k=MEGABYTE))],
        "megabyte of letters": ["".join(rng.choices("abcdé ö一三\n", k=MEGABYTE))],
        "megabyte of 1+": ["1+" * (MEGABYTE // 2)],
        f"{len(long)} hostile texts": long,
    }


def measure() -> None:
    """Prints, for each filter and kind of text, the CPU seconds and a digest of the reasons."""
    from rlvr_plugins import Example, FilterContext, Row
    from rlvr_plugins.manager import catalogue

    task = catalogue().task("gsm8k")
    held_out = task.items(task.options(**task.offline), 1, HELD_OUT, 0).eval
    found = {}
    for name, options in FILTERS.items():
        plugin = catalogue().filter(name)
        for kind, each in texts().items():
            context = FilterContext(task, "train", evaluation=iter([(task, example) for example in held_out]))
            select = plugin.start(plugin.options(**options), context)
            examples = [Example(text[:50], {"question": text, "answer": "1"}) for text in each]
            rows = [Row("gsm8k", example, task.prompt(example)) for example in examples]
            select(
                [Row("gsm8k", Example("", {"question": "one", "answer": "1"}), [{"role": "user", "content": "one"}])]
            )
            begun = time.process_time()
            reasons = select(rows)
            spent = time.process_time() - begun
            digest = hashlib.sha256(json.dumps(reasons).encode()).hexdigest()
            found[f"{name}: {kind}"] = spent, digest
    print(json.dumps(found))


def run(checkout: Path) -> dict[str, tuple[float, str]]:
    path = os.pathsep.join([str(checkout / "workflow"), str(checkout)])
    env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--measure"]
    return json.loads(subprocess.run(command, env=env, cwd=checkout, check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--against", type=Path, help="a checkout of another version")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure()
    checkouts = [ROOT] + ([given.against.resolve()] if given.against else [])
    runs = [[run(checkout) for checkout in checkouts] for _ in range(given.pairs)]
    for name in runs[0][0]:
        columns = [[1000 * pair[side][name][0] for pair in runs] for side in range(len(checkouts))]
        line = f"{name:42}" + "".join(f"{statistics.median(column):9.1f} ms" for column in columns)
        if given.against:
            ratio = statistics.median(here / there for here, there in zip(*columns, strict=True))
            same = len({result[name][1] for pair in runs for result in pair}) == 1
            line += f"  ratio {ratio:.2f}  {'same reasons' if same else 'OTHER REASONS'}"
        print(line)


if __name__ == "__main__":
    main()
