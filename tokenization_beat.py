# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Beat: Bidirectional ECG Abstract Tokenization (paper section 3.2).

    ECG (12 leads, mV) -> gain -> segments -> patches -> encoder with latent queries -> residual VQ -> codes
                                                                                                        |
    ECG (12 leads, mV) <- gain <- segments <- patches <- decoder over masked slots <--------------------+
    what follows       <- gain <-------------- patches <- same decoder over the slots of the future <---+

Shapes: B ecgs, L leads, T samples, S segments of an ecg, t patches and m queries of a segment, D width, K codes of a
    level.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple
from transformers.utils.hub import resolve_revision
from transformers.utils.output_capturing import capture_outputs

from .configuration_heartcare import ABSENT, BeatConfig, refuse_unknown
from .networks_beat import BeatAttention, BeatDecoder, BeatEncoder, BeatLayer
from .quantization_beat import BeatQuantizer, BeatVectorQuantizer
from .streaming_beat import BeatStream

# Keywords that the library takes in `encode` and `forward`, beside their own.
RECORDED = ("output_hidden_states", "output_attentions", "return_dict")
ECG_INPUTS = ("input_values", "ecg_attention_mask", "lead_mask")


@dataclass
class BeatEncoderOutput(ModelOutput):
    """
    Tokens of a batch of ECGs: N = ceil(T / samples_per_latent) latents; the last one ends with the last sample.

    codes (`torch.LongTensor` of shape `(B, num_levels, N)`): One code per level; -1 where the latent is nothing but
        padding.
    gain (`torch.FloatTensor` of shape `(B,)`): mV of one unit of the normalised signal, on the quantized scale.
    latents (`torch.FloatTensor` of shape `(B, N, D)`): Quantized latents, all levels summed; 0 where absent.
    latent_mask (`torch.BoolTensor` of shape `(B, N)`): True where there is a latent.
    hidden_states, attentions (`tuple` of `torch.FloatTensor`): The encoder's layers, one entry per layer (and the
        first layer's input), for each of the B * S segments; with `output_hidden_states` and `output_attentions`.
    """

    codes: torch.LongTensor | None = None
    gain: torch.FloatTensor | None = None
    latents: torch.FloatTensor | None = None
    latent_mask: torch.BoolTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class BeatOutput(ModelOutput):
    """
    Result of training's forward pass: codes, gain and latents as in [`BeatEncoderOutput`], and

    loss (`torch.FloatTensor`): recon_weight * recon_loss + pred_weight * pred_loss + vq_weight * vq_loss.
    recon_loss, pred_loss, vq_loss (`torch.FloatTensor`): Its parts; the first two in units of gain squared. pred_loss
        is 0 without `future_values`.
    reconstruction (`torch.FloatTensor` of shape `(B, L, T)`): mV.
    prediction (`torch.FloatTensor` of shape `(B, L, prediction_length)`): mV; the samples that follow. None where
        `pred_weight` is 0.
    core_latents (`torch.FloatTensor` of shape `(B, N, D)`): The core level alone, with a gradient, so that training can
        teach it meaning.
    codebook_usage (`torch.FloatTensor` of shape `(num_levels,)`): Share of each level's codes that this batch used.
    codebook_perplexity (`torch.FloatTensor` of shape `(num_levels,)`): exp of the entropy of each level's codes in this
        batch; at most K.
    hidden_states, attentions (`tuple` of `torch.FloatTensor`): As in `BeatEncoderOutput`, followed by the layers of the
        decoder that restores the input.
    """

    loss: torch.FloatTensor | None = None
    codes: torch.LongTensor | None = None
    gain: torch.FloatTensor | None = None
    latents: torch.FloatTensor | None = None
    recon_loss: torch.FloatTensor | None = None
    pred_loss: torch.FloatTensor | None = None
    vq_loss: torch.FloatTensor | None = None
    reconstruction: torch.FloatTensor | None = None
    prediction: torch.FloatTensor | None = None
    core_latents: torch.FloatTensor | None = None
    codebook_usage: torch.FloatTensor | None = None
    codebook_perplexity: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None

    @property
    def latent_mask(self) -> torch.BoolTensor:
        """True where there is a latent, (B, N)."""
        return self.codes[:, 0] != ABSENT


class Segments(NamedTuple):
    """ECGs cut into B * S segments, the gain taken out.

    values (B*S, L, segment_length): In units of gain, in the model's dtype; 0 where nothing was recorded.
    present (B*S, L, segment_length) bool: True where a lead was recorded.
    sample_mask (B*S, segment_length) bool: False for padding.
    latent_mask (B*S, m) bool: False for latents that stand for nothing but padding.
    gain (B,): mV.
    """

    values: torch.Tensor
    present: torch.Tensor
    sample_mask: torch.Tensor
    latent_mask: torch.Tensor
    gain: torch.Tensor

    @property
    def lead_mask(self) -> torch.Tensor:
        """True for leads that have a sample in the segment, bool (B*S, L)."""
        return self.present.any(-1)

    @property
    def encoder_inputs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Arguments of `BeatEncoder.forward`."""
        return self.values, self.sample_mask, self.present


class BeatGain:
    """Computes one gain per record (not per lead), so that voltages survive: the RMS of all present samples, on a
    logarithmic scale.
    """

    def __init__(self, config: BeatConfig):
        self.low, self.high = config.gain_range_mv
        self.levels = config.gain_levels

    def __call__(self, signal: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Signals (B, L, T) in mV and the mask of recorded samples -> (B,) mV, one of `levels` values."""
        energy = (signal.square() * present).flatten(1).sum(1) / present.flatten(1).sum(1).clamp(min=1)
        step = math.log(self.high / self.low) / (self.levels - 1)
        level = torch.log(energy.sqrt().clamp(self.low, self.high) / self.low) / step
        return self.low * torch.exp(level.round() * step)


class StrictLoadingMixin:
    """Makes `from_pretrained` raise where transformers only warns: a model with random parts answers nonsense,
    fluently.

    Attributes:
        revision: Commit of the repository on the Hub that a model was loaded from; None for a folder.
    """

    revision: str | None = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`.

        Raises: `ValueError` when the checkpoint lacks weights of the model, or has weights that the model has no place
            for.
        """
        hub = {name: kwargs[name] for name in ("token", "local_files_only", "cache_dir") if name in kwargs}
        revision = resolve_revision(pretrained_model_name_or_path, kwargs.get("revision"), **hub)
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        for kind in ("missing_keys", "unexpected_keys"):
            if info[kind]:
                raise ValueError(
                    f"{pretrained_model_name_or_path} has {len(info[kind])} {kind.replace('_', ' ')} for "
                    f"{cls.__name__}, for example {sorted(info[kind])[:3]}. Code, config.json and weights do not "
                    "belong together: load the revision that wrote them."
                )
        model.revision = getattr(revision, "resolved", None)
        return (model, info) if wants_info else model


class BeatPreTrainedModel(StrictLoadingMixin, PreTrainedModel):
    """Base class of Beat: its place in transformers, and its initial weights."""

    config: BeatConfig
    base_model_prefix = "beat"
    main_input_name = "input_values"
    supports_gradient_checkpointing = True
    # Both use parameters of their own beside their layers', so each stays in one place; neither holds the other.
    _no_split_modules = ["BeatEncoder", "BeatDecoder"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": BeatLayer, "attentions": BeatAttention}
    accepts_loss_kwargs = False  # the loss is a mean over the batch, which a trainer may average over its steps
    _keep_in_fp32_modules_strict = ["codebook", "codebook_uses"]
    # `from_pretrained` takes Beat's own weights out of a whole HeartcareGPT checkpoint; these are its other parts.
    _keys_to_ignore_on_load_unexpected = [
        r"^language_model\.",
        r"^vision_tower\.",
        r"^signal_projector\.",
        r"^image_projector\.",
        r"^evidence_projector\.",
        r"^findings_head\.",
        r"^picture_head\.",
        r"^question_reader\.",
    ]

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, BeatVectorQuantizer):
            init.copy_(module.codebook, module.initial_codes(*module.codebook.shape))
            init.zeros_(module.codebook_uses)
        elif isinstance(module, (BeatEncoder, BeatDecoder)):
            for parameter in module.parameters(recurse=False):
                init.normal_(parameter, std=self.config.hidden_size**-0.5)


class BeatModel(BeatPreTrainedModel):
    """The ECG tokenizer: `encode`, `decode`, `forecast`, and `forward` for training."""

    def __init__(self, config: BeatConfig):
        super().__init__(config)
        self.gain = BeatGain(config)
        self.encoder = BeatEncoder(config)
        self.quantizer = BeatQuantizer(config)
        self.decoder = BeatDecoder(config)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        """Loads Beat from a repository of its own, or out of a whole HeartcareGPT repository.

        Raises: `ValueError` when the checkpoint lacks any of Beat's weights; they are never left random.
        """
        kwargs.setdefault("key_mapping", {r"^beat\.": ""})
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model._weight_conversions = []  # or saving would put the prefix of the whole model back
        return loaded

    def get_input_embeddings(self) -> nn.Module:
        """Returns the layer that embeds patches."""
        return self.encoder.patch_embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the layer that embeds patches."""
        self.encoder.patch_embedding = value

    @can_return_tuple
    def encode(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        gain: torch.FloatTensor | None = None,
        refine: int = 0,
        **kwargs: Any,
    ) -> BeatEncoderOutput:
        """Turns ECGs into tokens. Never updates the codebooks, even in training mode.

        Args:
            input_values (`torch.FloatTensor` of shape `(B, 12, T)`): mV at `config.sampling_rate`; any T >= 1,
                left-padded. A NaN is a sample that was not recorded.
            ecg_attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 for samples, 0 for padding.
            lead_mask (`torch.Tensor` of shape `(B, 12, T)` or `(B, 12)`, *optional*): 1 for samples (or whole leads)
                that were recorded, 0 for absent ones. An absent sample is read as 0 and does not count in the gain; a
                lead is there in a patch where any of its samples is.
            gain (`torch.FloatTensor` of shape `(B,)`, *optional*): mV. By default the ECG's own; give that of the whole
                recording when the ECG is a part of one.
            refine (`int`, *optional*, defaults to 0): Steps of analysis by synthesis that look for codes which decode
                closer to the ECG; each costs about one training step. For storage: the search looks at the shape alone,
                and not at what codes mean to a language model.
            kwargs: `output_hidden_states`, `output_attentions` and `return_dict`, as for any model.

        Raises: `ValueError` for shapes that do not fit, a gain that is not above 0, or a negative `refine`; `TypeError`
            for unknown keywords.
        """
        refuse_unknown(kwargs, (*ECG_INPUTS, "gain", "refine", *RECORDED), "BeatModel.encode")
        if refine < 0:
            raise ValueError(f"refine is a number of steps, at least 0, got {refine}.")
        if gain is not None:
            self._check_gain(gain, len(input_values))
        segments = self.segment(input_values, ecg_attention_mask, lead_mask, gain)
        encoded = self._encode_segments(segments, **kwargs)
        if refine:
            codes = self._refine(encoded.last_hidden_state, segments, refine)
        else:
            codes = self.quantizer.encode(encoded.last_hidden_state, segments.latent_mask)
        num_samples = input_values.shape[-1]
        return BeatEncoderOutput(
            **self._tokens(codes, self.quantizer.decode(codes), segments, num_samples),
            latent_mask=segments.latent_mask.view(len(input_values), -1)[:, -self.num_latents(num_samples) :],
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )

    def decode(self, codes: torch.LongTensor, gain: torch.FloatTensor) -> torch.FloatTensor:
        """Turns tokens into ECGs, from nothing but codes and gain.

        Args:
            codes (`torch.LongTensor` of shape `(B, num_levels, N)`): As `encode` gives them; -1 where there is no
                latent.
            gain (`torch.FloatTensor` of shape `(B,)`): mV.

        Returns: `torch.FloatTensor` of shape `(B, 12, N * samples_per_latent)`, mV. Its last samples are the ECG's last
            samples.

        Raises: `ValueError` for codes of another shape or outside of the codebook, and for a gain of another shape, or
            one that is not above 0.
        """
        size = self.config.codebook_size
        if codes.ndim != 3 or codes.shape[1] != self.quantizer.num_levels:
            raise ValueError(
                f"codes must have shape (batch, {self.quantizer.num_levels}, latents), got {tuple(codes.shape)}."
            )
        if codes.numel() and not (-1 <= int(codes.min()) and int(codes.max()) < size):
            raise ValueError(f"codes must lie in -1..{size - 1}, got {int(codes.min())}..{int(codes.max())}.")
        self._check_gain(gain, len(codes))
        return self.decode_unchecked(codes, gain)

    @staticmethod
    def _check_gain(gain: torch.Tensor, batch: int) -> None:
        if gain.shape != (batch,):
            raise ValueError(f"gain must have shape ({batch},), one value in mV for each ECG, got {tuple(gain.shape)}.")
        if not bool((gain.isfinite() & (gain > 0)).all()):
            raise ValueError(f"gain must be above 0 mV and finite, got {gain.tolist()[:8]}; pass on what encode gives.")

    def decode_unchecked(self, codes: torch.LongTensor, gain: torch.FloatTensor) -> torch.FloatTensor:
        """Decodes as `decode` does, without its checks: they read the codes, which an exported graph cannot."""
        num_samples = codes.shape[-1] * self.config.samples_per_latent
        codes = self._to_segments(codes, self.config.num_queries, ABSENT)
        latents = self.quantizer.decode(codes).to(self.dtype)
        return self._restore(latents, codes[:, 0] != ABSENT, gain, num_samples)

    @torch.no_grad()
    def forecast(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        num_samples: int | None = None,
    ) -> torch.FloatTensor:
        """Predicts the `num_samples` samples that follow, by autoregression over segments.

        Args: As in `encode`; `num_samples` defaults to `config.prediction_length`.

        Returns: `torch.FloatTensor` of shape `(B, 12, num_samples)`, mV.

        Raises: `ValueError` for a Beat that never learnt to forecast (`pred_weight=0`).
        """
        if not self.config.pred_weight:
            raise ValueError(
                "This Beat was trained without a forecast (pred_weight is 0); take another one, such as the one of the "
                "default checkpoint."
            )
        num_samples = self.config.prediction_length if num_samples is None else num_samples
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}.")
        sample_mask, leads = self._masks(input_values, ecg_attention_mask, lead_mask)
        # The gain is a property of the record; it must not drift with what was forecast.
        gain = self.segment(input_values, sample_mask, leads).gain
        context = slice(-self.config.segment_length, None)
        values, sample_mask, leads = input_values[..., context], sample_mask[..., context], leads[..., context]
        forecast = values.new_zeros(len(values), self.config.num_leads, 0)
        while forecast.shape[-1] < num_samples:
            segments = self.segment(values, sample_mask, leads, gain)
            codes = self.quantizer.encode(self.encoder(*segments.encoder_inputs), segments.latent_mask)
            step = self._predict(self.quantizer.decode(codes).to(self.dtype), codes[:, 0] != ABSENT, gain)
            forecast = torch.cat([forecast, step], dim=-1)
            values = torch.cat([values, step.to(values.dtype)], dim=-1)[..., context]
            known = segments.lead_mask[..., None].expand_as(step)  # a lead that was off is not forecast into being
            leads = torch.cat([leads, known], dim=-1)[..., context]
            sample_mask = torch.cat([sample_mask, sample_mask.new_ones(len(step), step.shape[-1])], dim=-1)[
                ..., context
            ]
        return forecast[..., :num_samples]

    def stream(self, feature_extractor: Any, sampling_rate: float, **options: Any) -> BeatStream:
        """Starts a [`BeatStream`] of this model: codes of a recording that still goes on. `options` are its own."""
        return BeatStream(self, feature_extractor, sampling_rate, **options)

    @can_return_tuple
    def forward(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        target_values: torch.FloatTensor | None = None,
        future_values: torch.FloatTensor | None = None,
        **kwargs: Any,
    ) -> BeatOutput:
        """Tokenises, restores and predicts, with the joint loss of the paper. In training mode the codebooks learn.

        Args:
            input_values, ecg_attention_mask, lead_mask: As in `encode`. Absent samples are left out of the loss.
            target_values (`torch.FloatTensor` of shape `(B, 12, T)`, *optional*): mV; what to restore, with all leads.
                Without it the input itself is restored.
            future_values (`torch.FloatTensor` of shape `(B, 12, prediction_length)`, *optional*): mV; what follows the
                input. Without `target_values`, leads that are absent in the last segment are left out of its loss.
            kwargs: `output_hidden_states`, `output_attentions` and `return_dict`, as for any model.

        Raises: `ValueError` for shapes that do not fit; `TypeError` for unknown keywords.
        """
        refuse_unknown(kwargs, (*ECG_INPUTS, "target_values", "future_values", *RECORDED), "BeatModel.forward")
        num_samples, batch = input_values.shape[-1], input_values.shape[0]
        segments = self.segment(input_values, ecg_attention_mask, lead_mask)
        output = self._autoencode(segments, num_samples, **kwargs)
        if target_values is None:
            target, weight = input_values, self._from_segments(segments.present, batch, num_samples)
            future_leads = segments.lead_mask.view(batch, -1, self.config.num_leads)[:, -1, :, None]  # (B, L, 1)
        else:
            seen, recorded = (
                self._from_segments(mask, batch, num_samples)
                for mask in (segments.sample_mask[:, None], segments.present)
            )
            target, weight = target_values, torch.where(recorded, 1.0, self.config.absent_weight) * seen
            future_leads = weight.new_ones(())
        recon_loss = self.masked_mse(output.reconstruction, target, weight, segments.gain)
        pred_loss, prediction = recon_loss.new_zeros(()), None
        if self.config.pred_weight:
            prediction = self._predict(output.latents.to(self.dtype), output.latent_mask, segments.gain)
            if future_values is not None:
                pred_loss = self.masked_mse(prediction, future_values, future_leads, segments.gain)
        config = self.config
        loss = config.recon_weight * recon_loss + config.pred_weight * pred_loss + config.vq_weight * output.vq_loss
        return BeatOutput(loss=loss, recon_loss=recon_loss, pred_loss=pred_loss, prediction=prediction, **output)

    # The parts that encode, decode, forecast and forward share.

    def segment(
        self,
        input_values: torch.Tensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        gain: torch.Tensor | None = None,
    ) -> Segments:
        """Checks the input, takes the gain out, and cuts segments from right to left. Arguments are as in `encode`."""
        sample_mask, leads = self._masks(input_values, ecg_attention_mask, lead_mask)
        values = input_values.float()
        # `isfinite` is not vectorised on CPUs; a comparison with infinity is, and is False for NaN as well.
        present = sample_mask[:, None] & leads & (values.abs() < torch.inf)
        values = torch.where(present, values, 0.0)
        gain = self.gain(values, present) if gain is None else gain
        length = self.config.segment_length
        values = self._to_segments(values / gain[:, None, None], length, 0.0)
        present = self._to_segments(present, length, False)
        sample_mask = self._to_segments(sample_mask[:, None], length, False)[:, 0]
        latent_mask = sample_mask.unflatten(-1, (self.config.num_queries, -1)).any(-1)
        return Segments(values.to(self.dtype), present, sample_mask, latent_mask, gain)

    def _masks(self, input_values, ecg_attention_mask, lead_mask) -> tuple[torch.Tensor, torch.Tensor]:
        """Checks shapes, and gives both masks as bool: of samples (B, T), and of leads (B, L, T)."""
        num_leads = self.config.num_leads
        if input_values.ndim != 3 or input_values.shape[1] != num_leads or not input_values.shape[2]:
            raise ValueError(
                f"input_values must have shape (ecgs, {num_leads}, samples), got {tuple(input_values.shape)}; the "
                "processor makes it from any ECG."
            )
        batch, num_leads, num_samples = shape = input_values.shape
        sample_mask, leads = (
            torch.ones(batch, 1, 1, dtype=torch.bool, device=input_values.device)
            if mask is None
            else mask.to(input_values.device).bool()
            for mask in (ecg_attention_mask, lead_mask)
        )
        if ecg_attention_mask is not None and sample_mask.shape != (batch, num_samples):
            raise ValueError(
                f"ecg_attention_mask must have shape {(batch, num_samples)}, got {tuple(sample_mask.shape)}."
            )
        if lead_mask is not None and leads.shape not in ((batch, num_leads), shape):
            raise ValueError(
                f"lead_mask must have shape {tuple(shape)} or {(batch, num_leads)}, got {tuple(leads.shape)}."
            )
        return sample_mask.view(batch, -1).expand(batch, num_samples), leads.view(*leads.shape[:2], -1).expand(shape)

    @staticmethod
    def _to_segments(x: torch.Tensor, length: int, fill: float | bool) -> torch.Tensor:
        """Cuts (B, C, n) into (B*S, C, length), padded on the left: the last segment ends with the last element."""
        padding = -x.shape[-1] % length
        x = nn.functional.pad(x, (padding, 0), value=fill)
        return x.unflatten(-1, (-1, length)).transpose(1, 2).flatten(0, 1)

    @capture_outputs
    def _encode_segments(self, segments: Segments, **kwargs: Any) -> BaseModelOutput:
        """Returns query states (B*S, m, D); the library records the layers that `kwargs` ask for while this runs."""
        return BaseModelOutput(last_hidden_state=self.encoder(*segments.encoder_inputs))

    def _refine(self, hidden_states: torch.Tensor, segments: Segments, steps: int) -> torch.LongTensor:
        """Looks for better codes (B*S, num_levels, m) by gradient steps on the latents with a pull towards their codes.
        Per segment the best codes seen are kept, so that the result is never worse than the encoder's. A core level of
        its own keeps its codes, which say what the ECG means.
        """
        quantizer = self.quantizer
        core_codes = quantizer.encode_core(hidden_states, segments.latent_mask)
        with torch.inference_mode(False), torch.enable_grad():
            # Clones, since tensors made in inference mode cannot be saved for the backward pass.
            target, present, latent_mask = (
                x.clone() for x in (segments.values.float(), segments.present, segments.latent_mask)
            )
            latents = hidden_states.detach().float().clone().requires_grad_()
            # On six simulated ECGs, 20 steps at half and twice this rate gave 16.0 and 15.8 % PRD instead of 15.8 %
            # (90 bits/s), 8.8 and 8.6 % instead of 8.7 % (360 bits/s).
            rate = 0.06 * float(quantizer.shape_levels[0].codebook.std())
            core = quantizer.decode_core(core_codes)
            optimizer = torch.optim.Adam([latents], rate, betas=(0.5, 0.9))
            decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            for step in range(steps + 1):
                codes = quantizer.encode_shape(latents, latent_mask)
                quantized = quantizer.decode_shape(codes)
                shape = latents + (quantized - latents).detach()
                decoded = self.decoder((core + shape).to(self.dtype), latent_mask).float()
                error = ((decoded - target).square() * present).sum((1, 2))
                away = ((latents - quantized).square() * latent_mask[..., None]).sum((1, 2))
                if step == 0:  # the encoder's own codes
                    best, least = codes, error.detach()
                    first_error, first_away = (x.detach().clamp(min=1e-6) for x in (error, away))
                better = error.detach() < least
                best = torch.where(better[:, None, None], codes, best)
                least = torch.where(better, error.detach(), least)
                if step < steps:
                    # Without the pull latents wander off to where codes jump: 0 gave 9.3 %, 2 gave 9.6 % PRD instead
                    # of 8.7 % (same ECGs, 360 bits/s).
                    loss = (error / first_error + 0.5 * away / first_away).sum()
                    (latents.grad,) = torch.autograd.grad(loss, [latents])
                    optimizer.step()
                    decay.step()
        return torch.cat([core_codes, best], dim=1)

    @capture_outputs
    def _autoencode(self, segments: Segments, num_samples: int, **kwargs: Any) -> BeatOutput:
        """Encodes, quantizes and restores; the library records the layers while this runs, but none of the forecast."""
        hidden_states = self.encoder(*segments.encoder_inputs)
        quantized = self.quantizer(hidden_states, segments.latent_mask)
        latents = quantized.latents.to(self.dtype)
        return BeatOutput(
            **self._tokens(quantized.codes, quantized.latents, segments, num_samples),
            vq_loss=quantized.loss.sum(),
            reconstruction=self._restore(latents, segments.latent_mask, segments.gain, num_samples),
            core_latents=self._per_ecg(quantized.core, segments, num_samples),
            codebook_usage=quantized.usage,
            codebook_perplexity=quantized.perplexity,
        )

    def _tokens(self, codes: torch.Tensor, latents: torch.Tensor, segments: Segments, num_samples: int) -> dict:
        """Turns codes and latents per segment into codes, gain and latents per ECG."""
        return {
            "codes": self._from_segments(codes, len(segments.gain), self.num_latents(num_samples)),
            "gain": segments.gain,
            "latents": self._per_ecg(latents, segments, num_samples),
        }

    def _per_ecg(self, latents: torch.Tensor, segments: Segments, num_samples: int) -> torch.Tensor:
        """Joins the latents of segments: (B*S, m, D) -> (B, N, D)."""
        batch = len(segments.gain)
        return latents.reshape(batch, -1, latents.shape[-1])[:, -self.num_latents(num_samples) :]

    def num_latents(self, num_samples: int) -> int:
        """Returns the number of latents of an ECG of `num_samples` samples."""
        return (num_samples + self.config.samples_per_latent - 1) // self.config.samples_per_latent

    def _restore(self, latents, latent_mask, gain, num_samples: int) -> torch.Tensor:
        """Decodes latents per segment (B*S, m, D) to signals (B, L, num_samples) in mV."""
        signal = self._from_segments(self.decoder(latents, latent_mask).float(), len(gain), num_samples)
        return signal * gain[:, None, None]

    def _predict(self, latents, latent_mask, gain) -> torch.Tensor:
        """Predicts the signal after the last segment by latents per ECG (B, N, D): (B, L, prediction_length) in mV."""
        m = self.config.num_queries
        latents, latent_mask = latents[:, -m:], latent_mask[:, -m:]
        short = m - latents.shape[1]
        latents = nn.functional.pad(latents, (0, 0, short, 0))
        latent_mask = nn.functional.pad(latent_mask, (short, 0), value=False)
        return self.decoder(latents, latent_mask, future=True).float() * gain[:, None, None]

    @staticmethod
    def _from_segments(x: torch.Tensor, batch: int, n: int) -> torch.Tensor:
        """Joins (B*S, C, length) to (B, C, n), the inverse of `_to_segments`."""
        return x.view(batch, -1, *x.shape[1:]).transpose(1, 2).flatten(2)[..., -n:]

    @staticmethod
    def masked_mse(
        signal: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, gain: torch.Tensor
    ) -> torch.Tensor:
        """Returns the mean squared error in units of gain over the samples that count: signal and target (B, L, n) in
        mV, weight broadcast to them, gain (B,). Targets that are NaN do not count.
        """
        weight = weight.float().expand_as(signal) * target.isfinite()
        error = (signal - torch.where(weight > 0, target.float(), 0.0)) / gain[:, None, None]
        return (error.square() * weight).sum() / weight.sum().clamp(min=1)


BeatModel.register_for_auto_class("AutoModel")

__all__ = ["BeatEncoderOutput", "BeatModel", "BeatOutput", "BeatPreTrainedModel", "Segments", "StrictLoadingMixin"]
