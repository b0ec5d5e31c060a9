"""The loss over options: cross entropy of the label in a softmax over all that could be answered.

The options stand behind the row that is trained on, as a tree that sees the prompt only (see `OptionTree`).
One pass gives the usual loss over the answer's tokens, unchanged, and this one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from src.model.decoding import AnswerGrammar
from src.model.scoring import OptionTree

IGNORED = -100
"""Label of a token that the usual loss leaves out (the only value that PyTorch's cross entropy ignores)."""

OF_OPTIONS = ("tree", "entities", "right", "after")
"""Names in a batch that `option_loss` needs and the model does not take."""


def with_options(
    batch: Mapping[str, Any],
    grammar: AnswerGrammar,
    entities: Sequence[str],
    options: Sequence[Sequence[str]],
    right: Sequence[int],
) -> dict[str, Any]:
    """Return a batch of `TrainingCollator.batch` with the options behind each row, for `option_loss`.

    ``input_ids``, ``labels``, ``position_ids`` int64 and ``logits_to_keep`` bool then are (rows, tokens +
    width of the tree); ``attention_mask`` stays (rows, tokens), see `attention`. ``right``: which option is
    a row's label, by its position, the number of options for abstain, -1 where none is.
    """
    tree = OptionTree.of(grammar, entities, options)
    ids, mask, labels = batch["input_ids"], batch["attention_mask"].bool(), batch["labels"]
    width = ids.shape[1]
    prompts = mask & (labels == IGNORED)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    tree_positions = tree.positions(prompts[:, :0], prompts)[:, width:]
    tree_labels = torch.full_like(tree.tokens, IGNORED)
    keep = torch.cat([batch["logits_to_keep"], tree.option >= 0], dim=1)
    columns = []  # of the labels in `Tree.log_chances`
    for entity, texts, number in zip(entities, options, right, strict=True):
        if number == len(texts):
            columns.append(max(1, tree.most))
        else:
            columns.append(number if number >= 0 and grammar.path(entity, texts[number]) else -1)
    shifted = torch.cat([labels[:, 1:], tree_labels[:, :1], tree_labels], dim=1)
    return {
        **batch,
        "input_ids": torch.cat([ids, tree.tokens], dim=1),
        "labels": torch.cat([labels, tree_labels], dim=1),
        "logits_to_keep": keep,
        "position_ids": torch.cat([positions, tree_positions], dim=1),
        "shift_labels": shifted[keep],
        "tree": tree,
        "entities": list(entities),
        "right": torch.tensor(columns),
        "after": prompts.sum(dim=1) - 1,
    }


def attention(batch: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return what a batch of `with_options` adds to the attention: (rows, 1, all tokens, all tokens).

    The row sees itself; its options see the prompt and themselves. Made on the device, because it is large.
    """
    mask, tree = batch["attention_mask"].to(device).bool(), batch["tree"].to(device)
    width = mask.shape[1]
    prompts = mask & (batch["labels"].to(device)[:, :width] == IGNORED)
    seen = tree.mask(prompts[:, :0], prompts)
    causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    seen[:, 0, :width, :width] = mask.unsqueeze(1) & causal
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, torch.finfo(dtype).min)


def option_loss(grammar: AnswerGrammar, logits: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
    """Return the negative log-probability of the labels among their options, a mean over the rows.

    A row without a label among its options adds 0. ``logits`` float (kept positions, columns): those of
    ``grammar.tokens`` at the kept positions of `with_options`.
    """
    device = logits.device
    tree = batch["tree"].to(device)
    keep, right, after = (batch[name].to(device) for name in ("logits_to_keep", "right", "after"))
    table = torch.zeros(*keep.shape, logits.shape[1], device=device)
    table = table.index_put(keep.nonzero(as_tuple=True), logits.float())
    first = table[torch.arange(len(keep), device=device), after]
    inside = table[:, keep.shape[1] - tree.tokens.shape[1] :]
    scores = torch.log_softmax(tree.log_probabilities(grammar, batch["entities"], first, inside), dim=1)
    label_scores = scores.gather(1, right.clamp(min=0).unsqueeze(1)).squeeze(1)
    return -torch.where(right >= 0, label_scores, 0.0).sum() / len(right)
