"""What each token shows: the head that anchors a diagnosis to a place (DESIGN.md, `locate`)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

RARE = -4.0  # logit that training starts from: few tokens show any one lesion


@dataclass(frozen=True)
class TokenEvidence:
    """Outputs for n packed tokens.

    hidden: (n, hidden) what the rest is read from. lesions: (n, names) logits that the token holds part of that diagnosis or
    finding. regions: (n, regions) logits of its anatomical region. offsets: (n, 3) mm LPS from the
    token's centre to the centre of the lesion inside it.
    """

    hidden: Tensor
    lesions: Tensor
    regions: Tensor
    offsets: Tensor


class TokenHead(nn.Module):
    """From the sequence transformer's token outputs (n, width) to TokenEvidence."""

    def __init__(self, width: int, names: int, regions: int, hidden: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU())
        self.lesions = nn.Linear(hidden, names)
        nn.init.constant_(self.lesions.bias, RARE)
        self.regions = nn.Linear(hidden, regions)
        self.offsets = nn.Linear(hidden, 3)

    def forward(self, tokens: Tensor) -> TokenEvidence:
        """tokens: (n, width). Offsets are learned in units of 10 mm, so that their loss has the others' size."""
        hidden = self.trunk(tokens)
        return TokenEvidence(hidden, self.lesions(hidden), self.regions(hidden), 10 * self.offsets(hidden))
