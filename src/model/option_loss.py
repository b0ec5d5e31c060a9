"""The loss over options: of what can be meant, the answer shall be the most probable (a softmax over them).

The options stand behind the row that is trained on, as a tree that sees the prompt only (see `weighing.Tree`): one pass
gives the usual loss of the answer's tokens, unchanged, and this one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from src.model.decoding import AnswerGrammar
from src.model.weighing import Tree

IGNORED = -100
"""Label of a token the usual loss leaves out (the only value PyTorch's cross entropy ignores)."""

OF_OPTIONS = ("tree", "entities", "right", "after")
"""What `option_loss` needs of a batch, and the model does not."""


def with_options(
    batch: Mapping[str, Any], grammar: AnswerGrammar, entities: Sequence[str], options: Sequence[Sequence[str]],
    right: Sequence[int],
) -> dict[str, Any]:  # fmt: skip
    """A batch of `TrainingCollator.batch` with the options of each row behind it, and what `option_loss` needs.

    ``right``: which option is the answer of a row; their number for silence, -1 where none is.
    """
    tree = Tree.of(grammar, entities, options)
    ids, own, labels = batch["input_ids"], batch["attention_mask"].bool(), batch["labels"]
    rows, width = ids.shape
    prompts = own & (labels == IGNORED)
    none = torch.zeros(rows, 0, dtype=torch.bool)
    seen = tree.mask(none, prompts)
    seen[:, 0, :width, :width] = own.unsqueeze(1) & torch.ones(width, width, dtype=torch.bool).tril()
    positions = torch.cat([(own.cumsum(dim=1) - 1).clamp(min=0), tree.positions(none, prompts)[:, width:]], dim=1)
    beside = torch.full_like(tree.tokens, IGNORED)
    labels = torch.cat([labels, beside], dim=1)
    keep = torch.cat([batch["logits_to_keep"], tree.option >= 0], dim=1)
    shifted = torch.cat([labels[:, 1:width], beside[:, :1], beside], dim=1)
    places = []
    for entity, texts, number in zip(entities, options, right, strict=True):
        known = 0 <= number < len(texts) and grammar.path(entity, texts[number])
        places.append(number if known else max(1, tree.most) if number == len(texts) else -1)
    more = {"tree": tree, "entities": list(entities), "right": torch.tensor(places), "after": prompts.sum(dim=1) - 1}
    return {**batch, "input_ids": torch.cat([ids, tree.tokens], dim=1), "attention_mask": seen, "labels": labels,
            "position_ids": positions, "logits_to_keep": keep, "shift_labels": shifted[keep], **more}  # fmt: skip


def option_loss(grammar: AnswerGrammar, logits: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
    """Mean negative log probability of the answers among their options, over rows whose answer is one; 0 for none.

    ``logits`` float (kept positions, vocabulary) as the model gives them for a batch of `with_options`.
    """
    tree, keep, right = batch["tree"].to(logits.device), batch["logits_to_keep"], batch["right"].to(logits.device)
    some = logits[:, grammar.tokens].float()
    table = torch.zeros(*keep.shape, some.shape[1], dtype=some.dtype, device=some.device)
    table = table.index_put(keep.nonzero(as_tuple=True), some)
    rows = torch.arange(len(keep), device=logits.device)
    first, inside = table[rows, batch["after"].to(logits.device)], table[:, keep.shape[1] - tree.tokens.shape[1] :]
    chances = torch.log_softmax(tree.log_chances(grammar, batch["entities"], first, inside), dim=1)
    there = right >= 0
    if not there.any():
        return logits.sum() * 0
    return -chances[there].gather(1, right[there].unsqueeze(1)).mean()
