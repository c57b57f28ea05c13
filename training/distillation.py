"""A small network learning from large ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from fer.analysis import find_weights
from fer.model_card import WEIGHTS_FILE, UnknownModelError, load_card, verified_file
from fer.networks import ExpressionNetwork, load_network


class Teachers:
    """An ensemble that looks at the student's own pictures (Hinton et al. 2015, Beyer et al. 2022).

    Args:
        networks: Trained networks with the student's heads, on its device.
        share: Weight of the teachers in the student's loss, in [0, 1]; the labels have the rest.
        temperature: Softens teachers and student alike.
    """

    def __init__(self, networks: Sequence[ExpressionNetwork], share: float, temperature: float) -> None:
        self.networks = [network.eval().requires_grad_(False) for network in networks]
        self.share, self.temperature = share, temperature

    @torch.no_grad()
    def answers(self, crops: Tensor) -> dict[str, Tensor]:
        """The mean of the teachers' softened probabilities, by head.

        Args:
            crops: ``uint8`` of shape (N, C, S, S), as the student gets them.
        """
        all_logits = [network.judged_logits(crops) for network in self.networks]
        return {
            head: torch.stack(
                [torch.softmax(logits[head].float() / self.temperature, dim=1) for logits in all_logits]
            ).mean(dim=0)
            for head in all_logits[0]
        }

    def loss(
        self, logits: Mapping[str, Tensor], answers: Mapping[str, Tensor], shares: Mapping[str, float]
    ) -> Tensor:
        """Cross-entropy to the teachers' answers, summed by head share, shape (N,).

        The square of the temperature keeps the gradient's size.
        """
        total = torch.zeros((), device=next(iter(logits.values())).device)
        for head, share in shares.items():
            log_shares = functional.log_softmax(logits[head].float() / self.temperature, dim=1)
            loss = -(answers[head] * log_shares).sum(dim=1)
            total = total + share * self.temperature**2 * loss
        return total


def load_teachers(
    names: Sequence[str], heads: Sequence[str], share: float, temperature: float, device: torch.device
) -> Teachers:
    """Load teachers from weights folders.

    Raises:
        UnknownModelError: A teacher is missing or lacks a head of the student.
    """
    networks = []
    for name in names:
        folder = find_weights(Path(name))
        card = load_card(folder)
        lacking = set(heads) - {head.name for head in card.heads}
        if lacking:
            raise UnknownModelError(
                f"expected a teacher with heads {', '.join(heads)}, "
                f"{folder} lacks {', '.join(sorted(lacking))}"
            )
        network = load_network(verified_file(folder, card, WEIGHTS_FILE), card)
        networks.append(network.to(device).to(memory_format=torch.channels_last))
    return Teachers(networks, share, temperature)
