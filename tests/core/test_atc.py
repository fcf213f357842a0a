"""AliveCor's ATC: files that are written here by the specification, sample by sample, and damaged ones."""

import zlib

import numpy as np
import pytest
from support.vendor_files import atc_block, atc_file, byte_sum

from heartcare.ecg_heartcare import LEADS
from heartcare.reading_heartcare import detect_format, read_ecg


@pytest.fixture
def counts() -> np.ndarray:
    """Returns values of twelve leads over the whole range of 16 bits, int16 (12, 1500)."""
    return np.random.default_rng(3).integers(-32768, 32768, (12, 1500)).astype(np.int16)


@pytest.mark.parametrize("leads", [LEADS[:1], LEADS[:6], LEADS])
@pytest.mark.parametrize("checksum", [byte_sum, zlib.crc32])
def test_leads_sample_by_sample(leads, checksum, counts, tmp_path):
    (tmp_path / "a.atc").write_bytes(content := atc_file(dict(zip(leads, counts)), flags=0b10110, checksum=checksum))
    record = read_ecg(tmp_path / "a.atc")
    np.testing.assert_array_equal(record.signal, (counts[: len(leads)] * 0.0005).astype(np.float32))
    assert (record.format, record.sampling_rate, record.lead_names) == ("atc", 300, leads)
    assert record.notes == ("filtered by the device: mains, baseline",) and record.warnings == ()
    assert record.name == "a" and detect_format(content).name == "atc"
    np.testing.assert_array_equal(read_ecg(content).signal, record.signal)
    assert not [word for word in ("UUID", "PHONE", "SN=") if word in repr({**vars(record), "source": ""})]


def test_leads_of_differing_length_and_other_rates(counts, tmp_path):
    rows = {"I": counts[0], "II": counts[1, :1200]}
    record = read_ecg(atc_file(rows, rate=600, step=250))
    np.testing.assert_array_equal(record.signal[1, :1200], (counts[1, :1200] * 0.00025).astype(np.float32))
    assert np.isnan(record.signal[1, 1200:]).all() and record.sampling_rate == 600
    assert record.notes == ("put NaN behind the end of shorter leads, which have 1200 to 1500 samples",)


GOOD = atc_file({"I": np.arange(1000, dtype=np.int16)})
DAMAGED = {
    "cut off in its samples": (GOOD[:1500], "claims 2000 bytes, more than there are"),
    "cut off in a head": (GOOD[:290], "ends within the head of a block"),
    "a changed sample": (GOOD[:900] + b"\xff" + GOOD[901:], "checksum of block b'ecg ' is wrong"),
    "a length of 4 GB": (GOOD[:16] + b"\xff" * 4 + GOOD[20:], "claims 4294967295 bytes"),
    "no lead": (atc_file({}), "without any lead"),
    "no format": (GOOD[:12] + GOOD[288 + 20 :], "without the block 'fmt '"),
    "no blocks": (GOOD[:12], "without the block 'fmt '"),
    "a lead twice": (GOOD + atc_block("ecg ", b"\0\0"), "is there twice"),
    "no step": (atc_file({"I": np.arange(9)}, step=0), "got kind 1, 0 nV"),
    "another kind": (atc_file({"I": np.arange(9)}, kind=2), "got kind 2"),
    "no rate": (atc_file({"I": np.arange(9)}, rate=0), "sampling rate of 0 Hz cannot be"),
    "no samples": (atc_file({"I": np.arange(0)}), "holds no samples"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused_by_name(name, tmp_path):
    content, message = DAMAGED[name]
    (tmp_path / "bad.atc").write_bytes(content)
    with pytest.raises(ValueError, match=f"bad.atc.*{message}"):
        read_ecg(tmp_path / "bad.atc")
