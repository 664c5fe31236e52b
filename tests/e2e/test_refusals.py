#!/usr/bin/env python3
"""Model directories that cannot be right, as `tenon plan` refuses them: one sentence each, word for word, before a weight is read.

Each case mangles a good directory (a tiny Llama of golden/families, plain or packed as GPTQ or AWQ) in one way. The good ones pass."""
import json
import os
import struct
import subprocess
import tempfile

from in_family_directory import tokenizer

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../reference/golden/families/llama")
FORMATS = "; the plugins of quant.plugins read: GGUF, awq, gptq, compressed-tensors, fp8, mxfp4, no quantization"
TOKENIZERS = "none of the tokenizer plugins (tokenizer_bpe,tokenizer_spm) knows this tokenizer: "


# ---- directories ----

def read_tensors(path):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for name, t in header.items()}


def write_tensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def zeros(dtype, *shape):
    size = {"I32": 4, "F16": 2}[dtype]
    for n in shape:
        size *= n
    return dtype, list(shape), bytes(size)


def packed(tensors, method, group):
    """Every matrix of the layers in the layout of 4-bit GPTQ or AWQ, its values all zero."""
    out = {}
    for name, (dtype, shape, data) in tensors.items():
        stem = name.removesuffix(".weight")
        if not stem.endswith("_proj"):
            out[name] = dtype, shape, data
            continue
        rows, columns = shape
        out[stem + ".qweight"] = (zeros("I32", columns // 8, rows) if method == "gptq" else zeros("I32", columns, rows // 8))
        out[stem + ".qzeros"] = zeros("I32", columns // group, rows // 8)
        out[stem + ".scales"] = zeros("F16", columns // group, rows)
        if method == "gptq":
            out[stem + ".g_idx"] = "I32", [columns], struct.pack(f"<{columns}i", *(i // group for i in range(columns)))
    return out


class Model:
    """A directory to be: change its parts, then write it."""

    def __init__(self, method=None, group=32):
        with open(os.path.join(GOLDEN, "config.json")) as file:
            self.config = json.load(file)
        self.tensors = read_tensors(os.path.join(GOLDEN, "model.safetensors"))
        self.weights = "model.safetensors"
        self.files = {"tokenizer.json": tokenizer()}  # name: object, or text as it is
        if method:
            self.tensors = packed(self.tensors, method, group)
            self.config["quantization_config"] = {"quant_method": method, "bits": 4, "group_size": group}
        self.quantization = self.config.get("quantization_config")

    def write(self, folder):
        for name, content in {"config.json": self.config, **self.files}.items():
            if content is not None:
                with open(os.path.join(folder, name), "w") as file:
                    file.write(content if isinstance(content, str) else json.dumps(content))
        if self.tensors is not None:
            write_tensors(os.path.join(folder, self.weights), self.tensors)


def plan(model):
    with tempfile.TemporaryDirectory() as folder:
        model.write(folder)
        done = subprocess.run([os.environ["TENON"], "plan", folder, "--set", "plugins.path=" + os.environ["TENON_PLUGINS"]],
                              capture_output=True, text=True, timeout=120)
        return done.returncode, done.stderr.replace(folder, "DIR")


# ---- cases ----

CASES = []


def case(sentence, method=None):
    """Registers a function that mangles Model(method), and what must be said; "..." stands for the rest."""
    def register(mangle):
        CASES.append((mangle.__name__, mangle, method, sentence))
        return mangle
    return register


@case('DIR: config.json: quant_method "hqq" is not supported' + FORMATS)
def unknown_quant_method(m):
    m.config["quantization_config"] = {"quant_method": "hqq", "bits": 4}


@case("DIR: config.json: quantization_config has no quant_method" + FORMATS)
def quant_method_of_no_name(m):
    m.config["quantization_config"] = {"bits": 4}


@case("DIR: config.json's quantization_config and quantize_config.json contradict each other on 'bits': remove the "
      "stale one", "gptq")
def two_quantization_configs(m):
    m.files["quantize_config.json"] = {"bits": 8, "group_size": 32}


@case("DIR: config.json's quantization_config and quant_config.json contradict each other on 'group_size': remove "
      "the stale one", "awq")
def two_group_sizes(m):
    m.files["quant_config.json"] = {"w_bit": 4, "group_size": 64}


@case("DIR: generation_config.json top_p: ...")
def top_p_beyond_one(m):
    m.files["generation_config.json"] = {"top_p": 95}


@case("DIR: config.json rope_parameters: differs from rope_scaling; remove the one that is wrong")
def two_rope_configs(m):
    m.config["rope_scaling"] = {"type": "linear", "factor": 4.0}
    m.config["rope_parameters"] = {"rope_type": "linear", "factor": 2.0}


@case("DIR: tensor 'model.layers.0.self_attn.q_proj.scales' must be F16 [2, 64] (32 inputs in groups of 16), it is "
      "F16 [1, 64]", "gptq")
def wrong_group_size_of_gptq(m):
    m.quantization["group_size"] = 16


@case("DIR: tensor 'model.layers.0.self_attn.q_proj.qzeros' must be I32 [2, 8] (32 inputs in groups of 16), it is "
      "I32 [1, 8]", "awq")
def wrong_group_size_of_awq(m):
    m.quantization["group_size"] = 16


@case("DIR: config.json: quantization_config.group_size is 0", "gptq")
def group_size_of_0(m):
    m.quantization["group_size"] = 0


@case("DIR: tensor 'model.layers.0.self_attn.q_proj.qweight' has 4 rows; 32 inputs of 8 bits need 8: "
      "quantization_config.bits may be wrong", "gptq")
def wrong_bits(m):
    m.quantization["bits"] = 8


@case("DIR: GPTQ of 5 bits; quant_gptq reads 2, 3, 4 and 8", "gptq")
def bits_that_nobody_writes(m):
    m.quantization["bits"] = 5


@case("DIR: AWQ layout 'marlin2' is not read (gemm and gemv are): convert the checkpoint to gemm", "awq")
def an_awq_version_that_nobody_knows(m):
    m.quantization["version"] = "marlin2"


@case("DIR: weight 'model.layers.1.mlp.down_proj.weight' is stored quantized but its tensor 'scales' is missing "
      "(each group has one)", "gptq")
def scales_left_out(m):
    del m.tensors["model.layers.1.mlp.down_proj.scales"]


@case("tensor model.layers.0.mlp.gate_proj.weight is 64 x 32, the model's configuration needs 96 x 32")
def shape_mismatch(m):
    m.config["intermediate_size"] = 96


@case("tensor model.embed_tokens.weight is 96 x 32, the model's configuration needs 128 x 32")
def vocabulary_mismatch(m):
    m.config["vocab_size"] = 128


@case("tensor model.layers.1.self_attn.k_proj.weight is missing; the model's configuration needs it as 32 x 32")
def tensor_missing(m):
    del m.tensors["model.layers.1.self_attn.k_proj.weight"]


@case("DIR: tensor 'model.norm.weight' is not of type F32, F16 or BF16; a quantization plugin for its format is missing")
def tensor_of_integers(m):
    dtype, shape, data = m.tensors["model.norm.weight"]
    m.tensors["model.norm.weight"] = "I16", shape, data


@case("DIR/model-00002-of-00002.safetensors: the shard is missing; model.safetensors.index.json needs it for tensor "
      "'lm_head.weight'")
def shard_missing(m):
    m.weights = "model-00001-of-00002.safetensors"
    m.files["model.safetensors.index.json"] = {"weight_map": {
        "model.norm.weight": m.weights, "lm_head.weight": "model-00002-of-00002.safetensors"}}


@case("DIR: the directory has neither model.safetensors nor model.safetensors.index.json (for GGUF, name the file itself)")
def no_weights(m):
    m.tensors = None


@case("DIR: the tokenizer has 97 tokens but the embedding only 96 rows")
def tokenizer_larger_than_the_embedding(m):
    m.files["tokenizer.json"]["added_tokens"] = [{"id": 96, "content": "<one more>", "special": True}]


@case(TOKENIZERS + "DIR: there is no tokenizer.json and no tokenizer.model")
def tokenizer_missing(m):
    m.files["tokenizer.json"] = None


@case(TOKENIZERS + 'DIR: tokenizer.json: the model is "WordPiece", not BPE or Unigram of pieces')
def tokenizer_of_an_unknown_kind(m):
    m.files["tokenizer.json"]["model"] = {"type": "WordPiece", "vocab": {"a": 0}}


@case('DIR: tokenizer_config.json: "special" of the added token 0 is not true or false')
def bad_flag_beside_the_tokenizer(m):
    text = next(iter(m.files["tokenizer.json"]["model"]["vocab"]))
    m.files["tokenizer_config.json"] = {"added_tokens_decoder": {"0": {"content": text, "special": "yes"}}}


@case("DIR: generation_config.json: eos_token_id is not an id of the vocabulary of 96 tokens")
def end_outside_the_vocabulary(m):
    m.files["generation_config.json"] = {"eos_token_id": [2, 96]}


@case("DIR: config.json is missing; it holds the model's dimensions")
def config_missing(m):
    m.config = None


@case("DIR: config.json, line 2: unexpected token near '}'")
def config_that_is_not_json(m):
    m.config = "{\"architectures\": [\"LlamaForCausalLM\"],\n \"hidden_size\": }\n"


@case("DIR: config.json architectures: must name the model's architecture")
def config_without_an_architecture(m):
    del m.config["architectures"]


@case('DIR: architecture "RwkvForCausalLM" is not supported; known: LlamaForCausalLM, MistralForCausalLM, '
      'MixtralForCausalLM, ...')
def unknown_architecture(m):
    m.config["architectures"] = ["RwkvForCausalLM"]


@case('DIR: config.json hidden_act: "relu2" is not supported; known: silu, gelu, gelu_new, gelu_pytorch_tanh')
def unknown_activation(m):
    m.config["hidden_act"] = "relu2"


@case("DIR: 3 key/value heads do not divide 4 attention heads")
def heads_that_do_not_divide(m):
    m.config["num_key_value_heads"] = 3


@case("DIR: config.json num_hidden_layers: is 0, must be within 1 to 1024")
def no_layers(m):
    m.config["num_hidden_layers"] = 0


def main():
    for method in (None, "gptq", "awq"):
        code, said = plan(Model(method))
        assert code == 0 and said == "", f"a good model ({method}): {code}: {said}"
    wrong = 0
    for name, mangle, method, sentence in CASES:
        model = Model(method)
        mangle(model)
        code, said = plan(model)
        begins, rest, _ = f"tenon: {sentence}\n".partition("...")
        if code != 1 or said.count("\n") != 1 or not (said.startswith(begins) if rest else said == begins):
            print(f"{name}: {code}\n  said   {said}  wanted tenon: {sentence}")
            wrong += 1
    print(f"{len(CASES) - wrong} of {len(CASES)} refused as they should be")
    assert wrong == 0


main()
