"""What must hold of the networks, at toy size: packing, registers, rows, tokenizer and heads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.config import EncoderConfig, PatchSpec, TokenizerConfig, TransformerConfig, preset
from encoder.errors import WeightsError
from encoder.heads import HeadGroup, SeparateHeads, SharedHeads
from encoder.names import END, UNKNOWN, character_codes
from encoder.networks import NameEncoder, SequenceTransformer, StudyTransformer, Towers, sine_cosine, token_rows
from encoder.patches import cut
from encoder.tokenizer import VQVAE, encode_patches
from encoder.volume import Volume
from encoder.weights import load_strictly, read_weights, write_weights

SEQUENCE = TransformerConfig(289, 2, 2, 8, 16, 3, 10)
STUDY = TransformerConfig(10, 2, 2, 4, 16, 2, 6)
CLOSE = {"atol": 2e-6, "rtol": 1e-5}


def test_a_packed_batch_equals_a_loop_over_its_sequences() -> None:
    """Neighbours of equal length share a kernel call; none sees another."""
    torch.manual_seed(0)
    network, lengths = SequenceTransformer(SEQUENCE), [5, 5, 5, 9, 1, 5]
    tokens, names = torch.randn(sum(lengths), 289), torch.randn(len(lengths), 289)
    packed = network(tokens, lengths, names)
    parts = torch.split(tokens, lengths)
    alone = [network(part, [len(part)], name[None]) for part, name in zip(parts, names, strict=True)]
    torch.testing.assert_close(packed.embedding, torch.cat([o.embedding for o in alone]), **CLOSE)
    torch.testing.assert_close(packed.registers, torch.cat([o.registers for o in alone]), **CLOSE)
    torch.testing.assert_close(packed.tokens, torch.cat([o.tokens for o in alone]), **CLOSE)


def test_a_packed_batch_of_studies_equals_a_loop() -> None:
    network, counts = StudyTransformer(STUDY), [1, 4, 4]
    sequences, descriptions = torch.randn(9, 10), torch.randn(3, 10)
    packed = network(sequences, counts, descriptions)
    alone = [network(part, [len(part)], d[None]) for part, d in zip(torch.split(sequences, counts), descriptions, strict=True)]
    torch.testing.assert_close(packed.clip, torch.cat([o.clip for o in alone]), **CLOSE)
    torch.testing.assert_close(packed.pooled, packed.registers.flatten(1))
    torch.testing.assert_close(packed.clip.norm(dim=1), torch.ones(3))


def test_the_order_of_tokens_does_not_matter_for_the_registers() -> None:
    """Places are in the rows themselves; there is no other position embedding."""
    network, tokens, names = SequenceTransformer(SEQUENCE), torch.randn(7, 289), torch.randn(1, 289)
    turned = torch.randperm(7)
    one, other = network(tokens, [7], names), network(tokens[turned], [7], names)
    torch.testing.assert_close(one.registers, other.registers, **CLOSE)
    torch.testing.assert_close(one.tokens[turned], other.tokens, **CLOSE)


def test_every_parameter_learns() -> None:
    config = preset("tiny")
    towers = Towers(config)
    names = towers.name(["t2", "flair"])
    sequence = towers.sequence(torch.randn(6, 289), [2, 4], names)
    out = towers.study(sequence.embedding, [2], towers.description(["mr brain"]))
    (out.clip.square().mean() * 0 + out.clip.sum() + sequence.tokens.sum()).backward()
    silent = [n for n, p in towers.named_parameters() if p.requires_grad and p.grad is None and not n.startswith("tokenizer.")]
    assert silent == []


def test_names_are_read_to_their_end_whatever_stands_beside_them() -> None:
    network = NameEncoder(TransformerConfig(256, 1, 2, 8, 16, 0, 5))
    names = ["AX_T2_FLAIR", "t1", "", "x" * 500]
    together = network(names)
    torch.testing.assert_close(together, torch.cat([network([name]) for name in names]), **CLOSE)
    torch.testing.assert_close(network(["AX_T2"]), network(["ax_t2"]))
    torch.testing.assert_close(network(["x" * 500]), network(["x" * 199]))


def test_character_codes_are_the_published_table() -> None:
    assert character_codes("aZ,") == [1, 26, 44, END]
    assert character_codes("é T") == [UNKNOWN, UNKNOWN, 20, END]
    assert len(character_codes("a" * 300)) == 200


def test_position_waves_are_those_of_the_published_package() -> None:
    encodings = pytest.importorskip("positional_encodings.torch_encodings")
    grid = encodings.PositionalEncoding3D(30)(torch.zeros(1, 4, 8, 8, 30))[0]
    latents = torch.zeros(1, 2, 2, 8, 8)
    for place in ((0, 0, 0), (3, 7, 5), (1, 0, 7)):
        start = torch.tensor([place]) * torch.tensor([4, 32, 32])
        torch.testing.assert_close(token_rows(latents, start, 0, PatchSpec())[0, 256:286], grid[place])
    line = encodings.PositionalEncoding1D(10)(torch.zeros(1, 200, 10))[0]
    torch.testing.assert_close(sine_cosine(torch.arange(200), 10), line)


@pytest.mark.parametrize("axis", range(3))
def test_rows_hold_the_plane_and_a_transposed_latent(axis: int) -> None:
    shape = [8, 8, 8]
    shape[axis] = 2
    latents = torch.randn(3, 2, *shape)
    rows = token_rows(latents, torch.zeros(3, 3, dtype=torch.long), axis, PatchSpec())
    assert rows.shape == (3, 289)
    assert rows[:, 286:].argmax(1).tolist() == [axis] * 3
    torch.testing.assert_close(rows[:, :256].reshape(3, 2, 2, 8, 8), latents.transpose(2, 2 + axis))


def test_chunks_doubles_and_neighbours_do_not_change_a_latent() -> None:
    """150 tokens cross the chunk of 64; a token that the filter names twice is encoded once and given twice."""
    config = preset("tiny")
    tokenizer = VQVAE(config.tokenizer).eval()
    everything = replace(config.patch, min_foreground=0, max_kept=0)
    volumes = [np.random.default_rng(i).uniform(0, 1, (12, 128, 128)).astype(np.float32) for i in range(2)]
    one, other = (cut(Volume(volume, np.eye(4), 0), everything) for volume in volumes)
    side = cut(Volume(volumes[0].transpose(1, 2, 0), np.eye(4), 2), everything)
    doubled = replace(one, values=one.values[[0, 5, 5]], ids=one.ids[[0, 5, 5]], positions=one.positions[[0, 5, 5]])
    together = encode_patches(tokenizer, [one, side, other, doubled])
    for patches, latents in zip((one, side, other), together, strict=False):
        alone = tokenizer.encode(torch.from_numpy(patches.values)[:, None]).detach()
        torch.testing.assert_close(latents, alone, **CLOSE)
    torch.testing.assert_close(together[3], together[0][[0, 5, 5]], **CLOSE)


def test_the_tokenizer_reconstructs_shapes_and_moves_its_codes_only_in_training() -> None:
    tokenizer, x = VQVAE(preset("tiny").tokenizer), torch.rand(4, 1, 8, 16, 16)
    before = tokenizer.quantizer.quantizer.embedding.weight.clone()
    tokenizer.eval()
    recon, loss = tokenizer(x)
    assert recon.shape == x.shape
    assert torch.equal(tokenizer.quantizer.quantizer.embedding.weight, before)
    tokenizer.train()
    in_training, loss = tokenizer(x)
    assert torch.equal(in_training, recon)  # told in the codes that its latents chose, not in those that they moved
    (torch.nn.functional.mse_loss(in_training, x) + loss).backward()
    assert not torch.equal(tokenizer.quantizer.quantizer.embedding.weight, before)
    assert tokenizer.encoder.blocks[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_tokenizer_is_monais(tmp_path: Path) -> None:
    """Same state dict, same latents, reconstruction, loss, and codebook after one step of training."""
    nets = pytest.importorskip("monai.networks.nets")
    sizes = TokenizerConfig(channels=(8, 12), residual_channels=(6, 10), codebook=32, latent=3)
    theirs = nets.VQVAE(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        channels=sizes.channels,
        num_res_layers=2,
        num_res_channels=sizes.residual_channels,
        downsample_parameters=sizes.downsample,
        upsample_parameters=((2, 2, 1, 0, 0), (2, 4, 1, 1, 0)),
        num_embeddings=32,
        embedding_dim=3,
    )
    # Copies: with one codebook for both, the second would see the first's step.
    own = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    ours = load_strictly(VQVAE(replace(sizes, upsample=((2, 2, 1, 0, 0), (2, 4, 1, 1, 0)))), own, tmp_path)
    x = torch.rand(3, 1, 8, 16, 16)
    torch.testing.assert_close(ours.encode(x), theirs.eval().encode(x), **CLOSE)
    ours.train(), theirs.train()
    for _ in range(2):
        for found, wanted in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(found, wanted, **CLOSE)
        torch.testing.assert_close(ours.quantizer.quantizer.embedding.weight, theirs.quantizer.quantizer.embedding.weight, **CLOSE)


def test_shared_heads_are_columns_minus_thresholds_and_their_weights_come_back(tmp_path: Path) -> None:
    group = HeadGroup(("a", "b"), (0.5, -1.0), (7,), separate=False)
    heads, pooled = SharedHeads(12, group), torch.randn(4, 12)
    plain = SharedHeads(12, replace(group, thresholds=(0.0, 0.0)))
    plain.load_state_dict(heads.state_dict())
    torch.testing.assert_close(heads(pooled) + torch.tensor([0.5, -1.0]), plain(pooled))
    write_weights(tmp_path / "heads.safetensors", heads.state_dict())
    again = load_strictly(SharedHeads(12, group), read_weights(tmp_path / "heads.safetensors"), tmp_path)
    assert torch.equal(again(pooled), heads(pooled))


def test_half_precision_heads_are_widened_in_blocks_to_the_same_numbers() -> None:
    weights = {
        f"a.{i}.{kind}": torch.randn(shape).half()
        for i, s in enumerate(((600, 12), (1, 600)))
        for kind, shape in (("weight", s), ("bias", s[:1]))
    }
    group, pooled = HeadGroup(("a",), (0.25,), (600,), separate=True), torch.randn(3, 12)
    narrow = SeparateHeads(weights.__getitem__, group)(pooled)
    wide = SeparateHeads(lambda name: weights[name].float(), group)(pooled)
    torch.testing.assert_close(narrow, wide, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "prima"])
def test_a_configuration_comes_back_from_json(name: str) -> None:
    config = preset("tiny" if name == "tiny" else "prima")
    assert EncoderConfig.from_json(config.to_json()) == config


def test_unknown_and_contradictory_configurations_are_refused() -> None:
    text = preset("tiny").to_json()
    with pytest.raises(WeightsError, match="brightness"):
        EncoderConfig.from_json(text.replace('"matrix"', '"brightness"'))
    with pytest.raises(WeightsError, match=r"sequence\.width = 289, found 288"):
        EncoderConfig.from_json(text.replace('"width": 289', '"width": 288'))


def test_prima_has_the_published_size() -> None:
    """53.6 million parameters in the visual tower without the patient-discrimination net, 33 million in the tokenizer."""
    with torch.device("meta"):
        towers = Towers(preset("prima"))
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in towers.named_children()}
    assert sum(count.values()) - count["tokenizer"] == pytest.approx(53.6e6, rel=2e-3)
    assert count["tokenizer"] == pytest.approx(33e6, rel=2e-2)
