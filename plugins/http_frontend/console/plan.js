/* plan.js: does it fit, and what would make it fit? The same question as `tenon plan`, asked again whenever something was moved. */
import {admin} from "./api.js";
import {button, check, el, failure, field, freshId, heading, options, section} from "./element.js";
import {count, figure, plural, span} from "./format.js";
import {planPicture} from "./plan_picture.js";
import {references} from "./service_form.js";

const DEBOUNCE_MS = 250, CONTEXT_MIN = 256;
const DESCRIBED = ["GPU_NV_S", "GPU_NV_M", "GPU_NV_L"]; /* predefined, of hardware that need not be here */
/* Flags of a fix, and the fields that they mean. */
const FLAGS = {"--pool": "pool", "--strategy": "strategy", "--max-model-len": "max_model_len", "--concurrency": "concurrency", "--kv-dtype": "kv_dtype",
    "--quant": "quant", "--tp": "tp", "--util": "util"};
const ROI = [["in", "Prompt tokens a month, millions"], ["cached", "Of those found in a cache, millions"], ["out", "Answer tokens a month, millions"],
    ["peak", "Answer tokens a second, busiest hour"], ["throughput", "Measured answer tokens a second"], ["price_in", "Elsewhere: a million prompt tokens"],
    ["price_cached", "Elsewhere: a million cached tokens"], ["price_out", "Elsewhere: a million answer tokens"]];

/* {field: value} of "--tp 2 --pool a"; null: more than this page can set. */
export function parseFix(flags) {
    const words = flags.split(" "), set = {};
    for (let i = 0; i < words.length; i += 2) {
        if (!Object.hasOwn(FLAGS, words[i]) || words[i + 1] === undefined)
            return null;
        set[FLAGS[words[i]]] = words[i + 1];
    }
    return set;
}

/* Values of a slider, eight to an octave, each another multiple of `step`: so that one press of a key always changes something. */
function stops(low, high, step) {
    const values = new Set();
    for (let value = low; value < high; value *= 2 ** (1 / 8))
        values.add(Math.max(low, Math.round(value / step) * step));
    return [...values.add(high)].filter(value => value <= high);
}

/* A slider, and the number beside it: each moves the other. Empty: the model's own. */
class Scale {
    constructor(label, name, low, high, step, hint) {
        Object.assign(this, {low, step});
        this.slider = el("input", {type: "range", min: "0", value: "0", "aria-label": `${label}, slider`});
        this.number = el("input", {type: "number", name, min: String(low), placeholder: "auto"});
        this.node = field(label, this.number, hint);
        this.node.classList.add("scale");
        this.node.insertBefore(this.slider, this.number);
        this.slider.addEventListener("input", () => { this.number.value = String(this.stops[Number(this.slider.value)]); this.speak(); });
        this.number.addEventListener("input", () => this.follow());
        this.reach(high);
    }

    reach(high) {
        this.stops = stops(this.low, high, this.step);
        this.slider.max = String(this.stops.length - 1);
        this.follow();
    }

    value() {
        return Number(this.number.value) || this.told || this.low;
    }

    follow() {
        const next = this.stops.findIndex(stop => stop >= this.value());
        this.slider.value = String(next < 0 ? this.stops.length - 1 : next);
        this.speak();
    }

    speak() {
        this.slider.setAttribute("aria-valuetext", count(this.value()));
    }

    /* What the plan says: `value` is used while the number is empty; the slider ends at `high`. */
    learn(value, high) {
        this.told = value;
        this.number.placeholder = `auto: ${value}`;
        this.reach(Math.max(high, this.low * 2));
    }
}

/* ---- answers ---- */

function verdict(plan) {
    const words = plan.fits ? `It fits: ${plan.strategy}${plan.tensor_parallel_size > 1 ? `, ${plan.tensor_parallel_size} ranks` : ""}.` : "It does not fit.";
    return el("p", {class: `verdict ${plan.fits ? "good" : "bad"}`}, el("strong", null, words), plan.reason ? ` ${plan.reason}` : "");
}

function fixList(plan, apply) {
    if (!plan.fixes?.length)
        return null;
    return section("Each of these makes it fit", el("ul", {class: "fixes"}, plan.fixes.map(fix => {
        const set = parseFix(fix.flags);
        return el("li", null, set ? button(fix.flags, {class: "plain code", "aria-label": `Apply ${fix.flags}`, on: {click: () => apply(set)}}) : el("code", null, fix.flags),
            el("span", null, fix.effect));
    })));
}

function money(roi, n) {
    return Number.isFinite(n) ? `${figure(n)} ${roi.currency}` : "–";
}

function roiTable(roi) {
    const rows = [["A month of a pool", money(roi, roi.pool_cost)], ["Answer tokens a second of a replica", `${figure(roi.tokens_per_second)}${roi.measured ? ", measured" : ", estimated"}`],
        ["Replicas in a pool", count(roi.replicas_in_pool)], ["A million tokens elsewhere", money(roi, roi.price)],
        ["Breaks even at", roi.break_even === null ? "never" : `${figure(roi.break_even)} million tokens a month${roi.reachable ? "" : ", more than it can do"}`],
        ["Your volume", `${figure(roi.volume)} million tokens a month, ${plural(roi.replicas, "replica")}, ${plural(roi.pools, "pool")}`],
        ["A month here", money(roi, roi.cost_here)], ["A month elsewhere", money(roi, roi.cost_elsewhere)]];
    if (roi.step_seconds)
        rows.push(["A step, estimated", `${span(roi.step_seconds)} for ${count(roi.batch)} sequences`]);
    return section("Cost", el("div", {class: "scroll"}, el("table", null, el("tbody", null, rows.map(([name, value]) =>
        el("tr", null, el("th", {scope: "row"}, name), el("td", {class: "number"}, value)))))));
}

/* What a service would need to be as planned. */
function serviceAddress(value, plan) {
    const query = new URLSearchParams({model: value.model, pool: value.pool, gpus: value.tp || String(plan.tensor_parallel_size > 1 ? plan.tensor_parallel_size : 0)});
    const set = {max_model_len: plan.max_model_len, max_num_seqs: plan.max_num_seqs, kv_cache_dtype: value.kv_dtype === "auto" ? "" : value.kv_dtype,
        gpu_memory_utilization: value.util};
    for (const [key, text] of Object.entries(set))
        if (text)
            query.append("set", `${key}=${text}`);
    return `#/services/new?${query}`;
}

/* [plan, error of the costs]: where costs cannot be told, the plan still can. */
async function planOf(value, signal) {
    try {
        return [await admin("POST", "/plan", {body: value, signal}), null];
    } catch (error) {
        if (!value.roi || error.status !== 422)
            throw error;
        const bare = Object.fromEntries(Object.entries(value).filter(([name]) => name !== "roi" && !ROI.some(([cost]) => cost === name)));
        return [await admin("POST", "/plan", {body: bare, signal}), error];
    }
}

/* ---- the view ---- */

export async function openPlan(main, {query}, signal) {
    main.append(heading("Plan"));
    const [models, pools] = await Promise.all([admin("GET", "/models", {signal}), admin("GET", "/pools", {signal})]);
    const names = references(models.models), here = pools.pools.map(pool => pool.name);
    const knownModels = el("datalist", {id: freshId("models")}, options(names));
    const knownPools = el("datalist", {id: freshId("pools")}, options([...here, ...DESCRIBED.filter(name => !here.includes(name))]));
    const text = (name, list, other) => el("input", {type: "text", name, list: list.id, value: query.get(name) ?? other ?? "", spellcheck: "false", autocomplete: "off"});
    const context = new Scale("Context, tokens", "max_model_len", CONTEXT_MIN, 8192, 256, "Prompt and answer of one sequence together.");
    const concurrency = new Scale("Concurrency, sequences", "concurrency", 1, 256, 1, "That must fit at once.");
    const roi = el("input", {type: "checkbox", name: "roi", checked: query.has("roi")});
    const costs = el("div", {class: "fields small", hidden: !query.has("roi")}, ROI.map(([name, label]) =>
        field(label, el("input", {type: "number", name, min: "0", step: "any", value: query.get(name) ?? ""}))));
    const form = el("form", {class: "panel form", "aria-label": "What to plan for"},
        field("Model", text("model", knownModels, names[0]), "Of the registry, or an absolute path on the server."),
        field("Pool", text("pool", knownPools, here[0]), "Hardware that is here, or only described."),
        context.node, concurrency.node,
        el("div", {class: "fields small"},
            field("KV cache type", el("select", {name: "kv_dtype", value: query.get("kv_dtype") ?? "auto"}, options(["auto", "float16", "bfloat16", "float32"]))),
            field("Strategy", el("select", {name: "strategy", value: query.get("strategy") ?? "auto"}, options([["auto", "auto"], ["one", "one device"], ["tp", "a node's devices"], ["nodes", "nodes"]]))),
            field("Tensor parallel", el("input", {type: "number", name: "tp", min: "1", placeholder: "auto", value: query.get("tp") ?? ""})),
            field("Utilisation", el("input", {type: "number", name: "util", min: "0.05", max: "1", step: "0.01", placeholder: "0.90", value: query.get("util") ?? ""})),
            field("As if quantized", el("select", {name: "quant", value: query.get("quant") ?? ""}, options([["", "as it is"], "awq", "int4", "int8", "fp8"])))),
        knownModels, knownPools, check("What a month costs", roi), costs);
    const result = el("div", {class: "stack"}), said = el("p", {class: "unseen", role: "status", "aria-live": "polite"});
    main.append(el("div", {class: "split"}, form, el("div", null, said, result)));
    for (const scale of [context, concurrency]) {
        scale.number.value = query.get(scale.number.name) ?? "";
        scale.follow();
    }

    let timer, asked = new AbortController(), lastModel = "";
    signal.addEventListener("abort", () => { clearTimeout(timer); asked.abort(); });

    function readForm() {
        const value = Object.fromEntries([...new FormData(form)].filter(([, v]) => v.trim() !== ""));
        if (!roi.checked)
            ROI.forEach(([name]) => delete value[name]);
        return {...value, ...roi.checked ? {roi: true} : {}};
    }

    function apply(set) {
        for (const [name, value] of Object.entries(set))
            form.elements[name].value = value;
        context.follow();
        concurrency.follow();
        form.elements[Object.keys(set)[0]].focus({preventScroll: true}); /* the button goes with the old plan */
        ask();
    }

    function show(value, plan, costError) {
        if (value.model !== lastModel && !value.max_model_len)
            context.learn(plan.max_model_len, Math.max(plan.max_model_len, plan.largest_context));
        if (!value.concurrency)
            concurrency.learn(plan.max_num_seqs, Math.max(256, Math.min(4096, plan.largest_concurrency)));
        lastModel = value.model;
        const link = el("a", {class: "button primary", href: serviceAddress(value, plan)}, "Create a service with these");
        result.replaceChildren(...[el("div", {class: "panel"}, el("div", {class: "toolbar"}, verdict(plan), el("span", {class: "grow"}), plan.fits && here.includes(value.pool) ? link : null),
            plan.warnings?.length ? el("ul", {class: "warnings"}, plan.warnings.map(warning => el("li", null, warning))) : null,
            planPicture(plan)), fixList(plan, apply), plan.roi ? roiTable(plan.roi) : null, costError ? failure(costError) : null,
        plan.launch ? section("By hand", el("pre", {class: "log"}, plan.launch)) : null].filter(Boolean));
        said.textContent = plan.fits ? "It fits." : "It does not fit.";
    }

    async function ask() {
        const value = readForm();
        costs.hidden = !roi.checked;
        clearTimeout(timer);
        asked.abort();
        asked = new AbortController();
        result.removeAttribute("aria-busy");
        if (!value.model)
            return result.replaceChildren(el("p", {class: "empty"}, "Choose a model: add one first where the registry has none."));
        const shared = new URLSearchParams(value);
        history.replaceState(null, "", `#/plan?${shared}`);
        result.setAttribute("aria-busy", "true");
        const mine = asked;
        try {
            show(value, ...await planOf(value, mine.signal));
        } catch (error) {
            if (error.name === "AbortError")
                return;
            result.replaceChildren(failure(error));
        }
        if (mine === asked)
            result.removeAttribute("aria-busy");
    }

    form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, DEBOUNCE_MS); });
    form.addEventListener("submit", event => { event.preventDefault(); ask(); });
    await ask();
}
