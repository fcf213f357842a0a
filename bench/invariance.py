"""The invariance report: it asks about the same records at other rates, with fewer leads, as pictures of every layout
and scale, and as photographs, and counts how often the answer changes. An answer that turns with the paper speed is no
finding.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .items import Item, read_items
from .metrics.closed import read_choice
from .metrics.probability import agreement
from .models import ModelSpec
from .run import Settings, collect, describe_run, write_json
from .variants import BASE, VARIANTS
from .worker import Batch

HEAD = ("the same records", "answer changed", "kappa", "accuracy", "no single option")  # columns of the report's table


def invariance(
    spec: ModelSpec,
    data: str | Path,
    out: str | Path,
    manifest: dict,
    settings: Settings,
    workers: int = 1,
) -> dict:
    """Asks the closed questions about signals in every variant, or goes on with it; arguments as
    `heartcare.bench.run.run`.

    Returns: the content of NAME.invariance.json: "rows", variant -> "changed", the share of questions whose answer is
        not the one about the signal as recorded (another choice, or none where there was one); "kappa", their agreement
        beyond chance; "accuracy"; "invalid".
    """
    out, head = Path(out), describe_run(spec, manifest, settings)
    items = read_items(data, manifest, ("S",), ("closed-qa",), settings.limit)
    file = f"{head['model']['name'].replace('/', '--')}.invariance"
    batches = variant_batches(items, settings.batch_size)
    rows = collect(batches, out / f"{file}.answers.jsonl", head, spec, settings, workers)
    # Options are compared by their text, since two questions have the same index for different options.
    choices: dict[str, list[str | None]] = {}
    for name in VARIANTS:
        places = [read_choice(rows[name][item.id].text, item.options).index for item in items]
        choices[name] = [None if place is None else item.options[place] for place, item in zip(places, items)]
    table = {}
    for name, chosen in choices.items():
        agreed = agreement(choices[BASE], chosen)
        table[name] = {
            "changed": round(1 - agreed["agreement"], 6),
            "kappa": round(agreed["kappa"], 6),
            "accuracy": round(float(np.mean([choice == item.right for choice, item in zip(chosen, items)])), 6),
            "invalid": round(chosen.count(None) / len(chosen), 6),
        }
    result = head | {"questions": len(items), "rows": table}
    write_json(out / f"{file}.json", result)
    return result


def variant_batches(items: list[Item], batch_size: int) -> Iterator[Batch]:
    """Yields the same items in every variant; the variant is the row of their batches."""
    for row in VARIANTS:
        for number, start in enumerate(range(0, len(items), batch_size)):
            part = items[start : start + batch_size]
            yield Batch(row, number, part, [None] * len(part))


def table_lines(result: dict) -> list[str]:
    """Returns the report as a Markdown table."""
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    return lines + [f"| {' | '.join(cells)} |" for cells in table_cells(result)]


def table_cells(result: dict) -> list[list[str]]:
    """Returns the cells of each line of the report, below those of `HEAD`."""
    return [
        [
            name,
            f"{100 * row['changed']:.1f} %",
            f"{row['kappa']:.2f}",
            f"{row['accuracy']:.3f}",
            f"{100 * row['invalid']:.1f} %",
        ]
        for name, row in result["rows"].items()
    ]
