"""The designs that the rate-distortion study compares are honest: each decodes from its codes alone the signal that it
restored, and each can be trained.
"""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from heartcare.studies.beat_study import all_leads, plot, table
from heartcare.studies.beat_variants import INDEPENDENT, VARIANTS


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_learn_and_invert_exactly(name, signals):
    torch.manual_seed(0)
    variant = VARIANTS[name]
    model = variant.build().train()
    x = signals[:, list(variant.leads)]
    n = model.config.segment_length
    output = model(x[..., :n], target_values=x[..., :n])
    output.loss.backward()
    gradients = [each.grad for each in model.parameters() if each.requires_grad]
    assert output.loss.isfinite() and all(each is not None and each.isfinite().all() for each in gradients)
    variant.optimizer(model).step()
    model.eval()
    with torch.no_grad():
        tokens, output = model.encode(x), model(x)
        # Straight-through estimates differ in the last digit.
        assert_close(
            model.decode_unchecked(tokens.codes, tokens.gain)[..., -1000:], output.reconstruction, atol=1e-4, rtol=1e-4
        )
    assert variant.bits(model) * 100 / model.config.samples_per_latent in (45, 90, 180, 360)
    codes = 2 ** (variant.bits(model) / tokens.codes.shape[1])
    assert tokens.codes.min() >= 0 and tokens.codes.max() < codes


def test_rates_are_what_the_groups_say():
    for name, variant in VARIANTS.items():
        rate = variant.bits(variant.build()) * 100 / variant.build().config.samples_per_latent
        assert (rate == 90) == (variant.group != "bits per second"), name


def test_eight_leads_are_all_twelve():
    """The limb leads of a real ECG follow from I and II, within the half microvolts of its rounding."""
    rng = np.random.default_rng(0)
    first, second = torch.from_numpy(rng.standard_normal((2, 4, 1, 50)).astype(np.float32))
    limb = [first, second, second - first, -(first + second) / 2, first - second / 2, second - first / 2]
    whole = torch.cat([*limb, torch.randn(4, 6, 50)], dim=1)
    assert_close(all_leads(whole[:, list(INDEPENDENT)], INDEPENDENT), whole)


def test_table_and_plot_show_every_row():
    row = dict(
        bits_per_second=90.0,
        prd=30.0,
        prd_median=28.0,
        rmse_uv=60.0,
        correlation=0.9,
        entropy=[8.5, 8.0],
        parameters=10**6,
        seconds_per_step=0.2,
    )
    found = {"base": row, "fsq": row | {"prd": 40.0}, "rate_360": row | {"bits_per_second": 360.0, "prd": 15.0}}
    assert table(found).count("\n") == 1 + 2 * 3 and "| 30.0 / 28.0 | 60 | 0.900 | 8.5 + 8.0 | 1.00 | 0.20 |" in table(
        found
    )
    assert plot(found).count("<circle") == 3 + 2 and VARIANTS["fsq"].words in plot(found)
