"""The invariance report: the same records at other rates, with fewer leads, as pictures of every layout and scale, and
as photographs; and how often the answer changes. An answer that turns with the paper speed is no finding.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .items import Item, read_items
from .metrics.closed import read_choice
from .metrics.probability import agreement
from .run import Batch, Settings, Which, collect, describe_run, write_json
from .variants import BASE, VARIANTS


def invariance(
    which: Which,
    data: str | Path,
    out: str | Path,
    manifest: dict,
    settings: Settings,
    workers: int = 1,
    progress: bool = True,
) -> dict:
    """Asks the closed questions about signals in every variant, or goes on with it; arguments as
    `heartcare.bench.run.run`.

    Returns: what is written to NAME.invariance.json: "rows", variant -> "changed", the share of questions whose answer
        is another one than about the
    signal as recorded (another choice, or none where there was one); "kappa", their agreement beyond chance;
    "accuracy"; "invalid".
    """
    out, head = Path(out), describe_run(which, manifest, settings)
    items = read_items(data, manifest, ("S",), ("closed-qa",), settings.limit)
    file = f"{head['model']['name'].replace('/', '--')}.invariance"
    rows = collect(
        variant_batches(items, settings.batch_size),
        out / f"{file}.answers.jsonl",
        head,
        which,
        settings,
        workers,
        progress,
    )
    choices = {
        name: [read_choice(rows[name][item.id]["text"], item.options).index for item in items] for name in VARIANTS
    }
    # Options are told apart by their text, since two questions have the same index for different options.
    named = {
        name: [None if c is None else item.options[c] for c, item in zip(each, items)] for name, each in choices.items()
    }
    table = {}
    for name, each in named.items():
        same = agreement(named[BASE], each)
        table[name] = {
            "changed": round(1 - same["agreement"], 6),
            "kappa": round(same["kappa"], 6),
            "accuracy": round(float(np.mean([choice == item.right for choice, item in zip(each, items)])), 6),
            "invalid": round(each.count(None) / len(each), 6),
        }
    result = head | {"questions": len(items), "rows": table}
    write_json(out / f"{file}.json", result)
    return result


def variant_batches(items: list[Item], batch_size: int) -> Iterator[Batch]:
    for row in VARIANTS:
        for number, start in enumerate(range(0, len(items), batch_size)):
            part = items[start : start + batch_size]
            yield Batch(row, number, part, [None] * len(part))


def table_lines(result: dict) -> list[str]:
    """The report as a Markdown table."""
    lines = ["| the same records | answer changed | kappa | accuracy | no single option |", "|---|---|---|---|---|"]
    for name, row in result["rows"].items():
        lines.append(
            f"| {name} | {100 * row['changed']:.1f} % | {row['kappa']:.2f} | {row['accuracy']:.3f} | {100 * row['invalid']:.1f} % |"
        )
    return lines
