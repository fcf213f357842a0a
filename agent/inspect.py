"""Shows one file on the screen: its content, its quality, its measurements; and draws it."""

from pathlib import Path

from ..delineation_heartcare import find_r_peaks
from ..ecg_heartcare import LEADS
from ..measuring_heartcare import measure_ecg
from .readers import read_ecg
from .render import draw_ecg, page_header
from .signal import Optimizer
from .statements import STATEMENTS


def inspect_file(path: str, output: str | None = None) -> int:
    """Prints and draws one ECG. Returns 0; raises what `read_ecg` does."""
    record = read_ecg(path)
    optimized = Optimizer()(record)
    signal, rate = optimized.signal, optimized.sampling_rate
    length = f"{record.seconds:.2f} s at {record.sampling_rate:g} Hz"
    print(f"{path}: {record.format}, {len(record.lead_names)} leads, {length}")
    print(f"  leads        {' '.join(record.lead_names)}")
    print(f"  age, sex     {record.age if record.age is not None else 'not stated'}, {record.sex or 'not stated'}")
    if record.report:
        print(f"  report       {record.report}")
    for code, likelihood in record.statements.items():
        print(f"  statement    {code:8} {likelihood:3.0f} %  {STATEMENTS[code]}")
    for name, value in record.measurements.items():
        print(f"  file says    {name} {value:g}")
    measured = measure_ecg(signal, rate)
    words = ", ".join(f"{name} {value} {unit}" for name, value, unit in measured.as_rows())
    print(f"  measured     {len(find_r_peaks(signal, rate))} beats, {words}")
    print("  lead         missing      off    clipped  noise uV    hum uV  drift mV  faults")
    quality = optimized.quality
    for i, lead in enumerate(LEADS):
        shares = quality.missing[i], quality.off[i], quality.clipped[i]
        numbers = quality.noise[i], quality.hum[i], quality.drift[i]
        faults = ", ".join(quality.faults[i]) or "-"
        print("  {:10} {:8.1%} {:8.1%} {:10.1%} {:9.1f} {:9.1f} {:9.2f}  {}".format(lead, *shares, *numbers, faults))
    for title, notes in (("warning", optimized.ecg.warnings), ("changed", optimized.ecg.notes)):
        for note in notes:
            print(f"  {title:12} {note}")
    target = Path(output or Path("out") / f"{record.name}.png")
    target.parent.mkdir(parents=True, exist_ok=True)
    draw_ecg(
        signal, rate, header=page_header(record.age, record.sex, measured.heart_rate), lead_mask=optimized.lead_mask
    ).save(target)
    print(f"  drawn        {target}")
    return 0
