/* plan_picture.js: a plan's memory as a bar and a table. All ranks hold the same, so one bar stands for each of them. */
import {el, facts, svg, table} from "./element.js";
import {bytes, count, percent} from "./format.js";

const PARTS = [["weights", "Weights"], ["kv", "KV cache"], ["activations", "Activations"], ["logits", "Logits and sampler"], ["comms", "Communication"],
    ["engine", "Engine"], ["tokenizer", "Tokenizer"], ["load_peak", "While loading, then freed"], ["requests", "Requests, at most"], ["reserve", "Reserve, not ours"]];
const ON_HOST = ["engine", "tokenizer", "requests"];

/* On a device with memory of its own, what lies in the host's is no part of its bar. */
function barParts(plan) {
    const all = PARTS.map(([key, title]) => ({key, title, bytes: plan.bytes[key] ?? 0})).filter(part => part.bytes > 0);
    const sum = all.reduce((total, part) => total + part.bytes, 0);
    return sum <= plan.needed * 1.001 ? all : all.filter(part => !ON_HOST.includes(part.key));
}

function bar(plan, parts, label) {
    const whole = Math.max(plan.device_total ?? 0, plan.needed, plan.budget ?? 0) || 1, share = n => `${(100 * n / whole).toFixed(3)}%`;
    let at = 0;
    const pieces = parts.map(part => {
        const piece = svg("rect", {class: `part-${part.key}`, x: share(at), width: share(part.bytes), y: "0", height: "28"}, svg("title", null, `${part.title}: ${bytes(part.bytes)}`));
        at += part.bytes;
        return piece;
    });
    return svg("svg", {class: "plan-bar", width: "100%", height: "36", role: "img", "aria-label": label},
    svg("rect", {class: "track", width: "100%", height: "28"}), pieces,
    plan.budget ? svg("rect", {class: "budget", x: share(plan.budget), width: "2", y: "0", height: "36"}) : null);
}

/* The parts of a plan that is a fraction of its device are too thin to see: a second bar shows them alone. */
function zoom(plan, parts) {
    const sum = parts.reduce((total, part) => total + part.bytes, 0);
    return plan.device_total && sum < plan.device_total / 4 ? [el("p", {class: "hint"}, "The same, enlarged"), bar({needed: sum}, parts, "The same parts, enlarged")] : null;
}

export function planPicture(plan) {
    const parts = barParts(plan), ranks = plan.tensor_parallel_size ?? 1;
    const rows = PARTS.filter(([key]) => plan.bytes[key] > 0).map(([key, title]) => ({key, cells: [
        [svg("svg", {class: "swatch", width: "11", height: "11", "aria-hidden": "true"}, svg("rect", {class: `part-${key}`, width: "11", height: "11", rx: "2"})), title,
            parts.some(part => part.key === key) ? "" : " (host)"],
        bytes(plan.bytes[key]), percent(plan.bytes[key] / plan.needed)]}));
    return el("div", {class: "plan"},
        el("p", null, el("strong", null, ranks > 1 ? `Each of ${ranks} ranks` : "One rank"), `: ${bytes(plan.needed)} needed, the budget is ${bytes(plan.budget)} of ${bytes(plan.device_total)}`),
        bar(plan, parts, `${bytes(plan.needed)} needed, the budget is ${bytes(plan.budget)} of ${bytes(plan.device_total)}; the table below has the parts`), zoom(plan, parts),
        el("div", {class: "columns"},
            table("Memory of a rank", [{title: "Part"}, {title: "Bytes", class: "number"}, {title: "Share", class: "number"}], rows),
            facts([["Strategy", plan.strategy], ["Ranks", count(ranks)], ["Tokens of a sequence", count(plan.max_model_len)],
                ["Sequences at once", count(plan.max_num_seqs)], ["KV cache", plan.kv_tokens ? `${count(plan.kv_tokens)} tokens` : null],
                ["KV cache of a token", plan.kv_token_bytes ? bytes(plan.kv_token_bytes) : null], ["Of a sequence", bytes(plan.kv_sequence_bytes)],
                ["Longest context that fits", plan.largest_context ? `${count(plan.largest_context)} tokens` : "none"],
                ["Most sequences that fit", count(plan.largest_concurrency)], ["Resident, then at most", `${bytes(plan.resident)}, ${bytes(plan.peak)}`],
                ["Architecture", plan.architecture], ["Device", plan.device]])));
}
