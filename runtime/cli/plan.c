/* plan.c: `tenon plan MODEL`: bytes by part, from headers alone. */
#include "cli/command.h"

static int run_plan(const command *command, int argc, char **argv)
{
    bool json = false;
    const flag flags[] = {
        {"max-model-len", "N", FLAG_SETTING, NULL, "model.max_model_len", "tokens of one sequence (8k, 131072)"},
        {"concurrency", "N", FLAG_SETTING, NULL, "engine.max_num_seqs", "sequences at once"},
        {"kv-dtype", "TYPE", FLAG_SETTING, NULL, "engine.kv_cache_dtype", "auto, float16, bfloat16 or float32"},
        {"tp", "N", FLAG_SETTING, NULL, "backend.tensor_parallel_size", "devices that the model is spread over"},
        {"util", "X", FLAG_SETTING, NULL, "engine.gpu_memory_utilization", "share of the device's memory"},
        {"json", NULL, FLAG_SWITCH, &json, NULL, "as one JSON object"},
    };
    args a;
    session session;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    args_set(&a, "model.path", a.positional[0]);
    code = session_open(&session, &a, STAGE_MODEL);
    if (code < 0) {
        tn_status status = session_advance(&session, STAGE_MODEL, STAGE_PLAN, &err);
        if (status == TN_OK || status == TN_E_MEMORY)
            (json ? plan_print_json : plan_print)(&session.instance.plan, &session.instance.config, stdout);
        if (status != TN_OK)
            report(&err);
        code = status == TN_OK ? 0 : status == TN_E_MEMORY ? EXIT_MISFIT : EXIT_FAILURE;
        session_close(&session);
    }
    args_finish(&a);
    return code;
}

const command command_plan = {
    .name = "plan",
    .arguments = "MODEL",
    .summary = "does it fit? bytes by part, from the model's headers alone",
    .help = "Needs no device and reads no weights. Exit code 0: it fits; 3: it does not, and the message says which\n"
            "settings would.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_plan,
};
