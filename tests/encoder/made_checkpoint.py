"""Small checkpoints in the released form, made with empty classes under the official module names (PRIMA.md section 7)."""

from __future__ import annotations

import itertools
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from encoder.config import EncoderConfig, TokenizerConfig, TransformerConfig
from encoder.tokenizer import VQVAE

OFFICIAL = {
    "complete_visual_model": ("FullMRIModel",),
    "model": ("CLIP",),
    "model_parts": ("Attention", "FeedForward", "GPTWrapper", "HierViT", "PreNorm", "SerieTransformerEncoder", "Transformer", "ViT"),
    "patchify": ("MedicalImagePatchifier",),
}

SMALL = EncoderConfig(
    tokenizer=TokenizerConfig(channels=(4, 4), residual_channels=(4, 4), codebook=8),
    name=TransformerConfig(256, 3, 4, 64, 300, 0, 289),
    sequence=TransformerConfig(289, 1, 2, 8, 16, 2, 12),
    description=TransformerConfig(256, 3, 4, 64, 300, 0, 12),
    study=TransformerConfig(12, 1, 2, 8, 16, 3, 8),
)
OFFICIAL_TOKENIZER = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 1,
    "num_res_layers": 2,
    "downsample_parameters": [[2, 4, 1, 1], [2, 2, 1, 0]],
    "upsample_parameters": [[2, 4, 1, 1, 0], [2, 2, 1, 0, 0]],
    "num_channels": [4, 4],
    "num_res_channels": [4, 4],
    "num_embeddings": 8,
    "embedding_dim": 2,
    "ckpt_path": "somewhere/else.pth",
}


@dataclass(frozen=True)
class Form:
    """Which of the released forms to make."""

    config: EncoderConfig = SMALL
    diagnoses: tuple[str, ...] = ("cyst_arachnoid_cyst", "tumor_adult_meningioma")
    hidden: tuple[int, ...] = (7, 5)
    levels: int = 4
    two_step_names: bool = True
    main_module: bool = False
    data_parallel: bool = False


@contextmanager
def official_modules(main: bool) -> Iterator[dict[str, type[nn.Module]]]:
    """Empty official classes, importable while a checkpoint is pickled and gone afterwards."""
    classes: dict[str, type[nn.Module]] = {}
    made: list[tuple[str, str]] = []
    for module_name, names in OFFICIAL.items():
        home = "__main__" if main else module_name
        module = sys.modules.setdefault(home, types.ModuleType(home))
        for name in names:
            classes[name] = type(name, (nn.Module,), {"__module__": home})
            setattr(module, name, classes[name])
            made.append((home, name))
    yield classes
    for home, name in made:
        delattr(sys.modules[home], name)
        if home != "__main__" and not any(n == home for n, _ in made[made.index((home, name)) + 1 :]):
            del sys.modules[home]


class Builder:
    """Builds the official object tree out of the empty classes."""

    def __init__(self, classes: dict[str, type[nn.Module]], form: Form) -> None:
        self.classes, self.form = classes, form

    def make(self, name: str, **members: object) -> nn.Module:
        module = self.classes[name]()
        for key, value in members.items():
            setattr(module, key, value)
        return module

    def transformer(self, sizes: TransformerConfig) -> nn.Module:
        inner = sizes.heads * sizes.head_width
        layers = nn.ModuleList()
        for _ in range(sizes.depth):
            attention = self.make(
                "Attention",
                inner_dim=inner,
                heads=sizes.heads,
                dim_head=sizes.head_width,
                attend=nn.Softmax(dim=-1),
                to_qkv=nn.Linear(sizes.width, 3 * inner, bias=False),
                to_out=nn.Sequential(nn.Linear(inner, sizes.width), nn.Dropout(0.0)),
            )
            net = nn.Sequential(
                nn.Linear(sizes.width, sizes.mlp), nn.GELU(), nn.Dropout(0.0), nn.Linear(sizes.mlp, sizes.width), nn.Dropout(0.0)
            )
            parts = (attention, self.make("FeedForward", net=net))
            layers.append(nn.ModuleList(self.make("PreNorm", norm=nn.LayerNorm(sizes.width), fn=part) for part in parts))
        return self.make("Transformer", layers=layers)

    def vit(self, sizes: TransformerConfig) -> nn.Module:
        return self.make(
            "ViT",
            dim=sizes.width,
            pos_embedding=None,
            clsnum=sizes.registers,
            cls_token=nn.Parameter(torch.randn(1, sizes.registers, sizes.width)),
            dropout=nn.Dropout(0.0),
            transformer=self.transformer(sizes),
            to_latent=nn.Identity(),
            layernorm=nn.LayerNorm(sizes.width),
            mlp_head=nn.Sequential(nn.Linear(sizes.registers * sizes.width, sizes.out)),
        )

    def characters(self, sizes: TransformerConfig, prelinear: bool, out: int) -> nn.Module:
        return self.make(
            "SerieTransformerEncoder",
            embsize=256,
            embed=nn.Embedding(47, 246),
            transformer=self.transformer(sizes),
            linear=nn.Linear(256, out),
            p_enc=torch.zeros(200, 10),
            prelinear=prelinear,
        )

    def clip(self) -> nn.Module:
        config = self.form.config
        if self.form.two_step_names:
            names: nn.Module = nn.Sequential(self.characters(config.name, True, 8), nn.Linear(256, config.name.out))
        else:
            names = self.characters(config.name, False, config.name.out)
        visual = self.make(
            "HierViT",
            innerViT=self.vit(config.sequence),
            outerViT=self.vit(config.study),
            dummy_param=nn.Parameter(torch.empty(0)),
            patdis=False,
            patdisnet=nn.Sequential(nn.Linear(config.sequence.registers * config.sequence.width, 9), nn.ReLU(), nn.Linear(9, 4)),
            serieencoder=names,
            studyencoder=self.characters(config.description, False, config.description.out),
        )
        text = self.make(
            "GPTWrapper", mlp_head=nn.Sequential(nn.LayerNorm(6), nn.Linear(6, config.study.out), nn.LayerNorm(config.study.out))
        )
        return self.make(
            "CLIP",
            config={"model": {"visual": {"ckpt_path": "/stray/path"}}},
            temperature=nn.Parameter(torch.zeros(1)),
            patdistemperature=torch.zeros(1),
            patchifier=self.make("MedicalImagePatchifier", p_enc=torch.zeros(8, 30), d=30, out_dim=289),
            text_model=text,
            visual_model=visual,
            criterion=nn.CrossEntropyLoss(),
        )

    def head(self, outputs: int, threshold: float | None = None) -> nn.Sequential:
        study = self.form.config.study
        widths = (study.registers * study.width, *self.form.hidden, outputs)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        head = nn.Sequential(*layers[:-1])
        if threshold is not None:
            head.thresh = threshold  # type: ignore[assignment]
        return head

    def full(self) -> nn.Module:
        clip, names = self.clip(), self.form.diagnoses
        diagnosis = {name: [self.head(len(names), 0.1 * i), i] for i, name in enumerate(names)}
        referral = {"neurosurgery": [self.head(2, -0.5), 1]}
        return self.make(
            "FullMRIModel",
            clipmodel=clip,
            clipvisualmodel=clip.visual_model,
            m1=nn.ModuleList(head for head, _ in diagnosis.values()),
            m2=nn.ModuleList(head for head, _ in referral.values()),
            diagnosisheads=diagnosis,
            referralheads=referral,
            priorityhead=self.head(self.form.levels),
        )


def write_full_model(path: Path, form: Form, **save: bool) -> nn.Module:
    """Pickle a full model of the given form; returns it (unwrapped) for comparison."""
    with official_modules(form.main_module) as classes:
        full = Builder(classes, form).full()
        torch.save(nn.DataParallel(full) if form.data_parallel else full, path, **save)
    return full


def write_tokenizer(path: Path, form: Form) -> None:
    """A tokenizer's state dict, as released."""
    torch.save(VQVAE(form.config.tokenizer).state_dict(), path)
