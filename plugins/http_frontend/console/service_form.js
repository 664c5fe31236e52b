/* service_form.js: a service to create, or what to change of one. Values come from the address, so that a plan can fill it in. */
import {admin, path} from "./api.js";
import {button, check, el, failure, field, freshId, heading, options, section, tell} from "./element.js";
import {bytes} from "./format.js";
import {planPicture} from "./plan_picture.js";

/* Those that people set; any other that `tenon plugins --options` names will do. */
const KEYS = ["max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "kv_cache_memory_bytes", "kv_cache_dtype",
    "quantization", "dtype", "load_format", "generation_config", "enable_prefix_caching", "batch_invariant", "max_waiting", "seed"];

/* "name", "name@version" and "name:alias" of everything in the registry. */
export function references(models) {
    return models.flatMap(model => [model.name, ...model.versions.flatMap(version =>
        [`${model.name}@${version.version}`, ...version.aliases.map(alias => `${model.name}:${alias}`)])]);
}

/* Rows of key and value, with a button for one more. */
function settingRows(settings) {
    const keys = el("datalist", {id: freshId("keys")}, options(KEYS)), rows = el("div", {class: "rows"});
    const add = (key, value, focus) => {
        const name = el("input", {type: "text", value: key, list: keys.id, "aria-label": "Setting", placeholder: "max_model_len", spellcheck: "false"});
        const row = el("div", {class: "row"}, name, el("span", {"aria-hidden": "true"}, "="),
            el("input", {type: "text", value, "aria-label": "Value of the setting", spellcheck: "false"}),
            button("Remove", {class: "plain", "aria-label": "Remove this setting", on: {click: () => row.remove()}}));
        rows.append(row);
        if (focus)
            name.focus();
    };
    settings.forEach(([key, value]) => add(key, value, false));
    const read = () => Object.fromEntries([...rows.children].map(row => [...row.querySelectorAll("input")].map(input => input.value.trim()))
        .filter(([key]) => key));
    return {read, node: el("fieldset", null, el("legend", null, "Settings"), keys, rows,
        button("Add a setting", {class: "plain", on: {click: () => add("", "", true)}}),
        el("p", {class: "hint"}, "Of [model] and [engine]; what is not here is the daemon's."))};
}

function given(query, service) {
    const of = (name, other) => query.get(name) ?? (service ? String(service[name]) : other);
    const settings = service ? service.settings.map(text => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)])
        : query.getAll("set").map(text => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)]);
    return {name: of("name", ""), model: of("model", ""), pool: of("pool", ""), gpus: of("gpus", "0"), min: of("min", "0"), max: of("max", "1"),
        autosuspend: of("autosuspend", "1800"), settings};
}

/* What was refused, and where: the field is marked and gets the focus. */
function showRefusal(place, form, error) {
    const at = error.param ? form.querySelector(`[name="${CSS.escape(error.param)}"]`) : null;
    const reserved = error.body?.plan?.reserved ?? [];
    place.replaceChildren(failure(error), ...error.body?.plan ? [section("The plan", planPicture(error.body.plan),
        reserved.length ? el("p", {class: "muted"}, "Reserved: ", reserved.map(r => `${r.service} ${bytes(r.bytes)}`).join(", ")) : null)] : []);
    at?.setAttribute("aria-invalid", "true");
    at?.focus({preventScroll: true});
    (at ?? place).scrollIntoView({block: "nearest"});
}

/* What differs from the service as it is: "tiny" sent again would mean today's default version, and so a new model. */
function changes(body, service) {
    const settings = Object.fromEntries(given(new URLSearchParams(), service).settings);
    return Object.fromEntries(Object.entries(body).filter(([name, value]) =>
        name === "settings" ? JSON.stringify(value) !== JSON.stringify(settings) : value !== service[name]));
}

export async function openServiceForm(main, name, query, signal) {
    const title = name ? `Update ${name}` : "New service";
    main.append(el("p", {class: "crumbs"}, el("a", {href: "#/services"}, "Services"),
        name ? [" / ", el("a", {href: `#/services/${encodeURIComponent(name)}`}, name)] : null), heading(title));
    const [models, pools, service] = await Promise.all([admin("GET", "/models", {signal}), admin("GET", "/pools", {signal}),
        name ? admin("GET", path("services", name), {signal}) : null]);
    const have = given(query, service), known = el("datalist", {id: freshId("models")}, options(references(models.models)));
    const text = (key, more) => el("input", {type: "text", name: key, value: have[key], required: true, spellcheck: "false", autocomplete: "off", ...more});
    const number = (key, max) => el("input", {type: "number", name: key, value: have[key], min: key === "max" ? "1" : "0", max, required: true});
    const settings = settingRows(have.settings), result = el("div", {class: "result"});
    const replace = el("input", {type: "checkbox"});
    const form = el("form", {class: "panel form", novalidate: true},
        el("div", {class: "fields"},
            name ? null : field("Name", text("name", {pattern: "[a-z0-9][a-z0-9._\\-]{0,62}"}), "What clients ask for as \"model\": small letters, digits, '.', '_' and '-'."),
            field("Model", text("model", {list: known.id}), "NAME, NAME@VERSION or NAME:ALIAS of the registry, or an absolute path on the server."),
            field("Pool", el("select", {name: "pool", required: true, value: have.pool || pools.pools[0]?.name}, options(pools.pools.map(pool => pool.name)))),
            field("Devices of an instance", number("gpus", "1024"), "0: as many as it takes."),
            field("Instances, at least", number("min", "64"), "0: it may suspend itself."),
            field("Instances, at most", number("max", "64")),
            field("Suspend after", number("autosuspend", "31536000"), "Seconds without a request, where it may; 0: never.")),
        known, settings.node,
        name ? null : check("Replace a service of this name", replace),
        el("div", {class: "actions"},
            name ? null : button("Check", {class: "plain", on: {click: () => submit(true)}}),
            el("button", {type: "submit", class: "primary"}, name ? "Update" : "Create")));
    form.addEventListener("submit", event => { event.preventDefault(); submit(false); });
    main.append(form, result);

    async function submit(dryRun) {
        const value = Object.fromEntries(new FormData(form));
        const body = {model: value.model.trim(), pool: value.pool, gpus: Number(value.gpus), min: Number(value.min), max: Number(value.max),
            autosuspend: Number(value.autosuspend), settings: settings.read()};
        for (const control of form.querySelectorAll("[aria-invalid]"))
            control.removeAttribute("aria-invalid");
        if (!form.reportValidity())
            return;
        form.setAttribute("aria-busy", "true");
        try {
            if (name && Object.keys(changes(body, service)).length === 0)
                return tell("Nothing has been changed.");
            if (name)
                await admin("PATCH", path("services", name), {body: changes(body, service)});
            else if (dryRun)
                result.replaceChildren(section("It fits", planPicture(await admin("POST", "/services", {body: {...body, name: value.name.trim(), dry_run: true}}))));
            else
                await admin("POST", "/services", {body: {...body, name: value.name.trim(), replace: replace.checked}});
            if (!dryRun) {
                tell(`${name ?? value.name.trim()} is on its way.`);
                if (!signal.aborted)
                    location.hash = path("services", name ?? value.name.trim());
            }
        } catch (error) {
            showRefusal(result, form, error);
        } finally {
            form.removeAttribute("aria-busy");
        }
    }
}
