"""The loss over options: of what can be meant, the answer shall be the most probable (a softmax over them).

The options stand behind the row that is trained on, as a tree that sees the prompt only (see `OptionTree`):
one pass gives the usual loss of the answer's tokens, unchanged, and this one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from src.model.decoding import AnswerGrammar
from src.model.scoring import OptionTree

IGNORED = -100
"""Label of a token the usual loss leaves out (the only value PyTorch's cross entropy ignores)."""

OF_OPTIONS = ("tree", "entities", "right", "after")
"""What `option_loss` needs of a batch, and the model does not."""


def with_options(
    batch: Mapping[str, Any], grammar: AnswerGrammar, entities: Sequence[str], options: Sequence[Sequence[str]],
    right: Sequence[int],
) -> dict[str, Any]:  # fmt: skip
    """A batch of `TrainingCollator.batch` with the options of each row behind it, and what `option_loss`
    needs.

    ``input_ids``, ``labels``, ``position_ids`` int64 and ``logits_to_keep`` bool then are (rows, tokens +
    width of the tree); ``attention_mask`` stays (rows, tokens), see `attention`. ``right``: which option is
    the answer of a row; their number for silence, -1 where none is.
    """
    tree = OptionTree.of(grammar, entities, options)
    ids, own, labels = batch["input_ids"], batch["attention_mask"].bool(), batch["labels"]
    width = ids.shape[1]
    prompts = own & (labels == IGNORED)
    behind = tree.positions(prompts[:, :0], prompts)[:, width:]
    beside = torch.full_like(tree.tokens, IGNORED)
    labels = torch.cat([labels, beside], dim=1)
    keep = torch.cat([batch["logits_to_keep"], tree.option >= 0], dim=1)
    shifted = torch.cat([labels[:, 1:width], beside[:, :1], beside], dim=1)
    places = []
    for entity, texts, number in zip(entities, options, right, strict=True):
        known = 0 <= number < len(texts) and grammar.path(entity, texts[number])
        places.append(number if known else max(1, tree.most) if number == len(texts) else -1)
    more = {
        "tree": tree,
        "entities": list(entities),
        "right": torch.tensor(places),
        "after": prompts.sum(dim=1) - 1,
    }
    return {**batch, "input_ids": torch.cat([ids, tree.tokens], dim=1), "labels": labels, "logits_to_keep": keep,
            "position_ids": torch.cat([(own.cumsum(dim=1) - 1).clamp(min=0), behind], dim=1),
            "shift_labels": shifted[keep], **more}  # fmt: skip


def attention(batch: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """What a batch of `with_options` adds to the attention, (rows, 1, all tokens, all tokens) of ``dtype``.

    The row sees itself, its options the prompt and themselves. Made on the device: it is large.
    """
    own, tree = batch["attention_mask"].to(device).bool(), batch["tree"].to(device)
    width = own.shape[1]
    prompts = own & (batch["labels"].to(device)[:, :width] == IGNORED)
    seen = tree.mask(prompts[:, :0], prompts)
    seen[:, 0, :width, :width] = (
        own.unsqueeze(1) & torch.ones(width, width, dtype=torch.bool, device=device).tril()
    )
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, torch.finfo(dtype).min)


def option_loss(grammar: AnswerGrammar, logits: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
    """Negative log probability of the answers among their options, the mean over rows; 0 of one whose answer
    is none.

    ``logits`` float (kept positions, columns): those of ``grammar.tokens`` at the kept positions of
    `with_options`.
    """
    device = logits.device
    tree, keep, right = (
        batch["tree"].to(device),
        batch["logits_to_keep"].to(device),
        batch["right"].to(device),
    )
    table = torch.zeros(*keep.shape, logits.shape[1], device=device)
    table = table.index_put(keep.nonzero(as_tuple=True), logits.float())
    rows = torch.arange(len(keep), device=device)
    first, inside = table[rows, batch["after"].to(device)], table[:, keep.shape[1] - tree.tokens.shape[1] :]
    chances = torch.log_softmax(tree.log_probabilities(grammar, batch["entities"], first, inside), dim=1)
    chosen = chances.gather(1, right.clamp(min=0).unsqueeze(1)).squeeze(1)
    return -torch.where(right >= 0, chosen, 0.0).sum() / len(right)
