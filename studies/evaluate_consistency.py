"""Counts how often the pipeline contradicts itself: report, open questions, yes or no, options and later turns.

    python -m heartcare.studies.evaluate_consistency --ptbxl PTBXL_FOLDER --model . --fold 9 --limit 100

Prints a Markdown table: for each kind of contradiction, the number of records in which it is found. Only texts are
compared: the statements of a report are those that HeartAgent's lexicon finds in it.
"""

from collections import Counter

from tqdm import tqdm

from heartcare.agent.sources import read_ptbxl_table
from heartcare.bench.contradictions import KINDS, answers_about, contradictions, questions_about

from .loading import load_pipeline, ptbxl_parser


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = ptbxl_parser(__doc__)
    parser.set_defaults(limit=100)
    parser.add_argument("--skip", type=int, default=0, help="number of the fold's first records that are left out")
    parser.add_argument("--show", action="store_true", help="print the contradictions")
    args = parser.parse_args(argv)
    pipe = load_pipeline(args.model)
    questions, counts = questions_about(pipe.model.config.wordings), Counter()
    affirmed, rows = [], read_ptbxl_table(args.ptbxl, [args.fold], args.skip + args.limit)[args.skip :]
    for row in tqdm(rows, desc="records"):
        report, answers, closed, second = answers_about(pipe, str(args.ptbxl / row["filename_lr"]), questions)
        found = contradictions(report, answers, closed, second)
        counts.update(found)
        counts["any"] += bool(found)
        affirmed.append(sum(a.startswith("Yes") for code, a in answers.items() if ":" not in code and " " not in code))
        if args.show and found:
            print(f"{row['ecg_id']}: {', '.join(sorted(found))}\n    {report}\n    {closed} / {second}")
    print(f"| contradiction | of {len(rows)} records |\n|---|---|")
    for kind, words in (KINDS | {"any": "any of these"}).items():
        print(f"| {words} | {counts[kind]} |")
    print(f"\n{sum(affirmed) / max(1, len(affirmed)):.2f} statements are affirmed per record.")


if __name__ == "__main__":
    main()
