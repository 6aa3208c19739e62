"""What the name of a metric suggests: is more better, or less?"""

from __future__ import annotations

import re

LESS_IS_BETTER = re.compile(  # a word of a metric's name
    "loss|losses|error|err|mse|rmse|mae|nll|regret|perplexity|ppl|cost|kl|distance|deviation|wer|cer|fid"
)
MORE_IS_BETTER = re.compile(
    "accuracy|acc|reward|rewards|return|returns|auc|f1|likelihood|bleu|precision|recall|success|iou|psnr|ssim|elo|wins"
)


def hinted(metric: str) -> int:
    """Returns 1 if a metric's name suggests that more is better, -1 if it suggests that less is, else 0.

    >>> [hinted(name) for name in ("accuracy", "valid/loss", "log_likelihood", "neg_loss", "score", "nll")]
    [1, -1, 1, 1, 0, -1]
    """
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", metric).lower())
    sign = -1 if {"neg", "negative", "minus"} & set(words) else 1
    if any(map(MORE_IS_BETTER.fullmatch, words)):
        return sign
    return -sign if any(map(LESS_IS_BETTER.fullmatch, words)) else 0
