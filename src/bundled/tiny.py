"""The tiny IDEFICS2's parts that are not trained: tokenizer, image processor, sizes of the layers."""

import importlib.resources
import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, Idefics2Config, Idefics2Processor, LlamaTokenizer
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil

from src.data.errors import InputError
from src.model.idefics2 import SPECIAL_TOKENS

# The published chat template of IDEFICS2 (this repo's prompts render the same text with explicit spaces).
CHAT_TEMPLATE = (
    "{% for message in messages %}{{message['role'].capitalize()}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def write_processor(folder: Path) -> None:
    """Write IDEFICS2's tokenizer and image processor settings into ``folder``. Needs requirements-dev.txt."""
    try:
        import mistral_common  # noqa: F401
        from tokenizers import AddedToken
        from tokenizers.models import BPE
        from transformers.convert_slow_tokenizer import SentencePieceExtractor
    except ImportError:
        raise InputError("mistral-common is missing; pip install -r requirements-dev.txt") from None
    spm = importlib.resources.files("mistral_common") / "data" / "tokenizer.model.v1"
    extracted: Any = SentencePieceExtractor(str(spm)).extract(BPE)  # a dict, whatever its type says
    tokenizer = LlamaTokenizer(extracted["vocab"], extracted["merges"], pad_token="<unk>", add_bos_token=True)
    added = [AddedToken(token, normalized=False, special=True) for token in list(SPECIAL_TOKENS)[1:]]
    tokenizer.add_tokens(added, special_tokens=True)
    tokenizer.save_pretrained(folder)
    # TokenizersBackend takes tokenizer.json as it is; LlamaTokenizer would rebuild it from its own defaults.
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text()) | {"tokenizer_class": "TokenizersBackend"}
    config.write_text(json.dumps(settings, indent=2) + "\n")
    images = Idefics2ImageProcessorPil(do_image_splitting=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = Idefics2Processor(images, tokenizer, image_seq_len=64, chat_template=CHAT_TEMPLATE)
    processor.save_pretrained(folder)


def tiny_config() -> Idefics2Config:
    """Return few, small layers of every part, embeddings tied: the vocabulary has 4.1 M of the parameters."""
    layers = {"hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 4}
    vision = layers | {"num_hidden_layers": 3, "image_size": 980, "patch_size": 14}
    perceiver = {"hidden_size": 128, "rms_norm_eps": 1e-5, "num_key_value_heads": 2}
    perceiver |= {"resampler_n_latents": 64, "resampler_depth": 2}
    perceiver |= {"resampler_n_heads": 4, "resampler_head_dim": 32}
    text = layers | {
        "model_type": "mistral",
        "num_hidden_layers": 6,
        "num_key_value_heads": 4,
        "head_dim": 32,
    }
    text |= {"vocab_size": 32003, "max_position_embeddings": 2048, "sliding_window": None}
    text |= {"rms_norm_eps": 1e-5, "tie_word_embeddings": True}
    text |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = Idefics2Config(
        text_config=text, vision_config=vision, perceiver_config=perceiver, tie_word_embeddings=True
    )
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, SPECIAL_TOKENS["<end_of_utterance>"], 0
    return config
