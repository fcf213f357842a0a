"""Checks the pipeline's own reports against the measurements of their ECGs.

    python -m heartcare.studies.check_reports --ptbxl PTBXL_FOLDER --model . --fold 9 --limit 500

Prints the number of ECGs that are refused, and a Markdown table of the claims in the reports. Its rows are the numbers
on which claims rest, for claims with a number and for claims in words; its columns count those that are verified,
contradicted and unmeasurable.
"""

from collections import Counter

from tqdm import tqdm

from heartcare.agent.sources import read_ptbxl_table

from .loading import load_pipeline, ptbxl_parser

VERDICTS = ("verified", "contradicted", "unmeasurable")


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = ptbxl_parser(__doc__)
    args = parser.parse_args(argv)
    pipe = load_pipeline(args.model)
    counts: Counter[tuple[str, bool, str]] = Counter()
    rows = read_ptbxl_table(args.ptbxl, [args.fold], args.limit)
    refused = []
    for row in tqdm(rows, desc="reports"):
        reply = pipe(str(args.ptbxl / row["filename_lr"]))
        if any(quality["not_an_ecg"] for quality in reply["quality"]):
            refused.append(row["ecg_id"])
        for check in reply.get("checks", ()):
            counts[check["quantity"].partition(":")[0], check["stated"] is not None, check["verdict"]] += 1
    print(f"\n{len(rows)} reports, {len(refused)} refused {refused}\n")
    print(f"| rests on | claim | {' | '.join(VERDICTS)} |\n|---|---|{'---|' * len(VERDICTS)}")
    kinds = sorted({key[:2] for key in counts})
    for quantity, stated in kinds:
        cells = " | ".join(str(counts[quantity, stated, verdict]) for verdict in VERDICTS)
        print(f"| {quantity} | {'a number' if stated else 'words'} | {cells} |")
    for words, wanted in (("a number", True), ("words", False)):
        sums = [
            sum(counts[each, wanted, verdict] for each, stated in kinds if stated == wanted) for verdict in VERDICTS
        ]
        print(f"| all | {words} | {' | '.join(map(str, sums))} |")


if __name__ == "__main__":
    main()
