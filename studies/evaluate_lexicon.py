"""Measures the lexicon on PTB-XL's own pairs of report and SCP-ECG statements: precision and recall of each statement.

    python -m heartcare.studies.evaluate_lexicon --ptbxl PTBXL_FOLDER --folds 9

The truth is what PTB-XL lists at any likelihood. Its cardiologists often corrected the machine's report, so that
perfect reading of the text is
not perfect agreement: `P-sinistrocardiale` for example is left atrial enlargement, which PTB-XL lists in 9 % of such
    reports.
"""

import argparse
import ast
import csv
from pathlib import Path

from heartcare.agent.lexicon import find_statements
from heartcare.agent.statements import STATEMENTS


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True, help="folder with ptbxl_database.csv")
    parser.add_argument("--folds", type=int, nargs="+", default=[9])
    args = parser.parse_args(argv)

    with open(Path(args.ptbxl) / "ptbxl_database.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["strat_fold"]) in args.folds]
    pairs = [(set(find_statements(row["report"])), set(ast.literal_eval(row["scp_codes"]))) for row in rows]
    print(f"{len(rows)} reports\n{'statement':10} {'listed':>6} {'found':>6} {'precision':>9} {'recall':>7}")
    scores, hits, found_all, listed_all = [], 0, 0, 0
    for code in sorted(STATEMENTS, key=lambda code: -sum(code in listed for _, listed in pairs)):
        listed, found = sum(code in truth for _, truth in pairs), sum(code in said for said, _ in pairs)
        both = sum(code in said and code in truth for said, truth in pairs)
        hits, found_all, listed_all = hits + both, found_all + found, listed_all + listed
        if not listed:
            continue
        precision = f"{both / found:.3f}" if found else "-"
        scores.append(2 * both / (found + listed))
        print(f"{code:10} {listed:6} {found:6} {precision:>9} {both / listed:7.3f}")
    print(
        f"all        {listed_all:6} {found_all:6} {hits / found_all:9.3f} {hits / listed_all:7.3f}   micro F1 {2 * hits / (found_all + listed_all):.3f}"
    )
    print(f"mean F1 over the {len(scores)} listed statements {sum(scores) / len(scores):.3f}")


if __name__ == "__main__":
    main()
