"""w = d·q + m: blocks of 32 weights as 4-bit q with one scale and one offset (GGUF's Q4_1), expanded to float32 once.

The package holds SmolLM2-135M-Instruct in llama.cpp's file format. transformers can read it, in twenty seconds
and into a model that refuses to be saved; here it is read once and written as the folder transformers loads in
less than one. Four bits are what was published: float32 makes them usable, not more precise.
"""

from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors.torch import save_file
from tqdm.auto import tqdm
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig

from lorakit import assets

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BYTES = 4 * 134_515_008
NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def unpacked() -> Path:
    """The float32 folder in the cache, written on the first call; raises what `assets.fetch` raises."""
    packed = assets.fetch("smollm2")
    folder = packed.with_name(f"{packed.name}-float32")
    if not folder.is_dir():
        with assets.workshop(folder, needs=BYTES) as room:
            convert(packed / FILE, room / "model")
            assets.publish(room / "model", folder)
    return folder


def convert(packed: Path, folder: Path) -> None:
    """Write config, weights, generation config, tokenizer and chat template of a Llama GGUF file to `folder`."""
    reader = GGUFReader(packed)
    config = configuration(reader)
    folder.mkdir()
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(packed.parent, gguf_file=packed.name).save_pretrained(folder)
    weights = folder / "model.safetensors"
    save_file(state(reader, config), weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # a cache may be shared by a class


def configuration(reader: GGUFReader) -> LlamaConfig:
    """The config that the file's own fields describe; the output layer is tied, for the file has none."""

    def field(key):
        return reader.fields[key].parts[-1][0].item()

    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=field("llama.vocab_size"),
        hidden_size=field("llama.embedding_length"),
        intermediate_size=field("llama.feed_forward_length"),
        num_hidden_layers=field("llama.block_count"),
        num_attention_heads=field("llama.attention.head_count"),
        num_key_value_heads=field("llama.attention.head_count_kv"),
        max_position_embeddings=field("llama.context_length"),
        rms_norm_eps=field("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": field("llama.rope.freq_base")},
        bos_token_id=field("tokenizer.ggml.bos_token_id"),
        eos_token_id=field("tokenizer.ggml.eos_token_id"),
        pad_token_id=field("tokenizer.ggml.padding_token_id"),
        tie_word_embeddings=True,
    )


def state(reader: GGUFReader, config: LlamaConfig) -> dict[str, torch.Tensor]:
    """float32 tensors under transformers' names; the rows of query and key change their order within a head."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    return dict(_renamed(tensor, heads) for tensor in tqdm(reader.tensors, desc="smollm2 to float32", leave=False))


def _renamed(tensor, heads):
    *block, kind, _ = tensor.name.split(".")  # blk.7.attn_q.weight, token_embd.weight
    weight = dequantize(tensor.data, tensor.tensor_type)
    weight = halves(weight, heads[kind]) if kind in heads else weight
    layer = f"layers.{block[1]}." if block else ""
    return f"model.{layer}{NAMES[kind]}.weight", torch.from_numpy(np.array(weight, np.float32))


def halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undo llama.cpp's row order within each head: it rotates (0,1), (2,3) …, transformers (0, d/2), (1, d/2+1) …"""
    pairs = weight.reshape(heads, -1, 2, weight.shape[1])  # (heads, d/2, 2, in)
    return pairs.swapaxes(1, 2).reshape(weight.shape)
