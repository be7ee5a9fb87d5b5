"""The demo encoder's card: every name told or said to be untold, weak ones with their reason."""

from __future__ import annotations

import numpy as np

from assistant.train.card import WEAK, WHY, card_text
from prompts import diagnoses

MADE = {"trained_on": "Simulated studies only.", "licence": "MIT", "made_by": "a test"}


def test_a_weak_name_stands_with_its_reason_and_a_rare_one_as_untold() -> None:
    names, rng = ("cavernoma", "meningioma", "syrinx"), np.random.default_rng(0)
    truth = np.zeros((200, 3), bool)
    truth[:20, 0] = truth[20:40, 1] = truth[40:42, 2] = True
    scores = rng.standard_normal((200, 3))
    scores[:, 1] += 9 * truth[:, 1]
    text = card_text("abc", MADE, names, scores, truth)
    weak, all_, untold = (part for part in text.split("## ")[1:])
    assert weak.startswith(f"Below {WEAK:.2f}\n- cavernoma 0.")
    assert WHY["cavernoma"] in weak
    assert "meningioma" not in weak
    assert "- meningioma 1.00 (20)" in all_
    assert "syrinx" not in all_
    assert "syrinx" in untold
    assert "abc" in text
    assert "Simulated studies only." in text


def test_reasons_belong_to_names_of_the_table() -> None:
    assert WHY.keys() <= diagnoses.load().keys()
