"""Speed of HeartAgent on one core beside its references, in one run.

    pip install neurokit2 "ecg_plot<0.3" matplotlib    # the references
    python -m heartcare.studies.benchmark_agent --record WFDB_RECORD

Read and clean: ours (read_ecg and Optimizer: read, clean, resample to 100 Hz, quality of each lead, best window, lead
reversal) against wfdb.rdsamp, neurokit2.ecg_clean of each lead, neurokit2.ecg_quality (of each lead, as ours, or of
lead II alone) and scipy.signal.resample. Drawing: draw_ecg against ecg_plot, both at 1650 x 1275 before encoding, with
the PNG encoding in a row of its own.
"""

import argparse
import io
import logging
import os
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from heartcare.agent.qa import Labels, QuestionBuilder
from heartcare.agent.readers import read_ecg
from heartcare.agent.render import add_artefacts, draw_ecg, encode_png
from heartcare.agent.signal import Optimizer

SIZE = (1650, 1275)


def median_seconds(function: Callable[[], object], least: float = 2.0) -> float:
    """Returns the median seconds of a call, over at least three calls and `least` seconds; the first does not count."""
    function()
    times, started = [], time.perf_counter()
    while time.perf_counter() - started < least or len(times) < 3:
        before = time.perf_counter()
        function()
        times.append(time.perf_counter() - before)
    return float(np.median(times))


def reference_read(record: str, quality_of_each_lead: bool) -> np.ndarray:
    """Reads, cleans and resamples a record by the references: (samples at 100 Hz, leads)."""
    import neurokit2
    import scipy.signal
    import wfdb

    signal, fields = wfdb.rdsamp(record)
    cleaned = np.stack([neurokit2.ecg_clean(lead, sampling_rate=fields["fs"]) for lead in signal.T])
    for lead in cleaned if quality_of_each_lead else cleaned[1:2]:
        neurokit2.ecg_quality(lead, sampling_rate=fields["fs"])
    return scipy.signal.resample(cleaned, round(cleaned.shape[1] * 100 / fields["fs"]), axis=1)


def print_reference(name: str, reference: float, ours: float) -> None:
    """Prints the seconds of a reference, and the ratio to ours."""
    print(f"{f'reference: {name}':60} {1000 * reference:8.2f} ms   ours is {reference / ours:.1f} times as fast")


def reference_draw(signal: np.ndarray, rate: float) -> None:
    """Draws a record (12, samples) by ecg_plot."""
    import ecg_plot
    import matplotlib.pyplot as plt

    ecg_plot.plot(signal, sample_rate=rate, title="", columns=4)  # versions below 0.3 draw with matplotlib
    figure = plt.gcf()
    figure.set_size_inches(SIZE[0] / 150, SIZE[1] / 150)
    figure.set_dpi(150)
    figure.canvas.draw()
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", required=True, help="a WFDB record of 10 s and 12 leads")
    parser.add_argument("--skip-references", action="store_true")
    args = parser.parse_args(argv)
    warnings.filterwarnings("ignore")

    optimizer = Optimizer()
    record = read_ecg(args.record)
    optimized = optimizer(record)
    page = draw_ecg(optimized.signal, 100, "3x4+R", size=SIZE)
    rng = np.random.default_rng(0)
    builder = QuestionBuilder(rng)
    labels = Labels({"SR": 0.0, "IMI": 100.0, "LAFB": 100.0, "PVC": 0.0}, 63.0, "female")
    rows = {
        f"read and clean, {record.sampling_rate:g} Hz": median_seconds(lambda: optimizer(read_ecg(args.record))),
        "    of it: read": median_seconds(lambda: read_ecg(args.record)),
        f"draw {SIZE[0]}x{SIZE[1]}": median_seconds(lambda: draw_ecg(optimized.signal, 100, "3x4+R", size=SIZE)),
        f"draw {SIZE[0]}x{SIZE[1]}, from {record.sampling_rate:g} Hz": median_seconds(
            lambda: draw_ecg(record.signal, record.sampling_rate, "3x4+R", size=SIZE)
        ),
        "photo artefacts, strength 0.5": median_seconds(lambda: add_artefacts(page, 0.5, rng)),
        "encode PNG, palette": median_seconds(lambda: encode_png(page)),
        "encode PNG, true colour": median_seconds(lambda: page.save(io.BytesIO(), "PNG")),
        "questions of one record": median_seconds(lambda: builder.questions(labels)),
    }
    questions = len(builder.questions(labels))
    for name, value in rows.items():
        print(f"{name:44} {1000 * value:8.2f} ms {1 / value:9.1f} /s")
    print(f"{'questions and answers':44} {'':11} {questions / rows['questions of one record']:9.0f} /s")
    if args.skip_references:
        return
    import matplotlib

    matplotlib.use("Agg")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    ours = next(iter(rows.values()))
    for every_lead, words in ((True, "quality of each lead"), (False, "quality of lead II alone")):
        reference = median_seconds(lambda every_lead=every_lead: reference_read(args.record, every_lead))
        print_reference(f"read and clean, {words}", reference, ours)
    reference = median_seconds(lambda: reference_draw(record.signal, record.sampling_rate))
    ours = rows[f"draw {SIZE[0]}x{SIZE[1]}, from {record.sampling_rate:g} Hz"]
    print_reference("ecg_plot", reference, ours)


if __name__ == "__main__":
    main()
