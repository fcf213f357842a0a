# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The statements of SCP-ECG (EN 1064) with PTB-XL's additions, as a reader says them, and the topics they belong to.

Questions, findings and opinions name statements by the codes of these tables.
"""

# fmt: off
RHYTHM = {
    "SR": "sinus rhythm", "AFIB": "atrial fibrillation", "STACH": "sinus tachycardia", "SARRH": "sinus arrhythmia",
    "SBRAD": "sinus bradycardia", "PACE": "a functioning artificial pacemaker", "SVARR": "supraventricular arrhythmia",
    "BIGU": "bigeminy", "AFLT": "atrial flutter", "SVTAC": "supraventricular tachycardia",
    "PSVT": "paroxysmal supraventricular tachycardia", "TRIGU": "trigeminy",
}
FORM = {
    "ABQRS": "an abnormal QRS", "PVC": "ventricular premature complexes", "STD_": "ST depression",
    "VCLVH": "voltage criteria for left ventricular hypertrophy",
    "QWAVE": "Q waves", "LOWT": "low amplitude T waves", "NT_": "non-specific T wave changes",
    "PAC": "atrial premature complexes",
    "LPR": "a prolonged PR interval", "INVT": "inverted T waves", "LVOLT": "low QRS voltages",
    "HVOLT": "high QRS voltage",
    "TAB_": "T wave abnormality", "STE_": "ST elevation", "PRC(S)": "premature complexes",
    "NDT": "non-diagnostic T abnormalities",
    "NST_": "non-specific ST changes", "DIG": "digitalis effect", "LNGQT": "a long QT interval",
}
DIAGNOSIS = {
    "NORM": "a normal ECG", "IMI": "inferior myocardial infarction", "ASMI": "anteroseptal myocardial infarction",
    "LVH": "left ventricular hypertrophy",
    "LAFB": "left anterior fascicular block", "ISC_": "non-specific ischemia",
    "IRBBB": "incomplete right bundle branch block",
    "1AVB": "first degree AV block", "IVCD": "non-specific intraventricular conduction delay",
    "ISCAL": "anterolateral ischemia",
    "CRBBB": "complete right bundle branch block", "CLBBB": "complete left bundle branch block",
    "ILMI": "inferolateral myocardial infarction",
    "LAO/LAE": "left atrial enlargement", "AMI": "anterior myocardial infarction",
    "ALMI": "anterolateral myocardial infarction",
    "ISCIN": "inferior ischemia",
    "INJAS": "anteroseptal subendocardial injury", "LMI": "lateral myocardial infarction",
    "ISCIL": "inferolateral ischemia",
    "LPFB": "left posterior fascicular block", "ISCAS": "anteroseptal ischemia",
    "INJAL": "anterolateral subendocardial injury",
    "ISCLA": "lateral ischemia", "RVH": "right ventricular hypertrophy",
    "ANEUR": "ST-T changes of a ventricular aneurysm",
    "RAO/RAE": "right atrial enlargement", "EL": "electrolytic or drug effect", "WPW": "Wolff-Parkinson-White syndrome",
    "ILBBB": "incomplete left bundle branch block", "IPLMI": "inferoposterolateral myocardial infarction",
    "ISCAN": "anterior ischemia",
    "IPMI": "inferoposterior myocardial infarction", "SEHYP": "septal hypertrophy",
    "INJIN": "inferior subendocardial injury",
    "INJLA": "lateral subendocardial injury", "PMI": "posterior myocardial infarction", "3AVB": "third degree AV block",
    "INJIL": "inferolateral subendocardial injury", "2AVB": "second degree AV block",
    "MI": "myocardial infarction",
}
SUPERCLASS = {
    "NORM": "a normal ECG", "MI": "myocardial infarction", "STTC": "ST or T wave changes",
    "CD": "a conduction disturbance",
    "HYP": "hypertrophy",
}
DIAGNOSTIC_CLASS = {
    "NORM": ("NORM",),
    "MI": ("IMI", "ASMI", "ILMI", "AMI", "ALMI", "INJAS", "LMI", "INJAL", "IPLMI", "IPMI", "INJIN", "INJLA", "PMI",
         "INJIL", "MI"),
    "STTC": ("NDT", "NST_", "DIG", "LNGQT", "ISC_", "ISCAL", "ISCIN", "ISCIL", "ISCAS", "ISCLA", "ANEUR", "EL",
         "ISCAN"),
    "CD": ("LAFB", "IRBBB", "1AVB", "IVCD", "CRBBB", "CLBBB", "LPFB", "WPW", "ILBBB", "3AVB", "2AVB"),
    "HYP": ("LVH", "LAO/LAE", "RVH", "RAO/RAE", "SEHYP"),
}
SUPERCLASS_OF = {code: name for name, codes in DIAGNOSTIC_CLASS.items() for code in codes}
# fmt: on
AXIS = {
    "MID": "a normal axis",
    "LAD": "left axis deviation",
    "ALAD": "extreme left axis deviation",
    "RAD": "right axis deviation",
    "ARAD": "extreme right axis deviation",
    "AXL": "a borderline left axis",
    "AXR": "a vertical axis",
    "SAG": "a sagittal axis",
}
STAGE = {
    "Stadium I": "stage I (acute)",
    "Stadium I-II": "stage I to II",
    "Stadium II": "stage II (subacute)",
    "Stadium II-III": "stage II to III",
    "Stadium III": "stage III (old)",
    "unknown": "of unknown stage",
}
NOISE = {
    "static_noise": "static noise", "burst_noise": "burst noise", "baseline_drift": "baseline drift",
    "electrodes_problems": "a problem with an electrode",
}  # fmt: skip
ECTOPY = {
    "SVES": "supraventricular extrasystoles",
    "VES": "ventricular extrasystoles",
    "ES": "extrasystoles of unstated origin",
    "SVES+VES": "supraventricular and ventricular extrasystoles",
}
NORMAL = {
    "diagnosis": ("NORM", DIAGNOSIS["NORM"]), "waveform": ("no-form", "no abnormality of the waveform"),
    "noise": ("no-noise", "no noise worth noting"), "ectopy": ("no-ectopy", "no extrasystoles"),
}  # fmt: skip
# The topics of questions, with the words of each answer.
TOPICS = {
    "rhythm": RHYTHM,
    "waveform": FORM | dict([NORMAL["waveform"]]),
    "diagnosis": DIAGNOSIS,
    "axis": AXIS,
    "stage": STAGE,
    "noise": NOISE | dict([NORMAL["noise"]]),
    "ectopy": ECTOPY | dict([NORMAL["ectopy"]]),
}

__all__ = [
    "AXIS",
    "DIAGNOSIS",
    "DIAGNOSTIC_CLASS",
    "FORM",
    "NOISE",
    "NORMAL",
    "RHYTHM",
    "STAGE",
    "SUPERCLASS",
    "SUPERCLASS_OF",
    "TOPICS",
]
