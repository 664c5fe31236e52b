/* tests/unit/published_shapes.h: the config.json of five models that planners are asked about, cut to what is read. */
#ifndef TESTS_PUBLISHED_SHAPES_H
#define TESTS_PUBLISHED_SHAPES_H

#define LLAMA_KEYS                                                                                   \
    "\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 128256, " \
    "\"rms_norm_eps\": 1e-05, \"rope_theta\": 500000.0, \"torch_dtype\": \"bfloat16\", "

#define LLAMA_3_8B                                                                                    \
    "{" LLAMA_KEYS "\"hidden_size\": 4096, \"intermediate_size\": 14336, \"num_hidden_layers\": 32, " \
    "\"num_attention_heads\": 32, \"num_key_value_heads\": 8, \"max_position_embeddings\": 8192}"
#define LLAMA_3_70B                                                                                   \
    "{" LLAMA_KEYS "\"hidden_size\": 8192, \"intermediate_size\": 28672, \"num_hidden_layers\": 80, " \
    "\"num_attention_heads\": 64, \"num_key_value_heads\": 8, \"max_position_embeddings\": 8192}"
#define LLAMA_31_405B                                                                                   \
    "{" LLAMA_KEYS "\"hidden_size\": 16384, \"intermediate_size\": 53248, \"num_hidden_layers\": 126, " \
    "\"num_attention_heads\": 128, \"num_key_value_heads\": 8, \"max_position_embeddings\": 131072}"
#define MIXTRAL_8X7B                                                                                             \
    "{\"architectures\": [\"MixtralForCausalLM\"], \"model_type\": \"mixtral\", \"vocab_size\": 32000, "         \
    "\"rms_norm_eps\": 1e-05, \"rope_theta\": 1000000.0, \"torch_dtype\": \"bfloat16\", \"hidden_size\": 4096, " \
    "\"intermediate_size\": 14336, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, "                     \
    "\"num_key_value_heads\": 8, \"max_position_embeddings\": 32768, \"num_local_experts\": 8, "                 \
    "\"num_experts_per_tok\": 2}"
#define GEMMA_7B                                                                                               \
    "{\"architectures\": [\"GemmaForCausalLM\"], \"model_type\": \"gemma\", \"vocab_size\": 256000, "          \
    "\"rms_norm_eps\": 1e-06, \"rope_theta\": 10000.0, \"torch_dtype\": \"bfloat16\", \"hidden_size\": 3072, " \
    "\"intermediate_size\": 24576, \"num_hidden_layers\": 28, \"num_attention_heads\": 16, "                   \
    "\"num_key_value_heads\": 16, \"head_dim\": 256, \"max_position_embeddings\": 8192, "                      \
    "\"hidden_act\": \"gelu_pytorch_tanh\", \"hidden_activation\": \"gelu_pytorch_tanh\"}"

#endif
