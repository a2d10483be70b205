"""Models that are no text-only causal language models, told by what adapters say of them.

Knows: class names, family names and module names of encoders, translators, vision, audio and diffusion models.
Does not know: the model itself; where its config is at hand, that decides (lorauter/adapters/base_modules).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# transformers' classes for causal LMs that do not end in ForCausalLM; those of Gemma answer text alone as well.
CAUSAL_CLASSES = frozenset(
    (
        "CTRLLMHeadModel",
        "ChatGLMForConditionalGeneration",
        "ChatGLMModel",
        "GPT2LMHeadModel",
        "Gemma3ForConditionalGeneration",
        "Gemma3nForConditionalGeneration",
        "Gemma4ForConditionalGeneration",
        "Gemma4UnifiedForConditionalGeneration",
        "OpenAIGPTLMHeadModel",
        "QWenLMHeadModel",
        "ReformerModelWithLMHead",
        "XLMWithLMHeadModel",
        "XLNetLMHeadModel",
    )
)
# Words of a repo's name, cut at - _ . and in lower case, that only such models carry.
_KINDS = {
    "an encoder": """albert bert camembert codebert deberta distilbert distilroberta electra modernbert roberta xlm""",
    "an encoder and a decoder": """bart byt5 codet5 longt5 m2m100 mbart mt5 nllb pegasus t5 umt5""",
    "a vision model": """blip blip2 clip colpali colqwen2 dinov2 donut florence idefics idefics2 idefics3 instructblip
        internvl llava paligemma pix2struct pixtral siglip smolvlm smolvlm2 trocr vit vl vlm""",
    "an audio model": """audioldm bark hubert musicgen seamless speecht5 wav2vec2 wavlm whisper""",
    "a diffusion model": """controlnet diffusion flux sdxl unet""",
}
# Module names of LoRA pairs that no causal LM of transformers has. OPT's sit in a `decoder`, ChatGLM's in
# `transformer.encoder`, so neither word alone tells.
_MODULES = re.compile(
    r"(?:(?<!^transformer)(?:^|\.)encoder\.(?:layers?|block)\.\d|decoder\.block\.\d|encoder_attn|EncDecAttention"
    r"|(?:^|\.)(?:down_blocks|up_blocks|mid_block|transformer_blocks|single_transformer_blocks)\."
    r"|(?:^|\.)(?:bert|roberta|distilbert|electra|deberta|vision_model|text_model\.encoder)\.)"
)


def foreign_class(config: Mapping[str, Any]) -> str | None:
    """The base's class that PEFT noted down, where that is no causal LM; else None.

    `PeftModel` says that an adapter was made on top of another one, and nothing of the base.
    """
    mapping = config.get("auto_mapping")
    name = mapping.get("base_model_class") if isinstance(mapping, Mapping) else None
    if not isinstance(name, str) or not name or name.startswith("Peft"):
        return None
    return None if is_causal_class(name) else name


def is_causal_class(name: str) -> bool:
    """Whether a class of this name is a causal language model."""
    return name.endswith("ForCausalLM") or name in CAUSAL_CLASSES


def foreign_name(repo: str) -> str | None:
    """What kind of model a repo's name says it is, where that is no causal LM; else None."""
    words = set(re.split(r"[-_.]", repo.rpartition("/")[2].lower()))
    return next((kind for kind, family in _KINDS.items() if words.intersection(family.split())), None)


def foreign_module(modules: Iterable[str]) -> str | None:
    """The first module that no causal LM has, or None."""
    return next((name for name in modules if _MODULES.search(name)), None)
