"""Make dictionaries of every architecture with the libraries that define them, and what these make of some inputs.

Run by a test with both libraries on PYTHONPATH: python trained_elsewhere.py FOLDER.
"""

import sys
from pathlib import Path

import torch
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    GatedSAE,
    GatedSAEConfig,
    JumpReLUSAE,
    JumpReLUSAEConfig,
    JumpReLUSkipTranscoder,
    JumpReLUSkipTranscoderConfig,
    SkipTranscoder,
    SkipTranscoderConfig,
    StandardSAE,
    StandardSAEConfig,
    TopKSAE,
    TopKSAEConfig,
    Transcoder,
    TranscoderConfig,
)
from safetensors.torch import load_file, save_file
from sparsify import SparseCoder, SparseCoderConfig

WIDTH, LATENTS, OUTPUTS, TOKENS, K = 24, 96, 16, 50, 7
SIZES = {"d_in": WIDTH, "d_sae": LATENTS}
ACROSS = {**SIZES, "d_out": OUTPUTS, "apply_b_dec_to_input": False}
SAELENS = {
    "standard": StandardSAE(StandardSAEConfig(**SIZES)),
    "uncentred": StandardSAE(StandardSAEConfig(**SIZES, apply_b_dec_to_input=False)),
    "layer_norm": StandardSAE(StandardSAEConfig(**SIZES, normalize_activations="layer_norm")),
    "rescaled": StandardSAE(StandardSAEConfig(**SIZES, normalize_activations="constant_norm_rescale")),
    "gated": GatedSAE(GatedSAEConfig(**SIZES)),
    "jumprelu": JumpReLUSAE(JumpReLUSAEConfig(**SIZES)),
    "topk": TopKSAE(TopKSAEConfig(**SIZES, k=K)),
    "topk_by_norm": TopKSAE(TopKSAEConfig(**SIZES, k=K, rescale_acts_by_decoder_norm=True)),
    "transcoder": Transcoder(TranscoderConfig(**ACROSS)),
    "skip_transcoder": SkipTranscoder(SkipTranscoderConfig(**ACROSS)),
    "jumprelu_skip_transcoder": JumpReLUSkipTranscoder(JumpReLUSkipTranscoderConfig(**ACROSS)),
}
SPARSIFY = {
    "sparsify": SparseCoderConfig(num_latents=LATENTS, k=K),
    "sparsify_groups": SparseCoderConfig(num_latents=LATENTS, k=8, activation="groupmax"),
    "sparsify_transcoder": SparseCoderConfig(num_latents=LATENTS, k=K, transcode=True, skip_connection=True),
}


@torch.no_grad()
def scatter(module: torch.nn.Module) -> None:
    """Give every parameter random values, thresholds positive ones."""
    for name, values in module.named_parameters():
        values.copy_(torch.randn(values.shape) * (0.3 if values.dim() > 1 else 0.5))
        if "threshold" in name:
            values.abs_()


@torch.no_grad()
def main(folder: Path) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(TOKENS, WIDTH) * 2 + 0.5
    answers = {"inputs": inputs}
    for name, sae in SAELENS.items():
        scatter(sae)
        sae.save_model(folder / name)
        loaded = SAE.load_from_disk(folder / name)
        answers |= {f"{name}/latents": loaded.encode(inputs), f"{name}/written": loaded(inputs)}
    trained = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**SIZES, k=K))
    scatter(trained)
    trained.topk_threshold.fill_(0.8)
    trained.save_model(folder / "batchtopk_unfinished")
    trained.save_inference_model(folder / "batchtopk")
    frozen = SAE.load_from_disk(folder / "batchtopk")
    for name in ("batchtopk", "batchtopk_unfinished"):
        answers |= {f"{name}/latents": frozen.encode(inputs), f"{name}/written": frozen(inputs)}
    for name, config in SPARSIFY.items():
        coder = SparseCoder(WIDTH, config)
        scatter(coder)
        coder.save_to_disk(folder / name)
        acts, places, _ = coder.encode(inputs)
        answers[f"{name}/latents"] = torch.zeros(TOKENS, LATENTS).scatter_(1, places, acts)
        answers[f"{name}/written"] = coder(inputs).sae_out
    save_file({key: values.contiguous() for key, values in answers.items()}, folder / "answers.safetensors")
    assert len(load_file(folder / "answers.safetensors")) == 1 + 2 * (len(SAELENS) + 2 + len(SPARSIFY))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
