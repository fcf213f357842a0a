"""SCP-ECG statements (EN 1064) with PTB-XL's additions: their wording, superclasses and findings of other columns, and
the label sets that models of PTB-XL are trained on and scored by (Strodthoff et al., 2021).
"""

from collections.abc import Iterable

import numpy as np

from heartcare.scp_heartcare import DIAGNOSIS, DIAGNOSTIC_CLASS, FORM, RHYTHM, SUPERCLASS, SUPERCLASS_OF

STATEMENTS = RHYTHM | FORM | DIAGNOSIS
# PTB-XL names the site of every infarction. A report that names none ("acute MI", "NSTEMI") gives the statement "MI",
# the superclass without a site: any of PTB-XL's statements would claim a site that nobody stated.
PTBXL_STATEMENTS = {code: words for code, words in STATEMENTS.items() if code != "MI"}

# fmt: off
# SNOMED CT codes of the PhysioNet challenges 2020 and 2021 -> SCP-ECG.
SNOMED = {
    "426783006": "SR", "164889003": "AFIB", "427084000": "STACH", "426177001": "SBRAD", "427393009": "SARRH",
    "10370003": "PACE",
    "164890007": "AFLT", "426761007": "SVTAC", "67198005": "PSVT", "11157007": "BIGU", "251180001": "TRIGU",
    "164884008": "PVC",
    "427172004": "PVC", "17338001": "PVC", "284470004": "PAC", "63593006": "PAC", "429622005": "STD_",
    "164931005": "STE_",
    "164917005": "QWAVE", "164934002": "TAB_", "59931005": "INVT", "164947007": "LPR", "111975006": "LNGQT",
    "251146004": "LVOLT",
    "270492004": "1AVB", "195042002": "2AVB", "27885002": "3AVB", "713427006": "CRBBB", "59118001": "CRBBB",
    "713426002": "IRBBB",
    "733534002": "CLBBB", "164909002": "CLBBB", "251120003": "ILBBB", "445118002": "LAFB", "445211001": "LPFB",
    "698252002": "IVCD",
    "74390002": "WPW", "164873001": "LVH", "89792004": "RVH", "67741000119109": "LAO/LAE", "446358003": "RAO/RAE",
    "164861001": "ISC_", "425419005": "ISCIN", "425623009": "ISCLA", "426434006": "ISCAN", "428750005": "NST_",
    "164865005": "MI", "57054005": "MI", "164867002": "MI", "54329005": "AMI",
}

# PTB-XL's 23 subclasses of the diagnostic statements.
SUBCLASS = {
    "NORM": ("NORM",), "IMI": ("IMI", "ILMI", "IPLMI", "IPMI", "INJIN", "INJIL"),
    "AMI": ("ASMI", "AMI", "ALMI", "INJAS", "INJAL", "INJLA"), "LMI": ("LMI",), "PMI": ("PMI",),
    "STTC": ("NDT", "DIG", "LNGQT", "ANEUR", "EL"), "NST_": ("NST_",), "ISC_": ("ISC_",),
    "ISCA": ("ISCAL", "ISCAS", "ISCLA", "ISCAN"), "ISCI": ("ISCIN", "ISCIL"), "LAFB/LPFB": ("LAFB", "LPFB"),
    "IRBBB": ("IRBBB",), "ILBBB": ("ILBBB",), "CRBBB": ("CRBBB",), "CLBBB": ("CLBBB",), "_AVB": ("1AVB", "2AVB",
         "3AVB"),
    "IVCD": ("IVCD",), "WPW": ("WPW",), "LVH": ("LVH",), "RVH": ("RVH",), "SEHYP": ("SEHYP",), "LAO/LAE": ("LAO/LAE",),
    "RAO/RAE": ("RAO/RAE",),
}
# fmt: on
# The label sets of PTB-XL, name -> classes. NDT, NST_, DIG and LNGQT are form and diagnosis.
SETS = {
    "super": tuple(SUPERCLASS),
    "sub": tuple(SUBCLASS),
    "diag": tuple(code for codes in DIAGNOSTIC_CLASS.values() for code in codes if code in PTBXL_STATEMENTS),
    "form": tuple(FORM),
    "rhythm": tuple(RHYTHM),
    "all": tuple(PTBXL_STATEMENTS),
}
# The 76 labels of a record: first the superclasses ("super:MI"), then the statements.
NAMES = [f"super:{name}" for name in SUPERCLASS] + list(PTBXL_STATEMENTS)
WORDING = {f"super:{name}": words for name, words in SUPERCLASS.items()} | PTBXL_STATEMENTS


def truth(statements: Iterable[str]) -> np.ndarray:
    """Returns the labels of a record with these codes, at any likelihood: bool (76,), in the order of `NAMES`."""
    codes = set(statements)
    classes = {f"super:{SUPERCLASS_OF[code]}" for code in codes if code in SUPERCLASS_OF}
    return np.array([name in codes or name in classes for name in NAMES])


def select_set(values: np.ndarray, name: str) -> np.ndarray:
    """Returns the columns of one label set: (records, 76), truth or probabilities -> (records, classes of the set).

    The value of a subclass is the largest of its statements.
    """
    column = {label: k for k, label in enumerate(NAMES)}
    if name == "super":
        return values[:, [column[f"super:{superclass}"] for superclass in SETS[name]]]
    if name == "sub":
        return np.stack([values[:, [column[code] for code in SUBCLASS[sub]]].max(1) for sub in SETS[name]], axis=1)
    return values[:, [column[code] for code in SETS[name]]]
