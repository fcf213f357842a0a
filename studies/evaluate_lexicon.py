"""Measures the lexicon on PTB-XL's own pairs of report and SCP-ECG statements: precision and recall of each statement.

    python -m heartcare.studies.evaluate_lexicon --ptbxl PTBXL_FOLDER --folds 9

The truth is what PTB-XL lists at any likelihood. Its cardiologists often corrected the machine's report, so that even
perfect reading of the text would not agree with the list in all reports: `P-sinistrocardiale`, for example, is left
atrial enlargement, which PTB-XL lists for 9 % of such reports.
"""

import argparse
import ast

from heartcare.agent.lexicon import find_statements
from heartcare.agent.sources import read_ptbxl_table
from heartcare.agent.statements import STATEMENTS


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True, help="folder with ptbxl_database.csv")
    parser.add_argument("--folds", type=int, nargs="+", default=[9])
    args = parser.parse_args(argv)

    rows = read_ptbxl_table(args.ptbxl, args.folds)
    pairs = [(set(find_statements(row["report"])), set(ast.literal_eval(row["scp_codes"]))) for row in rows]
    print(f"{len(rows)} reports\n{'statement':10} {'listed':>6} {'found':>6} {'precision':>9} {'recall':>7}")
    scores, all_hits, all_predicted, all_listed = [], 0, 0, 0
    for code in sorted(STATEMENTS, key=lambda code: -sum(code in listed for _, listed in pairs)):
        listed, predicted = sum(code in truth for _, truth in pairs), sum(code in output for output, _ in pairs)
        hits = sum(code in output and code in truth for output, truth in pairs)
        all_hits, all_predicted, all_listed = all_hits + hits, all_predicted + predicted, all_listed + listed
        if not listed:
            continue
        precision = f"{hits / predicted:.3f}" if predicted else "-"
        scores.append(2 * hits / (predicted + listed))
        print(f"{code:10} {listed:6} {predicted:6} {precision:>9} {hits / listed:7.3f}")
    precision, recall = all_hits / all_predicted, all_hits / all_listed
    f1 = 2 * all_hits / (all_predicted + all_listed)
    print(f"all        {all_listed:6} {all_predicted:6} {precision:9.3f} {recall:7.3f}   micro F1 {f1:.3f}")
    print(f"mean F1 over the {len(scores)} listed statements {sum(scores) / len(scores):.3f}")


if __name__ == "__main__":
    main()
