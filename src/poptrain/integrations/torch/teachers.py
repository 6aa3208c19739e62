"""Teachers: members that others learn from, as BG-PBT's students with new architectures do.

    class Classifier(TorchMember):
        def distill(self, teacher, hp, steps, progress):
            for step in range(steps):
                x, y = …
                logits = self.model(x)
                alpha = pt.teacher_weight(progress, step / steps)
                loss = cross_entropy(logits, y) + alpha * imitation(logits, teacher.model(x))
                …

The teacher is another member of the class, loaded with its own hyperparameters. It is in evaluation mode, and it cannot learn.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax


def imitation(logits: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Returns the mean divergence KL(teacher || student) of the class probabilities, as a scalar that can be differentiated.

    At a temperature T the logits are divided by T, and the result is multiplied by T², so that its gradient keeps its size
    (Hinton et al. 2015, arXiv 1503.02531, section 2).

    Args:
        logits: of the student, shape (batch, classes).
        teacher: its logits, same shape; no gradient flows into it.
        temperature: greater than 1 also teaches the ratios of small probabilities.
    """
    own, taught = log_softmax(logits / temperature, -1), log_softmax(teacher.detach() / temperature, -1)
    return kl_div(own, taught, reduction="batchmean", log_target=True) * temperature**2


def hold(networks: Iterable[nn.Module]) -> None:
    """Puts the networks of a teacher into evaluation mode, and keeps gradients away from them."""
    for network in networks:
        network.eval().requires_grad_(False)
