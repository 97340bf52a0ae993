"""Train a TopK dictionary with SAELens on vectors in a file: python train_dictionary.py TOKENS FOLDER HOOK DECODER.

Run by benchmarks/units.py with SAELens on PYTHONPATH. TOKENS: safetensors with `tokens`, float16 [tokens, width].
FOLDER: where the dictionary is written, with `encoded.safetensors`: some tokens and what SAELens makes of them. HOOK:
the name of the module whose outputs they are. DECODER: learned, or random (drawn once, and then frozen).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from sae_lens import SAE, LoggingConfig, SAETrainer, TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import SAETrainerConfig
from safetensors.torch import load_file, save_file

EXPANSION, K = 8, 32
SAMPLES, BATCH, RATE = 300_000, 1024, 1e-3
ENCODED = 512


def draw_batches(tokens: torch.Tensor) -> Iterator[torch.Tensor]:
    """Batches of tokens in random order, one epoch after the other."""
    while True:
        for rows in torch.randperm(len(tokens)).split(BATCH):
            if len(rows) == BATCH:
                yield tokens[rows].to(torch.float32)


def main(tokens_file: Path, folder: Path, hook: str, decoder: str) -> None:
    torch.manual_seed(0)
    tokens = load_file(tokens_file)["tokens"]
    width = tokens.shape[1]
    dictionary = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=width, d_sae=EXPANSION * width, k=K))
    dictionary.cfg.metadata.hook_name = hook
    dictionary.b_dec.data = tokens[:100_000].to(torch.float32).mean(0)
    dictionary.W_dec.requires_grad_(decoder == "learned")
    config = SAETrainerConfig(
        total_training_samples=SAMPLES,
        train_batch_size_samples=BATCH,
        lr=RATE,
        lr_end=RATE / 10,
        lr_decay_steps=SAMPLES // BATCH // 4,
        dead_feature_window=50,
        logger=LoggingConfig(log_to_wandb=False),
    )
    trained = SAETrainer(config, dictionary, draw_batches(tokens)).fit()
    trained.save_inference_model(folder)
    sample = tokens[:ENCODED].to(torch.float32)
    with torch.no_grad():
        encoded = {"tokens": sample, "latents": SAE.load_from_disk(folder).encode(sample)}
    save_file(encoded, folder / "encoded.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
