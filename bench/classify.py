"""Classification of PTB-XL's statements from answer probabilities: macro AUC of its label sets, as the field scores
them (Strodthoff et al., 2021).
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ..agent.qa import VERIFY, ask
from ..agent.statements import (
    DIAGNOSIS,
    DIAGNOSTIC_CLASS,
    FORM,
    PTBXL_STATEMENTS,
    RHYTHM,
    SUPERCLASS,
    SUPERCLASS_OF,
)
from .items import Item
from .metrics.probability import macro_auc
from .metrics.statistics import interval, patient_draws

STTC_FORM = ("NDT", "NST_", "DIG", "LNGQT")  # PTB-XL counts these as form and as diagnosis
# PTB-XL's 23 subclasses of the diagnostic statements.
SUBCLASS = {
    "NORM": ("NORM",), "IMI": ("IMI", "ILMI", "IPLMI", "IPMI", "INJIN", "INJIL"), "AMI": ("ASMI", "AMI", "ALMI", "INJAS", "INJAL", "INJLA"),
    "LMI": ("LMI",), "PMI": ("PMI",), "STTC": ("NDT", "DIG", "LNGQT", "ANEUR", "EL"), "NST_": ("NST_",), "ISC_": ("ISC_",),
    "ISCA": ("ISCAL", "ISCAS", "ISCLA", "ISCAN"), "ISCI": ("ISCIN", "ISCIL"), "LAFB/LPFB": ("LAFB", "LPFB"), "IRBBB": ("IRBBB",),
    "ILBBB": ("ILBBB",), "CRBBB": ("CRBBB",), "CLBBB": ("CLBBB",), "_AVB": ("1AVB", "2AVB", "3AVB"), "IVCD": ("IVCD",), "WPW": ("WPW",),
    "LVH": ("LVH",), "RVH": ("RVH",), "SEHYP": ("SEHYP",), "LAO/LAE": ("LAO/LAE",), "RAO/RAE": ("RAO/RAE",),
}  # fmt: skip
SETS = {
    "super": tuple(SUPERCLASS),
    "sub": tuple(SUBCLASS),
    "diag": tuple(code for codes in DIAGNOSTIC_CLASS.values() for code in codes if code in PTBXL_STATEMENTS),
    "form": tuple(FORM),
    "rhythm": tuple(RHYTHM),
    "all": tuple(PTBXL_STATEMENTS),
}
# What a model is asked about each record, the superclasses first.
NAMES = [f"super:{name}" for name in SUPERCLASS] + list(PTBXL_STATEMENTS)
WORDING = {f"super:{name}": words for name, words in SUPERCLASS.items()} | PTBXL_STATEMENTS
QUESTIONS = {name: ask(VERIFY[0], WORDING[name]) for name in NAMES}
assert set(DIAGNOSIS) & set(PTBXL_STATEMENTS) | set(STTC_FORM) == set(SETS["diag"])


def truth(statements: Iterable[str]) -> np.ndarray:
    """The codes of a record -> bool (76,): its superclasses and statements, at any likelihood, in the order of `NAMES`."""
    codes = set(statements)
    classes = {f"super:{SUPERCLASS_OF[code]}" for code in codes if code in SUPERCLASS_OF}
    return np.array([name in codes or name in classes for name in NAMES])


def of_set(values: np.ndarray, name: str) -> np.ndarray:
    """(records, 76), truth or probabilities -> (records, classes of a set). A subclass is as likely as the likeliest of
    its statements.
    """
    place = {each: k for k, each in enumerate(NAMES)}
    if name == "super":
        return values[:, [place[f"super:{each}"] for each in SETS[name]]]
    if name == "sub":
        return np.stack([values[:, [place[code] for code in SUBCLASS[each]]].max(1) for each in SETS[name]], axis=1)
    return values[:, [place[code] for code in SETS[name]]]


def classification_table(
    items: Sequence[Item], probabilities: np.ndarray, seed: int = 0, draws: int = 1000
) -> dict[str, dict]:
    """Set -> "auc", macro over the classes that have a positive and a negative, "low" and "high" by bootstrap of
    patients, "classes", and "each", class -> its AUC.
    """
    labels = np.stack([truth(item.statements[0]) for item in items])
    weights = patient_draws([item.patients[0] for item in items], draws, seed)
    table = {}
    for name, classes in SETS.items():
        those, scores = of_set(labels, name), of_set(probabilities, name)
        kept = [k for k in range(len(classes)) if 0 < those[:, k].sum() < len(those)]
        if not kept:
            continue
        each = {classes[k]: float(macro_auc(those[:, [k]], scores[:, [k]])) for k in kept}
        low, high = interval(macro_auc(those[:, kept], scores[:, kept], weights))
        table[name] = {
            "auc": float(np.mean(list(each.values()))),
            "low": low,
            "high": high,
            "classes": len(kept),
            "each": each,
        }
    return table
