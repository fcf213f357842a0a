"""Makes the rows of the table of a folder: one for each ECG file, page picture, and window of a long recording."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agent.sources import printable, rejection
from ..configuration_heartcare import LEADS
from ..opinion_heartcare import STATED
from .files import Opened, open_file

if TYPE_CHECKING:
    from ..pipeline_heartcare import ECGInterpretationPipeline

HEAD = {
    "path": str,
    "format": str,
    "sampling_rate_hz": float,
    "seconds": float,
    "leads": str,
    "patient": str,  # a pseudonym
    "age_years": float,
    "sex": str,
    "device_report": str,
    "window_start_s": float,
    "window_seconds": float,
    "window_reason": str,
}
# Column -> name among the measurements.
NUMBERS = {
    "heart_rate_per_min": "heart_rate",
    "slowest_per_min": "slowest",
    "fastest_per_min": "fastest",
    **{f"{name}_ms": name for name in ("pr", "qrs", "qt", "qtc_bazett", "qtc_fridericia", "qtc_framingham")},
    **{f"{name}_degrees": name for name in ("p_axis", "qrs_axis", "t_axis")},
    **{f"{name}_mV": name for name in ("sokolow_lyon", "cornell", "limb_voltage", "chest_voltage")},
    **{f"{name}_ms": name for name in ("sdnn", "rmssd")},
    "beats_with_p_share": "p_share",
}
COUNTS = ("early_beats", "wide_beats", "pacing_spikes")
BY_LEAD = {"st": "mV", "st_slope": "mV_per_s", "r": "mV", "s": "mV"}
TAIL = {"statements": str, "report": str, "warnings": str, "error": str}
SEPARATOR = "; "


def columns_of(wordings: list[str]) -> dict[str, type]:
    """Returns name and type of each column: the file, the numbers, the probabilities of the statements, the words.

    Args:
        wordings: Words of the statements that the model finds.
    """
    return {
        **HEAD,
        **dict.fromkeys(NUMBERS, float),
        **dict.fromkeys(COUNTS, int),
        **{f"{name}_{lead}_{unit}": float for name, unit in BY_LEAD.items() for lead in LEADS},
        **{probability_of(words): float for words in wordings},
        **TAIL,
    }


def probability_of(words: str) -> str:
    """Returns the column with the probability of a statement."""
    return f"probability: {words}"


def rows_of(pipe: "ECGInterpretationPipeline", path: Path, name: str, stated: Mapping[str, Any]) -> list[dict]:
    """Reads a file, and returns its rows; columns without a value are left out. A file that cannot be read has one row
    with the error.

    Args:
        pipe: The pipeline.
        path: The file.
        name: Its name in the table.
        stated: Sampling rate, lead names and units for files that do not say them.
    """
    head = {"path": printable(name)}
    try:
        opened = open_file(path, dict(stated), {})
        reply = pipe(opened.part)
    except Exception as error:  # whatever is wrong with one file must not stop the others
        return [head | {"error": rejection(name, path, error)["reason"]}]
    head |= of_file(opened)
    windows = reply.get("windows") or [None]
    return [
        {key: value for key, value in (head | of_reply(reply, number, window)).items() if value is not None}
        for number, window in enumerate(windows)
    ]


def of_file(opened: Opened) -> dict[str, Any]:
    """Returns what a file says itself, without what identifies a person."""
    row: dict[str, Any] = {"format": opened.format}
    if (ecg := opened.ecg) is not None:
        row |= {
            "sampling_rate_hz": float(ecg.sampling_rate),
            "seconds": round(ecg.seconds, 3),
            "leads": " ".join(ecg.lead_names),
            "patient": ecg.patient_id,
            "age_years": None if ecg.age is None else float(ecg.age),
            "sex": ecg.sex,
            "device_report": ecg.report or None,
        }
    return row


def of_reply(reply: Mapping[str, Any], number: int, window: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns what the pipeline says of a file, or of one window of a long recording.

    Args:
        reply: The pipeline's reply.
        number: Number of the window, 0 for a whole recording.
        window: The window; None for a whole recording.
    """
    row: dict[str, Any] = {"report": reply["text"]}
    if window is not None:
        named = {"window_start_s": "start", "window_seconds": "seconds", "window_reason": "reason"}
        row |= {column: window[key] for column, key in named.items()}
    if reply["measurements"]:
        row |= of_measurements(reply["measurements"][number])
        warnings = list(reply["quality"][number]["warnings"])
    else:
        warnings = [page["reason"] for page in reply.get("pages", ())]
    row["warnings"] = SEPARATOR.join(warnings) or None
    if "findings" in reply:
        shares = reply["findings"][number]
        row |= {probability_of(words): share for words, share in shares.items()}
        row["statements"] = SEPARATOR.join(words for words, share in shares.items() if share >= STATED) or None
    return row


def of_measurements(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the columns of the measured numbers."""
    row = {column: measured[name] for column, name in NUMBERS.items()}
    if measured["heart_rate"] is not None:
        row |= {f"{kind}_beats": sum(beat[kind] for beat in measured["ectopic"]) for kind in ("early", "wide")}
    if measured["pacing_spikes"] is not None:
        row["pacing_spikes"] = len(measured["pacing_spikes"])
    for name, unit in BY_LEAD.items():
        row |= {f"{name}_{lead}_{unit}": value for lead, value in measured[name].items()}
    return row
