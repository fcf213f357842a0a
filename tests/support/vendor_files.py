# ruff: noqa: E501  (long lines are the files' own text)
"""Writers of vendors' files, after the formats' specifications: the same ECG, patient and findings in each of them.

The people's names, numbers and dates of `PEOPLE` are written wherever a format has a place for them.
"""

import base64
import binascii
import struct
import zlib

import numpy as np

from heartcare.configuration_heartcare import LEADS

FINDINGS = {
    "heart_rate": 72, "rr_interval": 833, "pr_interval": 160, "p_duration": 110, "qrs_duration": 94, "qt_interval": 400,
    "qtc": 421, "qtc_bazett": 438, "qtc_fridericia": 425, "p_axis": 50, "qrs_axis": -30, "t_axis": 40,
}  # fmt: skip
STATEMENTS = ("Sinus rhythm", "Possible inferior infarct")
PEOPLE = ("DOE", "JANE", "4711", "HOOT", "STRANGE", "BOLT", "19620403", "1962", "03-APR-1962", "04-03-1962")
SIGN_OFF = "Confirmed by STRANGE, STEPHEN (4711) on 02-JUN-2025"
SCP_CODES = [1, 2, 61, 62, 63, 64, *range(3, 9)]  # of LEADS; MFER's are the same


def as_counts(signal, scale=0.001):
    """Returns int counts of `scale` mV, which are uV by default."""
    return np.round(signal / scale).astype(int)


# ------------------------------------------------------------------------------------------------------------------ EDF
def write_edf(path, ecg, labels=LEADS, units="mV", onsets=None, other=None):
    """Writes one-second records of the leads in `units`.

    Args:
        onsets: Start of each record in seconds, for EDF+D with an annotation channel; EDF+C without.
        other: Label, unit and samples of one more signal, at whatever rate they have.
    """
    rate, seconds = ecg.sampling_rate, ecg.signal.shape[1] // ecg.sampling_rate
    scale = {"mV": 1.0, "uV": 1e3, "V": 1e-3}[units]
    signals = [(label, units, row * scale, 10 * scale, rate) for label, row in zip(labels, ecg.signal)]
    if other:
        signals.append((*other, 10 * scale, len(other[2]) // seconds))
    rows = [(digital(values, top), label, unit, top, size) for label, unit, values, top, size in signals]
    blocks = [values.reshape(seconds, size) for values, _, _, _, size in rows]
    if onsets is not None:
        marks = [
            f"+{onset}\x14\x14\0+{onset}\x14DOE JANE 4711 coughs\x14\0".encode().ljust(60, b"\0") for onset in onsets
        ]
        blocks.append(np.frombuffer(b"".join(marks), "<i2").reshape(seconds, 30))
        rows.append((None, "EDF Annotations", "", 1, 30))
    columns = (
        [f"{label:16}" for _, label, _, _, _ in rows], [f"{'':80}"] * len(rows), [f"{unit:8}" for _, _, unit, _, _ in rows],
        [f"{-top:<8g}" for *_, top, _ in rows], [f"{top:<8g}" for *_, top, _ in rows], [f"{'-32768':8}"] * len(rows),
        [f"{'32767':8}"] * len(rows), [f"{'':80}"] * len(rows), [f"{size:<8}" for *_, size in rows], [f"{'':32}"] * len(rows),
    )  # fmt: skip
    kind = "EDF+C" if onsets is None else "EDF+D"
    head = (
        f"{'0':8}{'4711 F 03-APR-1962 DOE_JANE':80}{'Startdate 01-JUN-2025 X BOLT STRANGE':80}{'01.06.25'}{'00.00.00'}"
        f"{256 * (len(rows) + 1):<8}"
        f"{kind:44}{seconds:<8}{'1':8}{len(rows):<4}"
    )
    text = head + "".join(field for column in columns for field in column)
    path.write_bytes(text.encode("latin-1") + np.hstack(blocks).astype("<i2").tobytes())


def digital(values, top):
    """Returns the int16 steps that stand for `values` from -top to top."""
    return np.round((values + top) / (2 * top) * 65535 - 32768).clip(-32768, 32767).astype("<i2")


def decode_edf(path):
    """Decodes an EDF file by the text of its specification alone -> label -> values in the file's own units."""
    content = path.read_bytes()
    count, records = int(content[252:256]), int(content[236:244])
    fields, place = [], 256
    for width in (16, 80, 8, 8, 8, 8, 8, 80, 8, 32):
        fields.append(
            [content[place + i * width : place + (i + 1) * width].decode("latin-1").strip() for i in range(count)]
        )
        place += width * count
    sizes, signals = [int(size) for size in fields[8]], {label: [] for label in fields[0]}
    for _ in range(records):
        for i, size in enumerate(sizes):
            raw = struct.unpack_from(f"<{size}h", content, place)
            low, high, first, last = (float(fields[k][i]) for k in (3, 4, 5, 6))
            signals[fields[0][i]] += [low + (value - first) * (high - low) / (last - first) for value in raw]
            place += 2 * size
    return {label: np.array(values) for label, values in signals.items()}


# ---------------------------------------------------------------------------------------------------------------- DICOM
DICOM_CODES = {  # name -> code, its scheme, its meaning and unit, as carts write them
    "heart_rate": ("2:16770", "MDC", "Ventricular Heart Rate", "{beats}/min"),
    "rr_interval": ("5.10.2.1-3", "SCPECG", "RR Interval", "ms"),
    "p_duration": ("2:16154", "MDC", "P Duration", "ms"),
    "pr_interval": ("5.13.5-7", "SCPECG", "PR Interval", "ms"),
    "qrs_duration": ("5.13.5-9", "SCPECG", "QRS Duration", "ms"),
    "qt_interval": ("5.13.5-11", "SCPECG", "QT Interval", "ms"),
    "qtc": ("5.10.2.5-5", "SCPECG", "QTc Interval", "ms"),
    "qtc_bazett": ("2:15880", "MDC", "QTc Bazett", "ms"),
    "qtc_fridericia": ("2:15892", "MDC", "QTc Fridericia", "ms"),
    "p_axis": ("5.10.3-11", "SCPECG", "P Axis", "deg"),
    "qrs_axis": ("5.10.3-13", "SCPECG", "QRS Axis", "deg"),
    "t_axis": ("5.10.3-15", "SCPECG", "T Axis", "deg"),
}
SYNTAXES = {"little": "1.2.840.10008.1.2.1", "implicit": "1.2.840.10008.1.2", "big": "1.2.840.10008.1.2.2",
            "deflated": "1.2.840.10008.1.2.1.99"}  # fmt: skip
SAMPLES = {8: ("i1", "SB"), 16: ("i2", "SS"), 32: ("i4", "SL")}


def write_dicom(path, ecg, findings=FINDINGS, groups=(LEADS,), syntax="little", bits=16, sensitivity=1.0, correction=1.0,
                baseline=0.0, unit="uV"):  # fmt: skip
    """Writes a General ECG of one or more multiplex groups, which follow one another if there are several.

    Samples are steps of sensitivity * correction in `unit`, from `baseline`.
    """
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.2"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    data.PatientName, data.PatientID, data.PatientSex, data.PatientAge = "DOE^JANE", "4711", "F", "063Y"
    data.PatientBirthDate, data.AcquisitionDateTime, data.Modality = "19620403", "20250601120000", "ECG"
    data.ReferringPhysicianName, data.PhysiciansOfRecord, data.OperatorsName = "HOOT^JOHN", "STRANGE", "BOLT^USAIN"
    length = ecg.signal.shape[1] // len(groups)
    data.WaveformSequence = []
    for number, names in enumerate(groups):
        kind, interpretation = SAMPLES[bits]
        part = ecg.signal[[LEADS.index(name) for name in names], number * length : (number + 1) * length]
        group = Dataset()
        group.WaveformOriginality, group.NumberOfWaveformChannels = "ORIGINAL", len(names)
        group.NumberOfWaveformSamples, group.SamplingFrequency = length, ecg.sampling_rate
        group.WaveformBitsAllocated, group.WaveformSampleInterpretation = bits, interpretation
        group.MultiplexGroupTimeOffset = str(1000 * number * length / ecg.sampling_rate)
        group.ChannelDefinitionSequence = [channel_of(name, sensitivity, correction, baseline, unit) for name in names]
        steps = np.round((part * {"uV": 1e3, "mV": 1.0}[unit] - baseline) / (sensitivity * correction))
        group.WaveformData = steps.astype((">" if syntax == "big" else "<") + kind).T.tobytes()
        data.WaveformSequence.append(group)
    data.WaveformAnnotationSequence = [
        *(annotation(*DICOM_CODES[name], value) for name, value in findings.items()),
        *(annotation(text=text) for text in (*STATEMENTS, SIGN_OFF)),
    ]
    little = syntax != "big"
    pydicom.dcmwrite(path, data, enforce_file_format=True, little_endian=little, implicit_vr=syntax == "implicit")


def code(value, scheme, meaning):
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def channel_of(name, sensitivity, correction, baseline, unit):
    from pydicom.dataset import Dataset

    channel = Dataset()
    channel.ChannelSourceSequence = [code(name, "99X", f"Lead {name}")]
    channel.ChannelSensitivityUnitsSequence = [code(unit, "UCUM", unit)]
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = sensitivity, correction
    channel.ChannelBaseline, channel.WaveformBitsStored, channel.ChannelSampleSkew = baseline, 16, "0"
    return channel


def annotation(number="", scheme="", meaning="", unit="", value=None, text=""):
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedWaveformChannels = [1, 0]
    if text:
        item.UnformattedTextValue = text
    else:
        item.ConceptNameCodeSequence = [code(number, scheme, meaning)]
        item.MeasurementUnitsCodeSequence, item.NumericValue = [code(unit, "UCUM", unit)], str(value)
    return item


# ----------------------------------------------------------------------------------------------------------------- aECG
AECG_CODES = {
    "heart_rate": ("MDC_ECG_HEART_RATE", "bpm"), "rr_interval": ("MDC_ECG_TIME_PD_RR", "ms"),
    "p_duration": ("MDC_ECG_TIME_PD_P", "ms"), "pr_interval": ("MDC_ECG_TIME_PD_PR", "ms"),
    "qrs_duration": ("MDC_ECG_TIME_PD_QRS", "ms"), "qt_interval": ("MDC_ECG_TIME_PD_QT", "ms"),
    "qtc": ("MDC_ECG_TIME_PD_QTc", "ms"), "qtc_bazett": ("MDC_ECG_TIME_PD_QTcB", "ms"),
    "qtc_fridericia": ("MDC_ECG_TIME_PD_QTcF", "ms"), "p_axis": ("MDC_ECG_ANGLE_P_FRONT", "deg"),
    "qrs_axis": ("MDC_ECG_ANGLE_QRS_FRONT", "deg"), "t_axis": ("MDC_ECG_ANGLE_T_FRONT", "deg"),
}  # fmt: skip
HL7 = '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'


def write_aecg(path, ecg, findings=FINDINGS, boundaries=None, increment=None):
    """Writes HL7 aECG.

    Args:
        boundaries: Wave -> its onset and offset in the representative beat, in ms.
        increment: Seconds from sample to sample, as text.
    """
    series = f'<code code="RHYTHM"/>{aecg_samples(ecg.signal, increment or 1 / ecg.sampling_rate)}'
    notes = "".join(aecg_note(*AECG_CODES[name], value) for name, value in findings.items())
    words = "".join(
        f'<component><annotation><code code="MDC_ECG_INTERPRETATION_STATEMENT"/><value xsi:type="ST">{text}</value></annotation>'
        f"</component>"
        for text in (*STATEMENTS, SIGN_OFF)
    )
    words = f'<component><annotation><code code="MDC_ECG_INTERPRETATION"/>{words}</annotation></component>'
    series += f"<subjectOf><annotationSet>{notes}{words}</annotationSet></subjectOf>"
    if boundaries:
        waves = "".join(
            f'<component><annotation><code code="MDC_ECG_WAVC"/><value xsi:type="CE" code="MDC_ECG_WAVC_{wave}WAVE"/><support>'
            f'<supportingROI><component><boundary><code code="TIME_RELATIVE"/><value xsi:type="IVL_PQ"><low value="{low}" '
            f'unit="ms"/><high value="{high}" unit="ms"/></value></boundary></component></supportingROI></support></annotation>'
            f"</component>"
            for wave, (low, high) in boundaries.items()
        )
        series += (
            '<derivation><derivedSeries><code code="REPRESENTATIVE_BEAT"/>'
            f"{aecg_samples(ecg.signal[:, :500], 1 / ecg.sampling_rate)}<subjectOf><annotationSet>{waves}</annotationSet></subjectOf>"
            "</derivedSeries></derivation>"
        )
    person = (
        "<componentOf><timepointEvent><performer><studyEventPerformer><assignedPerson><name>HOOT</name></assignedPerson>"
        '</studyEventPerformer></performer><componentOf><subjectAssignment><subject><trialSubject><id root="1.2" extension="4711"/>'
        "<subjectDemographicPerson><name><given>JANE</given><family>DOE</family></name>"
        '<administrativeGenderCode code="F"/><birthTime value="19620403"/></subjectDemographicPerson></trialSubject></subject>'
        "</subjectAssignment></componentOf></timepointEvent></componentOf>"
    )
    path.write_text(
        f'{HL7}<id root="1.2.3"/><effectiveTime><low value="20250601120000"/></effectiveTime>{person}'
        f"<component><series>{series}</series></component></AnnotatedECG>"
    )


def aecg_note(number, unit, value):
    return f'<component><annotation><code code="{number}"/><value xsi:type="PQ" value="{value}" unit="{unit}"/></annotation></component>'


def aecg_samples(signal, increment):
    sequences = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{name.upper()}"/><value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/>'
        f'<scale value="1" unit="uV"/><digits>{" ".join(map(str, as_counts(lead)))}</digits></value></sequence></component>'
        for name, lead in zip(LEADS, signal)
    )
    return (
        '<component><sequenceSet><component><sequence><code code="TIME_RELATIVE"/><value xsi:type="GLIST_PQ"><head value="0" '
        f'unit="s"/><increment value="{increment}" unit="s"/></value></sequence></component>{sequences}</sequenceSet></component>'
    )


# ----------------------------------------------------------------------------------------------------------------- MUSE
MUSE_TAGS = {
    "heart_rate": "VentricularRate", "pr_interval": "PRInterval", "qrs_duration": "QRSDuration", "qt_interval": "QTInterval",
    "qtc": "QTCorrected", "qtc_fridericia": "QTcFrederica", "p_axis": "PAxis", "qrs_axis": "RAxis", "t_axis": "TAxis",
}  # fmt: skip


def write_muse(path, ecg, findings=FINDINGS, confirmed=()):
    """Writes MUSE XML; `confirmed` are the statements that a physician put in the place of the device's."""
    data = "".join(
        f"<LeadData><LeadByteCountTotal>{2 * len(row)}</LeadByteCountTotal><LeadSampleCountTotal>{len(row)}</LeadSampleCountTotal>"
        f"<LeadAmplitudeUnitsPerBit>1.0</LeadAmplitudeUnitsPerBit><LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>"
        f"<LeadID>{name}</LeadID><LeadSampleSize>2</LeadSampleSize><LeadDataCRC32>{zlib.crc32(row.tobytes())}</LeadDataCRC32>"
        f"<WaveFormData>{base64.b64encode(row.tobytes()).decode()}</WaveFormData></LeadData>"
        for name, row in zip(LEADS, as_counts(ecg.signal).astype("<i2"))
        if name not in ("III", "aVR", "aVL", "aVF")
    )
    measured = "".join(f"<{tag}>{findings[name]}</{tag}>" for name, tag in MUSE_TAGS.items() if name in findings)
    rr = (
        f"<QRSTimesTypes><GlobalRR>{findings['rr_interval']}</GlobalRR></QRSTimesTypes>"
        if "rr_interval" in findings
        else ""
    )
    own = "".join(
        f"<DiagnosisStatement><StmtText>{text}</StmtText></DiagnosisStatement>" for text in (*STATEMENTS, SIGN_OFF)
    )
    last = "".join(f"<DiagnosisStatement><StmtText>{text}</StmtText></DiagnosisStatement>" for text in confirmed) or own
    overreader = "<OverreaderLastName>STRANGE</OverreaderLastName><Status>CONFIRMED</Status>" if confirmed else ""
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE RestingECG SYSTEM "restecg.dtd"><RestingECG><PatientDemographics>'
        "<PatientID>4711</PatientID><PatientAge>63</PatientAge><AgeUnits>YEARS</AgeUnits><DateofBirth>04-03-1962</DateofBirth>"
        "<Gender>FEMALE</Gender><PatientLastName>DOE</PatientLastName><PatientFirstName>JANE</PatientFirstName>"
        "</PatientDemographics><TestDemographics><ReferringMDLastName>HOOT</ReferringMDLastName>"
        f"<AcquisitionTechLastName>BOLT</AcquisitionTechLastName>{overreader}</TestDemographics>"
        f"<RestingECGMeasurements>{measured}</RestingECGMeasurements><Diagnosis>{last}</Diagnosis>"
        f"<OriginalDiagnosis>{own}</OriginalDiagnosis>{rr}<Waveform><WaveformType>Rhythm</WaveformType>"
        f"<NumberofLeads>8</NumberofLeads><SampleType>CONTINUOUS_SAMPLES</SampleType><SampleBase>{ecg.sampling_rate}</SampleBase>"
        f"<SampleExponent>0</SampleExponent>{data}</Waveform></RestingECG>"
    )


# --------------------------------------------------------------------------------------------------------------- Sierra
SIERRA_TAGS = {
    "heart_rate": "heartrate", "rr_interval": "rrint", "pr_interval": "print", "qrs_duration": "qrsdur", "qt_interval": "qtint",
    "qtc_bazett": "qtcb", "qtc_fridericia": "qtcf", "p_axis": "pfrontaxis", "qrs_axis": "qrsfrontaxis", "t_axis": "tfrontaxis",
}  # fmt: skip
SIERRA_103_TAGS = {"heart_rate": "meanventrate", "pr_interval": "meanprint", "qrs_duration": "meanqrsdur",
                   "qt_interval": "meanqtint", "qtc": "meanqtc"}  # fmt: skip


def write_sierra(path, ecg, findings=FINDINGS, version="1.04", compressed=False):
    """Writes Philips' Sierra XML, with XLI-compressed leads if asked for."""
    counts = as_counts(ecg.signal)
    content = compress_xli(counts) if compressed else counts.astype("<i2").tobytes()
    tags, place = (
        (SIERRA_TAGS, "globalmeasurements") if version == "1.04" else (SIERRA_103_TAGS, "interpretationmeasurements")
    )
    measured = "".join(f"<{tag}>{findings[name]}</{tag}>" for name, tag in tags.items() if name in findings)
    across = f"<pdur>{findings['p_duration']}</pdur>" if "p_duration" in findings and version == "1.04" else ""
    words = "".join(f"<statement><leftstatement>{text}</leftstatement></statement>" for text in (*STATEMENTS, SIGN_OFF))
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><restingecgdata xmlns="http://www3.medical.philips.com"><documentinfo><documenttype>'
        f"SierraECG</documenttype><documentversion>{version}</documentversion></documentinfo><patient><generalpatientdata>"
        "<patientid>4711</patientid><age><dateofbirth>1962-04-03</dateofbirth><years>63</years></age><sex>Female</sex><name>"
        "<lastname>DOE</lastname><firstname>JANE</firstname></name></generalpatientdata></patient><dataacquisition><acquirer>"
        '<operator id="BOLT">BOLT</operator><referringclinician>HOOT</referringclinician></acquirer><signalcharacteristics>'
        f"<samplingrate>{ecg.sampling_rate}</samplingrate><resolution>1</resolution></signalcharacteristics></dataacquisition>"
        f"<internalmeasurements><crossleadmeasurements>{across}</crossleadmeasurements></internalmeasurements><interpretations>"
        f"<interpretation><{place}>{measured}</{place}>{words}<mdsignatureline>{SIGN_OFF}</mdsignatureline></interpretation>"
        f'</interpretations><waveforms><parsedwaveforms dataencoding="Base64" numberofleads="12" leadlabels="{" ".join(LEADS)}"'
        f"{' compression=' + chr(34) + 'XLI' + chr(34) if compressed else ''} "
        f'durationperchannel="{1000 * counts.shape[1] // ecg.sampling_rate}">{base64.b64encode(content).decode()}'
        "</parsedwaveforms></waveforms></restingecgdata>"
    )


def compress_xli(counts):
    """Compresses (12, samples) as Philips does: limb leads as residuals, second differences, bytes in planes, LZW."""
    one, two = counts[0], counts[1]
    three = two - one
    residuals = [one, two, three - counts[2], -((one + two) // 2) - counts[3], (one - counts[2]) // 2 - counts[4],
                 (two + counts[2]) // 2 - counts[5], *counts[6:]]  # fmt: skip
    content = b""
    for row in residuals:
        error, planes = xli_planes(row)
        packed = lzw(planes)
        content += struct.pack("<iHh", len(packed), 0, error) + packed
    return content


def xli_planes(row):
    """Returns the first error and the bytes, the high ones before the low ones, of a row of samples.

    Each sample is predicted by a straight line through the two before it; code n - 1 is the error of sample n, plus 64.
    """
    errors = 2 * row[1:-1] - row[:-2] - row[2:]
    codes = np.concatenate([row[:2], errors[1:] + 64, [64]]).astype(">i2").view(np.uint8)
    return int(errors[0]), codes[0::2].tobytes() + codes[1::2].tobytes()


def lzw(content, bits=10):
    """Compresses bytes with codes of `bits`; the last code is the end."""
    strings, prefix, codes = {bytes([value]): value for value in range(256)}, b"", []
    for value in content:
        longer = prefix + bytes([value])
        if longer in strings:
            prefix = longer
            continue
        codes.append(strings[prefix])
        if len(strings) <= 2**bits - 2:
            strings[longer] = len(strings)
        prefix = bytes([value])
    codes += [strings[prefix], 2**bits - 1]
    text = "".join(f"{number:0{bits}b}" for number in codes)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


# ---------------------------------------------------------------------------------------------------------- ISHNE, MFER
def write_ishne(path, ecg, codes=tuple(range(5, 17))):
    """Writes an ISHNE Holter file: lead codes 5 to 16 are I to V6, 0 is an unknown lead; resolutions are in nV."""
    leads, samples = len(codes), ecg.signal.shape[1]
    head = bytearray(522)
    head[:8] = b"ISHNE1.0"
    struct.pack_into("<iiiih", head, 10, 0, samples, 522, 522, 1)
    struct.pack_into(
        "<40s40s20shh3h3h3h3h", head, 28, b"JANE", b"DOE", b"4711", 2, 1, 3, 4, 1962, 1, 6, 2025, 1, 6, 2025, 12, 0, 0
    )
    struct.pack_into("<h", head, 156, leads)
    struct.pack_into(f"<{leads}h", head, 158, *codes)
    struct.pack_into(f"<{leads}h", head, 206, *[1000] * leads)
    struct.pack_into("<h", head, 272, ecg.sampling_rate)
    head[274:280] = b"BOLT \0"
    path.write_bytes(bytes(head) + as_counts(ecg.signal[:leads]).astype("<i2").T.tobytes())


def write_mfer(path, ecg):
    """Writes an MFER file: little endian, steps of 1 uV, one block of all samples of each lead."""
    out = tag(0x40, b"MFR Standard 12 leads ECG".ljust(32)) + tag(0x01, b"\1") + tag(0x08, b"\1\0") + tag(0x0A, b"\0")
    out += tag(0x0B, struct.pack("<Bbi", 1, -6, 1_000_000 // ecg.sampling_rate))
    out += tag(0x0C, struct.pack("<Bbi", 0, -6, 1)) + tag(0x16, b"Dr. STRANGE saw DOE, JANE")
    out += (
        tag(0x81, b"DOE^^JANE")
        + tag(0x82, b"4711")
        + tag(0x83, struct.pack("<BHHBB", 63, 59, 1962, 4, 3))
        + tag(0x84, b"\2")
    )
    for number, value in ((0x04, ecg.signal.shape[1]), (0x05, len(LEADS)), (0x06, 1)):
        out += tag(number, struct.pack("<i", value))
    for i, lead in enumerate(SCP_CODES):
        attribute = tag(0x09, struct.pack("<h", lead))
        out += bytes([0x3F, i, len(attribute)]) + attribute
    data = as_counts(ecg.signal).astype("<i2").tobytes()
    path.write_bytes(out + b"\x1e\x84" + struct.pack(">I", len(data)) + data + b"\x80\0")


def tag(number, content):
    return bytes([number, len(content)]) + content


# -------------------------------------------------------------------------------------------------------------- SCP-ECG
def write_scp(path, ecg, findings=FINDINGS, tables="", difference=0, starts=None):
    """Writes an SCP-ECG record of sections 0, 1, 3, 6, 7, 8 and, if compressed, 2.

    Args:
        findings: Those of `FINDINGS` that section 7 can say: QTc after Bazett, and boundaries of waves for the intervals.
        tables: "default" for the standard's own Huffman table, "own" for one that the file brings, "" for none.
        difference: 1 or 2 for first or second differences.
        starts: First sample of each lead, from which 1,250 are written, for recordings like 3x4.
    """
    counts, samples = as_counts(ecg.signal), ecg.signal.shape[1]
    ranges = [(start, start + 1249) for start in starts] if starts else [(1, samples)] * len(LEADS)
    rows = [np.diff(row[a - 1 : b], n=0).astype(np.int64) for row, (a, b) in zip(counts, ranges)]
    for _ in range(difference):
        rows = [np.concatenate([row[:1], np.diff(row)]) for row in rows]
    if difference == 2:  # the standard leaves the first two samples as they are
        rows = [np.concatenate([row[a - 1 : a + 1], twice[2:]]) for row, (a, _), twice in zip(counts, ranges, rows)]
    data = [huffman(row) if tables else row.astype("<i2").tobytes() for row in rows]
    leads = bytes([12, (0 if starts else 4) + (12 << 3)])
    leads += b"".join(struct.pack("<IIB", *span, lead) for span, lead in zip(ranges, SCP_CODES))
    rhythm = struct.pack("<HHBB", 1000, 1_000_000 // ecg.sampling_rate, difference, 0)
    rhythm += struct.pack("<12H", *map(len, data)) + b"".join(data)
    parts = {1: scp_patient(), 3: leads, 6: rhythm, 7: scp_findings(findings), 8: scp_statements()}
    if tables:
        parts[2] = struct.pack("<H", 19999) if tables == "default" else huffman_table()
    parts = {number: section(number, parts[number]) for number in sorted(parts)}
    head, index = 16 + 12 * 10, 7 + 16 + 12 * 10
    pointers = struct.pack("<HII", 0, head, 7)
    for number in range(1, 12):
        size = len(parts.get(number, b""))
        pointers += struct.pack("<HII", number, size, index if size else 0)
        index += size
    body = section(0, pointers, b"SCPECG") + b"".join(parts.values())
    body = struct.pack("<I", 6 + len(body)) + body
    path.write_bytes(struct.pack("<H", binascii.crc_hqx(body, 0xFFFF)) + body)


def section(number, body, reserved=b""):
    content = struct.pack("<HIBB6s", number, 16 + len(body), 20, 20, reserved) + body
    return struct.pack("<H", binascii.crc_hqx(content, 0xFFFF)) + content


def scp_patient():
    fields = {
        0: b"DOE\0", 1: b"JANE\0", 2: b"4711\0", 4: struct.pack("<HB", 63, 1), 5: struct.pack("<HBB", 1962, 4, 3), 8: b"\2",
        20: b"HOOT\0", 21: b"STRANGE\0", 22: b"BOLT\0", 25: struct.pack("<HBB", 2025, 6, 1), 26: b"\14\0\0", 30: b"DOE is ill\0",
    }  # fmt: skip
    return b"".join(struct.pack("<BH", number, len(value)) + value for number, value in fields.items()) + b"\xff\0\0"


def scp_findings(findings):
    get = lambda name: findings.get(name, 29999)  # noqa: E731
    onset, qrs = 100, 100 + findings.get("pr_interval", 0)
    boundaries = (
        (onset, onset + findings["p_duration"], qrs, qrs + findings["qrs_duration"], qrs + findings["qt_interval"])
        if "qt_interval" in findings
        else (29999,) * 5
    )
    body = struct.pack("<BBHH", 1, 0, get("rr_interval"), 29999)
    body += struct.pack("<5H3h", *boundaries, get("p_axis"), get("qrs_axis"), get("t_axis"))
    formula, qtc = (1, get("qtc_bazett")) if "qtc_bazett" in findings else (0, get("qtc"))
    return body + struct.pack("<HHHHB", 0, get("heart_rate"), 29999, qtc, formula)


def scp_statements():
    texts = [text.encode() + b"\0" for text in (*STATEMENTS, SIGN_OFF)]
    head = b"\0" + struct.pack("<HBB3B", 2025, 6, 1, 12, 0, 0) + bytes([len(texts)])
    return head + b"".join(struct.pack("<BH", number, len(text)) + text for number, text in enumerate(texts, 1))


def huffman_codes():
    """Yields the standard's Huffman table: the code's bits, the bits that follow it, and its value."""
    yield "0", 0, 0
    for size in range(1, 9):
        yield "1" * size + "00", 0, size
        yield "1" * size + "01", 0, -size
    yield "1111111110", 8, 0
    yield "1111111111", 16, 0


def huffman(row):
    short = {value: bits for bits, following, value in huffman_codes() if not following}
    text = "".join(
        short[value] if value in short
        else "1111111110" + f"{value & 0xFF:08b}" if -128 <= value < 128
        else "1111111111" + f"{value & 0xFFFF:016b}"
        for value in row.tolist()
    )  # fmt: skip
    size = -(-len(text) // 16) * 2
    return int(text.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def huffman_table():
    rows = [
        struct.pack("<BBBhI", len(bits), len(bits) + following, 1, value, int(bits[::-1], 2))
        for bits, following, value in huffman_codes()
    ]
    return struct.pack("<HH", 1, len(rows)) + b"".join(rows)


ATC_BLOCKS = dict(zip(LEADS, ("ecg ", *(f"ecg{mark}" for mark in "23456789abc"))))


def byte_sum(content: bytes) -> int:
    """Returns the checksum of a block of an ATC file that recorders write."""
    return sum(content) % 2**32


def atc_block(identifier: str, data: bytes, checksum=byte_sum) -> bytes:
    """Returns one block of an ATC file."""
    content = identifier.encode() + struct.pack("<I", len(data)) + data
    return content + struct.pack("<I", checksum(content))


def atc_file(rows: dict[str, np.ndarray], rate=300, step=500, flags=0, checksum=byte_sum, kind=1) -> bytes:
    """Returns an ATC file of rows of int16, with words of the recorder about itself, its own beats and annotations."""
    info = b"2024-05-06T07:08:09.123+02:00".ljust(32, b"\0") + b"RECORDING-UUID".ljust(40, b"\0")
    info += b"PHONE".ljust(44, b"\0") + b"".join(text.ljust(32, b"\0") for text in (b"A", b"B", b"C"))
    info += b"SN=AC1L000000,BAT=80".ljust(52, b"\0")
    blocks = [("info", info), ("fmt ", struct.pack("<BHHBH", kind, rate, step, flags, 0))]
    blocks += [(ATC_BLOCKS[lead], row.astype("<i2").tobytes()) for lead, row in rows.items()]
    blocks += [("avg ", np.arange(450, dtype="<i2").tobytes()), ("ann ", struct.pack("<IIH", 300, 40, 1))]
    return b"ALIVE\0\0\0" + struct.pack("<I", 5) + b"".join(atc_block(*pair, checksum) for pair in blocks)
