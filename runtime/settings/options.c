/* runtime/settings/options.c: every key of the core, in the order help prints them. Names are vLLM's where the meaning
 * is.
 *
 * A key that is read nowhere does not belong here. Plugins declare theirs in tn_plugin.options.
 */
#include "settings/settings.h"

#include "version.h"

#define NO_RANGE       0, 0
#define SIZE_MAX_BYTES 9007199254740992.0 /* 2^53, where value.c stops */

const settings_option settings_options[] = {
    {"plugins", "path", "path", TENON_PLUGIN_DIR, NO_RANGE,
     "Folder in which plugins named without a path are looked up."},

    {"model", "path", "model", NULL, NO_RANGE,
     "The model: a GGUF file, a safetensors file, a folder of them, or registry:NAME[@VERSION|:ALIAS]."},
    {"model", "served_model_name", "list", NULL, NO_RANGE,
     "Names clients may use for the model, the first one in metrics; default: the model's file name."},
    {"model", "load_format", "auto|gguf|safetensors|dummy", "auto", NO_RANGE,
     "Container of the checkpoint; auto looks inside; dummy: random weights, of a folder's config.json alone."},
    {"model", "dtype", "auto|bfloat16", "auto", NO_RANGE,
     "Type of unquantized matrices in memory; auto keeps the checkpoint's."},
    {"model", "quantization", "auto|string", "auto", NO_RANGE,
     "Id of the one quantization plugin that must read this checkpoint; auto asks each of [quant] plugins. With "
     "load_format=dummy what the made-up weights are in: awq, int4, int8 or fp8; auto: bfloat16."},
    {"model", "max_model_len", "auto|size", "auto", 1, 1 << 30,
     "Tokens of prompt and answer together; auto is what the model was made for."},
    {"model", "generation_config", "auto|none", "auto", NO_RANGE,
     "What requests get for sampling fields they leave out: auto takes the model's generation_config.json, none is "
     "neutral (temperature 1)."},
    {"model", "chat_template", "path", NULL, NO_RANGE, "Jinja file used instead of the model's own chat template."},

    {"registry", "path", "path", NULL, NO_RANGE,
     "Folder of the model registry; default: registry in TENON_HOME, else .local/share/tenon/registry in HOME."},
    {"registry", "allow_pull", "bool", "false", NO_RANGE,
     "Whether the daemon fetches models from a hub when its administrator asks; `tenon registry pull` always does."},
    {"registry", "ca_file", "path", NULL, NO_RANGE,
     "PEM file of the authorities that a hub's certificate may be from, in place of the system's: for a hub of one's "
     "own."},

    {"auth", "token_file", "path", NULL, NO_RANGE,
     "File of `tenon token`, with the tokens that clients must present; unset: none is asked for."},

    {"backend", "plugin", "string", "cpu", NO_RANGE,
     "The device backend: bare name or absolute path, sha256=... may follow."},
    {"backend", "tensor_parallel_size", "integer", "1", 1, 1024,
     "Devices that one copy of the model is spread over, those of all processes of a [group] together."},

    {"quant", "plugins", "list", "quant_gguf,quant_awq,quant_gptq,quant_compressed,quant_none", NO_RANGE,
     "Quantization plugins, asked in this order."},
    {"tokenizer", "plugins", "list", "tokenizer_bpe,tokenizer_spm", NO_RANGE,
     "Tokenizer plugins, asked in this order."},
    {"frontend", "plugins", "list", "http_frontend", NO_RANGE, "Front ends that `tenon serve` starts."},

    {"group", "launcher", "none|auto|slurm|openmpi", "none", NO_RANGE,
     "What says which process of a group this one is, where rank and world_size do not; auto: Slurm, else Open MPI."},
    {"group", "rank", "integer", NULL, 0, 1023, "Which of the group's processes this one is, counted from 0."},
    {"group", "world_size", "integer", NULL, 1, 1024, "Processes of the group."},
    {"group", "local_rank", "integer", NULL, 0, 1023,
     "Which of the group's processes on this machine; default: the launcher's, or counted by the machines' names."},
    {"group", "name", "string", NULL, NO_RANGE,
     "Name of the group, which no other that runs may have; default: the launcher's job and step, else tenon."},
    {"group", "store", "auto|string", "auto", NO_RANGE,
     "Where the processes meet: file:/FOLDER that all share, or tcp://HOST:PORT of rank 0; auto: Slurm's first node."},
    {"group", "port", "integer", "29400", 1, 65535, "Port on Slurm's first node for store = auto."},
    {"group", "secret_file", "path", NULL, NO_RANGE,
     "File with the secret of a TCP store, the same for all; default: the environment's TENON_GROUP_SECRET."},
    {"group", "join_timeout", "number", "60", 0.1, 86400, "Seconds that the processes get to come together."},

    {"engine", "gpu_memory_utilization", "number", "0.90", 0.001, 1.0,
     "Share of the device's memory (of RAM, for the cpu backend) that weights, KV pages and scratch may take."},
    {"engine", "kv_cache_memory_bytes", "auto|size", "auto", 1 << 16, SIZE_MAX_BYTES,
     "Memory for KV pages; auto is what gpu_memory_utilization leaves."},
    {"engine", "kv_cache_dtype", "auto|float32|float16|bfloat16", "auto", NO_RANGE,
     "Type of keys and values; auto is the backend's choice."},
    {"engine", "max_num_seqs", "auto|integer", "auto", 1, 65536, "Sequences running at once; auto suits the device."},
    {"engine", "max_num_batched_tokens", "auto|size", "auto", 1, 1 << 20,
     "Token rows of one step; auto suits the device."},
    {"engine", "max_waiting", "integer", "1024", 1, 1 << 20,
     "Queued requests before new ones are told to retry later."},
    {"engine", "enable_prefix_caching", "bool", "true", NO_RANGE, "Reuse KV pages of equal prompt beginnings."},
    {"engine", "batch_invariant", "auto|on|off", "auto", NO_RANGE,
     "Whether a request's answer is bit-identical whatever shares its batch; auto: wherever it costs at most a tenth."},
    {"engine", "seed", "integer", "0", 0, SIZE_MAX_BYTES,
     "Seed of the generator that draws seeds for requests without one; 0: from the system."},
    {"engine", "drain_timeout", "number", "30", 0, 86400, "Seconds that running requests get to finish after SIGTERM."},

    {"pool NAME", "device", "string", NULL, NO_RANGE,
     "Card that the pool is made of, here or not: one that `tenon pool devices` lists, or any name beside memory; "
     "unset: "
     "what is here."},
    {"pool NAME", "memory", "size", NULL, 1 << 20, SIZE_MAX_BYTES, "Memory of one device as its driver shows it."},
    {"pool NAME", "memory_bandwidth", "size", NULL, 1e6, SIZE_MAX_BYTES, "Bytes a second that one device reads."},
    {"pool NAME", "bf16_teraflops", "number", NULL, 0.001, 1e6, "Dense bfloat16 rate of one device."},
    {"pool NAME", "link", "pcie|nvlink", NULL, NO_RANGE,
     "What connects the devices of a node; unset: as such cards are."},
    {"pool NAME", "count", "integer", NULL, 1, 64, "Devices in a node; unset: 1, or all that are here."},
    {"pool NAME", "nodes", "integer", NULL, 1, 1024, "Nodes; unset: 1."},
    {"pool NAME", "backend", "string", NULL, NO_RANGE,
     "Backend plugin that runs there; unset: cuda_tp for a device, else [backend] plugin."},
    {"pool NAME", "host_memory", "bool", "false", NO_RANGE,
     "Whether a device's memory is the machine's RAM, which everything else shares."},
    {"pool NAME", "rate_per_hour", "number", NULL, 0, 1e9, "Rent of the whole pool."},
    {"pool NAME", "hours_per_month", "number", "730", 0.001, 744, "Hours that are paid for and served in."},
    {"pool NAME", "power_per_month", "number", "0", 0, 1e12, "Cost of electricity."},
    {"pool NAME", "depreciation_per_month", "number", "0", 0, 1e12, "Cost of hardware, by the month of its life."},
    {"pool NAME", "operations_per_month", "number", "0", 0, 1e12, "Cost of people and space."},
    {"pool NAME", "currency", "string", "USD", NO_RANGE, "Of all prices, for print only."},
    {"pool NAME", "gpus", "list", NULL, NO_RANGE,
     "Ordinals of the devices that services get there, such as 0,1; unset: those of the lowest."},
    {"pool NAME", "max_services", "integer", "64", 1, 1024, "Services that the daemon takes there."},
    {"pool NAME", "reserve_mib", "integer", "0", 0, 1 << 30, "Mebibytes of each device that services do not get."},

    {"price NAME", "input", "number", NULL, 0, 1e9, "Price of a million prompt tokens elsewhere."},
    {"price NAME", "cached", "number", NULL, 0, 1e9, "The same for prompt tokens found in a cache; unset: as input."},
    {"price NAME", "output", "number", NULL, 0, 1e9, "Price of a million answer tokens elsewhere."},

    {"server", "store", "path", NULL, NO_RANGE,
     "Folder of `tenon daemon`; default: daemon in TENON_HOME, else .local/share/tenon/daemon in HOME."},
    {"server", "log_bytes_max", "size", "16MiB", 1 << 12, SIZE_MAX_BYTES,
     "Size at which a new file of an engine's log is begun."},
    {"server", "log_files", "integer", "4", 1, 100, "Files that are kept of an engine's log."},
    {"server", "restart_delay", "number", "1", 0.01, 3600,
     "Seconds before an engine that died is started again; twice as many each time."},
    {"server", "start_timeout", "number", "1800", 1, 86400, "Seconds that an engine gets to load."},
    {"server", "hang_timeout", "number", "60", 1, 86400, "Seconds without an answer until an engine is ended."},
    {"server", "wake_timeout", "number", "120", 0.1, 86400, "Seconds that a request waits for an engine."},
    {"server", "queue_max", "integer", "1024", 1, 1 << 20, "Requests of a service that may wait for an engine."},

    {"batch", "max_running", "integer", "2", 1, 64, "Batches that `tenon daemon` runs at once; others wait."},
    {"batch", "window", "integer", "64", 1, 1024, "Rows of a batch in flight."},
    {"batch", "max_file_bytes", "size", "512MiB", 1, SIZE_MAX_BYTES, "Size of one uploaded file."},
    {"batch", "max_total_bytes", "size", "16GiB", 1, SIZE_MAX_BYTES, "Size of all files that are kept for batches."},
    {"batch", "expiry", "integer", "2592000", 0, 315360000,
     "Seconds that files, and batches that have ended, are kept; 0: until they are deleted."},

    {"service NAME", "model", "string", NULL, NO_RANGE,
     "What `tenon daemon` is to serve: NAME[@VERSION|:ALIAS] of the registry, or an absolute path. Keys of [model] and "
     "[engine] may stand here too."},
    {"service NAME", "pool", "string", NULL, NO_RANGE, "Where it runs."},
    {"service NAME", "gpus", "integer", "0", 0, 1024, "Devices of one instance; 0: as many as it takes."},
    {"service NAME", "min", "integer", "0", 0, 64, "Instances at least; 0: none while nobody asks."},
    {"service NAME", "max", "integer", "1", 1, 64, "Instances at most."},
    {"service NAME", "autosuspend", "integer", "1800", 0, 31536000,
     "Seconds without a request until a service with min = 0 is suspended; 0: never."},

    {"service NAME", "target", "string", NULL, NO_RANGE,
     "Cluster that it is put on by `tenon up`, such as slurm; unset: `tenon daemon` runs it."},

    {"target slurm", "directory", "path", NULL, NO_RANGE,
     "Folder that all nodes see under this path, for scripts, logs and addresses; default: tenon-services in HOME."},
    {"target slurm", "program", "path", NULL, NO_RANGE, "`tenon` as nodes see it; default: the one that runs."},
    {"target slurm", "partition", "string", NULL, NO_RANGE, "Partition of the jobs; unset: the cluster's default."},
    {"target slurm", "account", "string", NULL, NO_RANGE, "Account that jobs are charged to."},
    {"target slurm", "qos", "string", NULL, NO_RANGE, "Quality of service of the jobs."},
    {"target slurm", "constraint", "string", NULL, NO_RANGE, "Features that nodes must have."},
    {"target slurm", "reservation", "string", NULL, NO_RANGE, "Reservation that jobs take their nodes from."},
    {"target slurm", "gres", "string", "gpu", NO_RANGE, "What a device is to Slurm: gpu, or gpu:TYPE."},
    {"target slurm", "cpus", "integer", NULL, 1, 4096,
     "CPUs of a process; unset: [cpu] threads, else 8, or 4 and 2 for each device."},
    {"target slurm", "time", "string", NULL, NO_RANGE,
     "Time limit of a job, such as 7-00:00:00, at which it drains and is requeued; unset: the partition's."},
    {"target slurm", "host", "string", "0.0.0.0", NO_RANGE, "Address that instances listen on."},
    {"target slurm", "port", "integer", "0", 0, 65535, "Port that instances listen on; 0: a free one of the node."},

    {"roi", "price", "string", "api", NO_RANGE, "NAME of the [price NAME] that `tenon plan --roi` compares with."},
    {"roi", "input", "number", "0", 0, 1e9, "Millions of prompt tokens a month, those in a cache aside."},
    {"roi", "cached", "number", "0", 0, 1e9, "Millions of prompt tokens a month that are found in a cache."},
    {"roi", "output", "number", "0", 0, 1e9, "Millions of answer tokens a month."},
    {"roi", "prompt_tokens", "size", "1024", 1, 1 << 30, "Tokens of a usual prompt."},
    {"roi", "answer_tokens", "size", "256", 1, 1 << 30, "Tokens of a usual answer."},
    {"roi", "tokens_per_second", "auto|number", "auto", 0.001, 1e9,
     "Measured answer tokens a second of one replica under load; auto: estimated from the device's rates."},
    {"roi", "peak_tokens_per_second", "auto|number", "auto", 0.001, 1e9,
     "Answer tokens a second in the busiest hour; auto: the month's mean."},

    {"log", "level", "error|warning|info|debug", "info", NO_RANGE, "Least important lines still logged."},
};
const uint32_t settings_option_count = sizeof settings_options / sizeof *settings_options;
