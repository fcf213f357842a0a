"""Readers beyond those of the core, found by the entry points "heartcare.readers" (see setup.py), and labels.

path --heartcare.read_ecg--> ECG --add_statements--> ECG with SCP-ECG statements
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import IO

from ...ecg_heartcare import ECG
from ...reading_heartcare import read_ecg as read_unlabelled
from ..lexicon import find_statements
from ..statements import SNOMED


def read_ecg(file: str | Path | bytes | IO[bytes], **given) -> ECG:
    """Reads one recording with `heartcare.read_ecg`, whose arguments it takes, and adds its SCP-ECG statements.

    Raises: as `heartcare.read_ecg`.
    """
    return add_statements(read_unlabelled(file, **given))


def add_statements(ecg: ECG) -> ECG:
    """Adds SCP-ECG statements to an ECG without any, from its diagnosis codes (SNOMED CT), or else from its report."""
    if ecg.statements:
        return ecg
    codes = re.findall(r"\d{6,}", ecg.columns.get("dx", ""))
    if statements := {SNOMED[code]: 100.0 for code in codes if code in SNOMED}:
        return replace(ecg, statements=statements)
    if statements := find_statements(ecg.report) if ecg.report else {}:
        note = f"{len(statements)} statements from the report's text"
        return replace(ecg, statements=statements, notes=(*ecg.notes, note))
    return ecg


__all__ = ["ECG", "add_statements", "read_ecg"]
