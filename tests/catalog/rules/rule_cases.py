"""Cases of the rules: for every reason a change to a sound adapter that fires it, the evidence, and a near miss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from catalog.adapters.adapter import AdapterId, LoraShape
from catalog.adapters.facts import AdapterFacts
from catalog.adapters.parse import Problem, Tensor
from catalog.rules.table import (
    Base,
    Policy,
)

SHA = "a" * 40
CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
BASE = Base("Tiny/Llama", SHA, {"q": (16, 32), "v": (16, 8), "lm_head": (16, 100)}, {"wte": (100, 16)})
Q, V = LoraShape("q", 4, 16, 32, "F32"), LoraShape("v", 4, 16, 8, "F32")
CONFIG_FIELDS = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "Tiny/Llama",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q", "v"],
}
SOUND = AdapterFacts(
    id=AdapterId("ann/colours", "", SHA),
    files=(CONFIG, WEIGHTS),
    licence="mit",
    gated=False,
    downloads=5,
    config=CONFIG_FIELDS,
    size=1000,
    sha256="f" * 64,
    lora=(Q, V),
    other_tensors=(),
    header_read=True,
)


def named(repo: str = "ann/colours", path: str = "", sha: str = SHA) -> dict[str, Any]:
    return {"id": AdapterId(repo, path, sha)}


def config(**fields: object) -> dict[str, Any]:
    return {"config": CONFIG_FIELDS | fields}


def problem(reason: str) -> dict[str, Any]:
    return {"problems": (Problem(reason, "seen"),)}


def files(*names: str) -> dict[str, Any]:
    return {"files": (CONFIG, *names)}


def tensors(**shapes: tuple[int, ...]) -> dict[str, Any]:
    """Tensors of a header by name, `__` standing for the dot."""
    found = {name.replace("__", "."): shape for name, shape in shapes.items()}
    return {"tensors": tuple(Tensor(name, "F32", shape, 0, 0) for name, shape in found.items())}


def dtypes(*names: str) -> dict[str, Any]:
    return {"tensors": tuple(Tensor(f"t{i}", name, (1,), 0, 0) for i, name in enumerate(names))}


def saved(*names: str) -> dict[str, Any]:
    return {"other_tensors": names}


def lora(*modules: str) -> dict[str, Any]:
    """Q's pair at other modules, all of them targeted."""
    return {"lora": tuple(replace(Q, module=m) for m in modules), **config(target_modules=list(modules))}


P = "base_model__model__"
POLICY = Policy(max_rank=4, max_bytes=1000, licences=("mit",), dora=False, min_downloads=5, blocked=("eve",))
LOOSE = replace(POLICY, dora=True)  # for the rules about DoRA's tensors
UNREAD: dict[str, Any] = {"lora": (), "header_read": False}
REMEDY = '. If it is a copy of a base, say so: LORAUTER_ALIASES=\'{{"{}": "org/model"}}\''
FITS = "; its shapes fit Tiny/Llama, as they fit whatever was made from it"
UNKNOWN = ", and the card names no base"

# reason: changes to the sound adapter that fire it, the evidence, changes that come close and do not
CASES: dict[str, list[tuple[dict[str, Any], str, dict[str, Any]]]] = {
    "hostile_name": [
        (named("ann/x\n"), r"repo id 'ann/x\n'", named("ann/x")),
        (named("ann/a--b"), "repo id 'ann/a--b'", named("ann/a-b")),
        (named("../x"), "repo id '../x'", named("a.b/x")),
        (named(path="../up"), "file name '../up'", named(path="..up")),
        (named(path="a\u2028b"), r"file name 'a\u2028b'", named(path="a b")),
        (named(sha="main"), "commit sha 'main'", named(sha="0" * 40)),
        (named(sha=SHA + "\n"), f"commit sha '{SHA}\\n'", {}),
        (files(WEIGHTS, "a\\b"), r"file name 'a\\b'", files(WEIGHTS, "a-b")),
    ],
    "colliding_names": [
        (
            files(WEIGHTS, "Adapter_Model.safetensors"),
            "'adapter_model.safetensors' and 'Adapter_Model.safetensors' are one file on some disks",
            files(WEIGHTS, "README.md", "readme.md"),
        ),
        (
            files(WEIGHTS, "adapter_mode\uff4c.safetensors"),
            "'adapter_model.safetensors' and 'adapter_mode\uff4c.safetensors' are one file on some disks",
            files(WEIGHTS, "adapter_mode1.safetensors"),
        ),
    ],
    "gated": [({"gated": True}, "the repo is gated or private", {"gated": False})],
    "blocked_author": [(named("eve/x"), "author 'eve' is blocked", named("evelyn/x"))],
    "no_adapter": [({"files": (WEIGHTS,)}, f"no {CONFIG} in the repo", files(WEIGHTS))],
    "disabled": [(problem("disabled"), "seen", problem("unheard"))],
    "withheld": [(problem("withheld"), "seen", problem("unheard"))],
    "gone": [(problem("gone"), "seen", problem("unheard"))],
    "unreadable": [(problem("unreadable"), "seen", problem("unheard"))],
    "unreachable": [(problem("unreachable"), "seen", problem("unheard"))],
    "bad_config": [(problem("bad_config"), "seen", {})],
    "not_peft": [
        (
            {"config": {"fine_tune_type": "lora", "num_layers": 16}},
            "no peft_type; the fields are fine_tune_type, num_layers (MLX)",
            {"config": None},
        ),
        ({"config": {}}, "no peft_type; the fields are none", {}),
    ],
    "peft_type": [
        (config(peft_type="IA3"), "peft_type is 'IA3'", config(peft_type="LORA")),
        (config(peft_type="UNILORA"), "peft_type is 'UNILORA'", {}),
    ],
    "task_type": [(config(task_type="SEQ_CLS"), "task_type is 'SEQ_CLS'", config(task_type=None))],
    "base_kind": [
        (
            config(auto_mapping={"base_model_class": "UNet2DConditionModel"}),
            "the base's class is 'UNet2DConditionModel'",
            config(auto_mapping={"base_model_class": "Qwen2ForCausalLM"}),
        ),
        (
            config(auto_mapping={"base_model_class": "WhisperForConditionalGeneration"}),
            "the base's class is 'WhisperForConditionalGeneration'",
            config(auto_mapping={"base_model_class": "GPT2LMHeadModel"}),
        ),
    ],
    "malformed_field": [
        (config(r=0), "r is 0", config(r=4)),
        (config(bias="foo"), "bias is 'foo', and PEFT knows none, all and lora_only", config(bias="lora_only")),
        (config(lora_dropout=1.5), "lora_dropout is 1.5", config(lora_dropout=1)),
        (config(alpha_pattern=None), "alpha_pattern is None", config(alpha_pattern={})),
        (config(eva_config={"rho": 0.5}), "eva_config is {'rho': 0.5}", config(eva_config={"rho": 2.0})),
        (config(revision=7), "revision is 7", config(revision=None)),
        (
            config(init_lora_weights="kaiming"),
            "init_lora_weights is 'kaiming', which PEFT 0.21 does not know",
            config(init_lora_weights="MiCA"),
        ),
        (
            config(init_lora_weights=1),
            "init_lora_weights is 1, which PEFT 0.21 does not know",
            config(init_lora_weights=0),
        ),
        (
            {"lora": (replace(Q, rank=3), V), **config(init_lora_weights="orthogonal", rank_pattern={"q": 3})},
            "init_lora_weights is 'orthogonal', which takes an even rank: 'q' has rank 3",
            config(init_lora_weights="orthogonal"),
        ),
        (config(lora_alpha="8"), "lora_alpha is '8'", config(lora_alpha=8.0)),
        (config(rank_pattern=[4]), "rank_pattern is [4]", config(rank_pattern={"q": 4})),
        (config(alpha_pattern={"q": None}), "alpha_pattern is {'q': None}", config(alpha_pattern={"q": 1.5})),
        (config(use_rslora="yes"), "use_rslora is 'yes'", config(use_rslora=True)),
        (
            config(target_modules=".*[qv]", layers_to_transform=[0]),
            "layers_to_transform beside a target_modules that is a text",
            config(target_modules=".*[qv]"),
        ),
        (
            config(layers_pattern="h"),
            "layers_pattern without layers_to_transform",
            config(layers_pattern="h", layers_to_transform=[0]),
        ),
    ],
    "unknown_base": [
        (
            UNREAD | config(base_model_name_or_path="/home/me/model"),
            f"base_model_name_or_path is '/home/me/model'{UNKNOWN}" + REMEDY.format("/home/me/model"),
            config(base_model_name_or_path="/home/me/Llama"),
        ),
        (
            config(base_model_name_or_path="./merged_sft"),
            f"base_model_name_or_path is './merged_sft'{UNKNOWN}{FITS}" + REMEDY.format("./merged_sft"),
            config(base_model_name_or_path="./Llama-4bit"),
        ),
        (
            config(base_model_name_or_path=None),
            f"base_model_name_or_path is None{UNKNOWN}{FITS}",
            {"card_bases": ("Tiny/Llama",), **config(base_model_name_or_path=None)},
        ),
        (
            UNREAD | config(base_model_name_or_path=None),
            f"base_model_name_or_path is None{UNKNOWN}",
            UNREAD | {"card_bases": ("Tiny/Llama",), **config(base_model_name_or_path=None)},
        ),
    ],
    "wrong_base": [
        (config(base_model_name_or_path="a/b"), "made for 'a/b'", config(base_model_name_or_path="tiny/llama")),
        (
            config(base_model_name_or_path="b/Llama-2"),
            "made for 'b/Llama-2'",
            config(base_model_name_or_path="b/Llama-bnb-4bit"),
        ),
        (
            {"card_bases": ("c/d",), **config(base_model_name_or_path=None)},
            "made for 'c/d'",
            {"card_bases": ("c/d", "tiny/llama"), **config(base_model_name_or_path=None)},
        ),
    ],
    "misnamed_weights": [
        (files(f"Copy of {WEIGHTS}"), f"no {WEIGHTS}, but 'Copy of {WEIGHTS}'", files(f"Copy of {WEIGHTS}", WEIGHTS)),
        (files("pytorch_lora_weights.safetensors"), f"no {WEIGHTS}, but 'pytorch_lora_weights.safetensors'", {}),
        (
            files("adapter_model-00001-of-00002.safetensors"),
            f"no {WEIGHTS}, but 'adapter_model-00001-of-00002.safetensors'",
            {},
        ),
    ],
    "pickle_only": [(files(PICKLE), f"only {PICKLE}, a pickle, which is never opened", files(PICKLE, WEIGHTS))],
    "no_weights": [
        (files(), f"no {WEIGHTS}", files(WEIGHTS)),
        (files("training_args.bin", "model.safetensors"), f"no {WEIGHTS}", {}),
    ],
    "lfs_pointer": [(problem("lfs_pointer"), "seen", {})],
    "bad_header": [(problem("bad_header"), "seen", {})],
    "truncated": [(problem("truncated"), "seen", {})],
    "no_lora_tensors": [
        ({"lora": (), **saved("w")}, "no lora_A / lora_B pair among 1 tensors", {}),
        ({"lora": ()}, "no lora_A / lora_B pair among 0 tensors", {"lora": (), "header_read": False}),
    ],
    "key_prefix": [
        (
            tensors(**{f"{P * 3}q__lora_A__weight": (4, 16)}),
            "PEFT would not load 'base_model.model.base_model.model.base_model.model.q.lora_A.weight'",
            tensors(**{f"{P}q__lora_A__weight": (4, 16)}),
        ),
        (
            tensors(q__lora_B__weight=(32, 4)),
            "PEFT would not load 'q.lora_B.weight'",
            tensors(**{f"{P}q__lora_B__default__weight": (32, 4)}),
        ),
        (
            tensors(**{f"{P}q__lora_A__mine__weight": (4, 16)}),
            "PEFT would not load 'base_model.model.q.lora_A.mine.weight'",
            {},
        ),
    ],
    "dtype": [(dtypes("F32", "I8"), "tensors of dtype I8", dtypes("F32", "BF16", "F16", "F64"))],
    "alora": [
        (
            config(alora_invocation_tokens=[1, 2]),
            "alora_invocation_tokens is [1, 2]",
            config(alora_invocation_tokens=None),
        )
    ],
    "layer_replication": [
        (config(layer_replication=[[0, 2]]), "layer_replication is [[0, 2]]", config(layer_replication=None))
    ],
    "changed_base": [
        (
            config(init_lora_weights="pissa"),
            "init_lora_weights is 'pissa', which changes the base",
            config(init_lora_weights="gaussian"),
        ),
        (
            config(init_lora_weights="loftq"),
            "init_lora_weights is 'loftq', which changes the base",
            config(init_lora_weights=False),
        ),
        (
            config(init_lora_weights="OLoRA"),
            "init_lora_weights is 'OLoRA', which changes the base",
            config(init_lora_weights="lora_ga"),
        ),
        (
            config(init_lora_weights="corda"),
            "init_lora_weights is 'corda', which changes the base",
            config(init_lora_weights="mica"),
        ),
    ],
    "unserved_option": [
        (config(kasa_config={}), "uses kasa_config", config(kasa_config=None, megatron_config={})),
        (
            config(use_qalora=True, target_parameters=["e"]),
            "uses target_parameters, use_qalora",
            config(use_qalora=False, target_parameters=[], qalora_group_size=16, megatron_core="megatron.core"),
        ),
    ],
    "hybrid_config": [
        (
            config(lora_parameters={"rank": 8, "scale": 20.0}, fine_tune_type="lora", num_layers=16),
            "fields of PEFT and of MLX in one config: lora_parameters, fine_tune_type",
            config(lora_parameters=None, fine_tune_type=""),
        )
    ],
    "base_revision": [
        (
            config(revision="step1000"),
            f"made for the base's revision 'step1000', and the base here is main ({SHA[:12]})",
            config(revision="main"),
        ),
        (
            config(revision="b" * 40),
            f"made for the base's revision '{'b' * 40}', and the base here is main ({SHA[:12]})",
            config(revision=SHA),
        ),
        (
            config(revision="v1"),
            f"made for the base's revision 'v1', and the base here is main ({SHA[:12]})",
            config(revision="unsloth"),
        ),
    ],
    "broken_pair": [
        (
            tensors(
                **{f"{P}q__lora_A__weight": (4, 16), f"{P}q__lora_B__weight": (32, 4), f"{P}k__lora_A__weight": (4, 16)}
            ),
            "only one of lora_A and lora_B (lora_A (4, 16)) at 'k', 1 such modules",
            tensors(**{f"{P}q__lora_A__weight": (4, 16), f"{P}q__lora_B__weight": (32, 4)}),
        ),
        (
            tensors(**{f"{P}k__lora_A__weight": (4, 16), f"{P}k__lora_B__weight": (32, 8)}),
            "a shape mismatch (lora_A (4, 16) and lora_B (32, 8)) at 'k', 1 such modules",
            {},
        ),
        (
            tensors(**{f"{P}k__lora_A__weight": (4, 16, 3), f"{P}k__lora_B__weight": (32, 4, 1)}),
            "LoRA on a convolution (lora_A (4, 16, 3) and lora_B (32, 4, 1)) at 'k', 1 such modules",
            {},
        ),
    ],
    "rank_mismatch": [
        (
            config(r=8),
            "2 of 2 modules have another rank, e.g. 'q': 8 in the config, 4 in the weights",
            config(r=8, rank_pattern={"q": 4, "v": 4}),
        )
    ],
    "zero_b": [
        (config(lora_alpha=0), "lora_alpha is 0 for every module: the adapter changes nothing", config(lora_alpha=-1)),
        (
            config(alpha_pattern={"q": 0, "v": 0}),
            "lora_alpha is 0 for every module: the adapter changes nothing",
            config(lora_alpha=0, alpha_pattern={"v": 1}),
        ),
        (UNREAD | config(lora_alpha=0), "lora_alpha is 0 for every module: the adapter changes nothing", UNREAD),
    ],
    "unknown_fields": [
        (
            config(enable_lora=[True, False]),
            "fields unknown to PEFT 0.21: enable_lora",
            config(enable_lora=None, merge_weights=False, fan_in_fan_out=True, new_option={}),
        )
    ],
    "modules_to_save": [(config(modules_to_save=["norm"]), "modules_to_save is ['norm']", config(modules_to_save=[]))],
    "added_rows": [
        (
            tensors(**{f"{P}wte__weight": (102, 16)}),
            "its embeddings have 2 rows more than the base's",
            tensors(**{f"{P}wte__weight": (100, 16)}),
        ),
        (
            tensors(**{f"{P}lm_head__base_layer__weight": (101, 16)}),
            "its embeddings have 1 rows more than the base's",
            tensors(**{f"{P}lm_head__weight": (90, 16)}),
        ),
    ],
    "bias": [
        (saved("q.bias"), "1 trained biases, e.g. 'q.bias'", config(bias="all")),
        (config(lora_bias=True), "lora_bias is on", config(lora_bias=False)),
    ],
    "extra_tensors": [
        (saved("lm_head.weight"), "1 tensors that are no LoRA pair, e.g. 'lm_head.weight', a saved module", saved()),
        (
            saved("wte.lora_embedding_A"),
            "1 tensors that are no LoRA pair, e.g. 'wte.lora_embedding_A', LoRA on embeddings",
            {},
        ),
    ],
    "no_targets": [
        (config(target_modules=None), "target_modules is None", config(target_modules="all-linear")),
        (config(target_modules=[]), "target_modules is []", config(target_modules=".*(q|v)")),
    ],
    "undecidable_pattern": [
        (
            config(target_modules="(q|v"),
            "target_modules, exclude_modules or layers_pattern cannot be matched",
            config(target_modules="(q|v)"),
        ),
        (
            config(alpha_pattern={"(": 1}),
            "alpha_pattern: '(.*\\\\.)?(()$' is no regular expression (missing ) at position 11)",
            config(alpha_pattern={"[q]": 1}),
        ),
    ],
    "untargeted_modules": [
        (
            config(target_modules=["q"]),
            "1 of 2 modules are not targeted, e.g. 'v'",
            config(target_modules=["q", "v", "k"]),
        )
    ],
    "base_unreadable": [],
    "no_matching_modules": [
        (
            lora("h.q", "h.v"),
            "none of 2 modules is in the base, e.g. 'h.q'",
            {"lora": (Q,), **config(target_modules=["q"])},
        )
    ],
    "shape_mismatch": [
        (
            {"lora": (replace(Q, d_in=8), V)},
            "q: 8→32, the base has (16, 32)",
            {"lora": (Q, replace(V, rank=2)), **config(rank_pattern={"v": 2})},
        ),
        ({"lora": (Q, replace(V, d_out=9))}, "v: 16→9, the base has (16, 8)", {}),
    ],
    "unmatched_modules": [(lora("q", "z"), "1 of 2 modules are not in the base, e.g. 'z'", {"lora": (Q, V)})],
    "missing_modules": [
        (
            {"lora": (Q,)},
            "1 of 2 targeted modules have no tensors, e.g. 'v'",
            {"lora": (Q,), **config(exclude_modules=["v"])},
        )
    ],
    "rank": [
        (
            {"lora": (replace(Q, rank=5), V), **config(rank_pattern={"q": 5})},
            "rank 5, the limit is 4",
            {"lora": (Q, V)},
        )
    ],
    "size": [({"size": 1001}, "1001 bytes, the limit is 1000", {"size": 1000})],
    "dora": [(config(use_dora=True), "a DoRA adapter, which the policy excludes", {})],
    "licence": [
        ({"licence": "other"}, "licence 'other' is not among mit", {"licence": "mit"}),
        ({"licence": None}, "licence None is not among mit", {}),
    ],
    "downloads": [({"downloads": 4}, "4 downloads, the least is 5", {"downloads": 5})],
}
