"""Makes the words, tables and bars of the Space, as HTML: quality, measurements, probabilities, checks, changes."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from heartcare.agent.signal import OptimizedECG
from heartcare.answering_heartcare import CHANGES
from heartcare.claims_heartcare import verify_claims
from heartcare.configuration_heartcare import LEADS
from heartcare.measuring_heartcare import MEASURED, Measurements

# Name of a fault or warning -> its plain words. The reader's and the processor's other names are words already.
WORDS = {
    "absent": "not recorded",
    "amplitude_implausible": "implausibly high or low voltage",
    "baseline": "wandering baseline",
    "flat": "flat line",
    "flat_partly": "flat for a part of the time",
    "gap": "gaps",
    "gap_bridged": "short gaps, which were bridged",
    "lead_off": "electrode off",
    "limb_leads_disagree": "the limb leads contradict each other",
    "limb_leads_reversed": "electrodes of the limbs may be exchanged",
    "missing": "parts are missing",
    "saturated": "clipped at the recorder's limit",
    "units_assumed_mV": "the file names no unit, so its values were taken for mV",
}


def words_of(warnings: Iterable[str]) -> list[str]:
    """Returns warnings such as "baseline:V3" in plain words, with the leads of each kind together: "Wandering baseline
    (V3)".
    """
    leads: dict[str, list[str]] = {}
    for warning in warnings:
        name, _, lead = warning.partition(":")
        leads.setdefault(WORDS.get(name, name.replace("_", " ")), []).extend([lead] if lead else [])
    shown = [f"{words} ({', '.join(names)})" if names else words for words, names in leads.items()]
    return [f"{words[:1].upper()}{words[1:]}" for words in shown]


def share_words(share: float) -> str:
    """Returns a probability in whole per cent, but never as certainty, which no reading of an ECG has."""
    return "< 1 %" if share < 0.01 else "> 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def problem(error: object, title: str = "This cannot be read.") -> str:
    """Returns an error as a box, which screen readers read out at once."""
    return f"<div class='problem' role='alert'><strong>{title}</strong> {html.escape(str(error))}</div>"


def table(head: Sequence[str], rows: Iterable[str]) -> str:
    """Returns a table of finished rows, which scrolls sideways where it is wider than the page."""
    titles = "".join(f"<th scope='col'>{title}</th>" for title in head)
    thead = f"<thead><tr>{titles}</tr></thead>" if head else ""
    return f"<div class='scroll'><table class='ecg'>{thead}<tbody>{''.join(rows)}</tbody></table></div>"


def quality_table(optimized: OptimizedECG) -> str:
    """Returns a list of the warnings, and a table of the quality of each lead."""
    quality, rows = optimized.quality, []
    for i, lead in enumerate(LEADS):
        is_there = optimized.lead_mask[i].any()
        faults = ", ".join(words_of(quality.faults[i])).lower() or "good" if is_there else WORDS["absent"]
        numbers = (quality.noise[i], 0, "µV"), (quality.hum[i], 0, "µV"), (quality.drift[i], 2, "mV")
        shown = [
            f"{value:.{digits}f}\N{NO-BREAK SPACE}{unit}" if np.isfinite(value) else "–"
            for value, digits, unit in numbers
        ]
        cells = "".join(f"<td class='number'>{number}</td>" for number in shown)
        kind = "good" if faults == "good" else "bad"
        rows.append(f"<tr><th scope='row'>{lead}</th>{cells}<td class='{kind}'>{html.escape(faults)}</td></tr>")
    notes = "".join(f"<li>{html.escape(words)}.</li>" for words in words_of(optimized.ecg.warnings))
    return (f"<ul>{notes}</ul>" if notes else "") + table(("Lead", "Noise", "Hum", "Drift", "Quality"), rows)


def measurements(measured: dict) -> str:
    """Returns measurements as boxes, one for each.

    Args:
        measured: The measurements as plain values.
    """
    shown = "".join(
        f"<div><span>{name[0].upper()}{name[1:]}</span><b>{value}{f'<small> {unit}</small>' * (value != '–')}</b></div>"
        for name, value, unit in Measurements(**measured).as_rows()
    )
    return f"<div class='numbers'>{shown}</div>"


def changes(first: dict, second: dict) -> str:
    """Returns a table of the change of each measurement from one ECG to another. Changes beyond the error of measuring
    are in bold.
    """
    rows = []
    for attribute, before, after in zip(MEASURED, *(Measurements(**each).as_rows() for each in (first, second))):
        (name, old, unit), new, change = before, after[1], ""
        if "–" not in (old, new):
            digits, step = 2 if unit == "mV" else 0, second[attribute] - first[attribute]
            if unit == "degrees":
                step = (step + 180) % 360 - 180
            change = f"{step:+.{digits}f}"
            if abs(step) >= CHANGES.get(attribute, np.inf):
                change = f"<b>{change}</b>"
        values = f"{old} → {new}\N{NO-BREAK SPACE}{unit}"
        title = f"{name[0].upper()}{name[1:]}"
        rows.append(
            f"<tr><th scope='row'>{title}</th><td class='number'>{values}</td><td class='number'>{change}</td></tr>"
        )
    return table(("Measured", "First → second", "Change"), rows)


def shares_table(shares: Mapping[str, float]) -> str:
    """Returns probabilities as bars, in the order that they are given."""
    rows = [
        f"<tr><th scope='row'>{html.escape(words)}</th>"
        f"<td class='share'><span style='width:{100 * share:.1f}%'></span></td>"
        f"<td class='number'>{html.escape(share_words(share)).replace(' ', '&nbsp;')}</td></tr>"
        for words, share in shares.items()
    ]
    return table((), rows)


def checks(measured: dict[str, Any], text: str) -> str:
    """Returns the claims in an answer as a list, each with its verdict by the measurements; "" without claims."""
    marks = {"verified": "✓", "contradicted": "✗", "unmeasurable": "–"}
    rows = [
        f"<li class='{claim.verdict}'>{marks[claim.verdict]} {html.escape(claim.text)}: {claim.verdict}"
        f"{'' if claim.measured is None else f', measured {claim.measured:g} {claim.unit}'} "
        f"({html.escape(claim.reason)})</li>"
        for claim in (verify_claims(text, measured) if measured else ())
    ]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""
