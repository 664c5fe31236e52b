/* prometheus.js: the server's /metrics read back: what each model told at one moment. Only the names that the page shows are kept. */

const LINE = /^tenon:(\w+)\{(.*)\} (\S+)$/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

function readLabels(text) {
    const labels = {};
    for (const [, name, value] of text.matchAll(LABEL))
        labels[name] = value.replace(/\\(.)/g, (_, c) => c === "n" ? "\n" : c);
    return labels;
}

/* Map of model name to {NAME: value, buckets: [[le, count]] of the time to the first token}. */
export function readMetrics(text) {
    const models = new Map();
    for (const line of text.split("\n")) {
        const found = LINE.exec(line);
        if (!found)
            continue;
        const [, name, labelText, value] = found, labels = readLabels(labelText);
        if (!models.has(labels.model_name))
            models.set(labels.model_name, {buckets: []});
        const model = models.get(labels.model_name);
        if (name === "time_to_first_token_seconds_bucket")
            model.buckets.push([labels.le === "+Inf" ? Infinity : Number(labels.le), Number(value)]);
        else if (!name.endsWith("_bucket"))
            model[name] = (name === "request_success_total" ? model[name] ?? 0 : 0) + Number(value);
    }
    return models;
}

/* What lies between two moments of one model. Counters that fell belong to an engine that has begun anew: no rate then. */
export function sampleOf(before, now, seconds) {
    const rate = name => {
        const n = now[name] - before[name];
        return n >= 0 ? n / seconds : NaN;
    };
    const firsts = now.time_to_first_token_seconds_count - before.time_to_first_token_seconds_count;
    return {
        generated: rate("generation_tokens_total"),
        prompt: rate("prompt_tokens_total"),
        running: now.num_requests_running,
        waiting: now.num_requests_waiting,
        cache: now.kv_cache_usage_perc,
        first: firsts > 0 ? (now.time_to_first_token_seconds_sum - before.time_to_first_token_seconds_sum) / firsts : NaN,
    };
}

/* The share `q` of all times to the first token is below this many seconds, by linear interpolation in a bucket as Prometheus does it. */
export function quantile(buckets, q) {
    const total = buckets.at(-1)?.[1] ?? 0, wanted = q * total;
    let below = 0, low = 0;
    for (const [bound, n] of buckets) {
        if (n >= wanted && n > 0)
            return bound === Infinity ? low : low + (bound - low) * (n === below ? 1 : (wanted - below) / (n - below));
        below = n;
        low = bound;
    }
    return NaN;
}
