/* services.js: all services with their pools, and one service with its instances. Both are live. Buttons are listened to from above the
 * parts that change, and say by data-act and data-name what they mean. */
import {admin, path} from "./api.js";
import {askDialog, button, el, facts, failure, field, heading, morph, section, svg, table, tell} from "./element.js";
import {NONE, bytes, count, moment, percent, plural, span} from "./format.js";
import {Bell, poll} from "./poll.js";
import {openServiceForm} from "./service_form.js";

const MOVING = ["PENDING", "PLANNING", "LOADING", "SUSPENDING", "RESUMING", "DELETING"];
const AT_REST = ["SUSPENDED", "FAILED"];

export function openServices(main, {parts, query}, signal) {
    if (parts[0] === "new")
        return openServiceForm(main, null, query, signal);
    if (parts[1] === "edit")
        return openServiceForm(main, parts[0], query, signal);
    return parts[0] ? openService(main, parts[0], signal) : openList(main, signal);
}

export function badge(state) {
    return el("span", {class: `state ${state.toLowerCase()}`, "data-key": state}, state);
}

function progress(share) {
    return share === null ? null : el("progress", {max: "1", value: String(share), "aria-label": "Loading"}, percent(share));
}

function isMoving(service) {
    return MOVING.includes(service.state) || service.instances.some(instance => MOVING.includes(instance.state));
}

/* ---- what can be done ---- */

async function scale(service) {
    const number = (name, value) => el("input", {type: "number", name, min: name === "max" ? "1" : "0", max: "64", required: true, value: String(value)});
    const answer = await askDialog({title: `Scale ${service.name}`, text: "Instances, by load. With a minimum of 0 it may suspend itself.",
        fields: [field("At least", number("min", service.min)), field("At most", number("max", service.max))], action: "Scale"});
    return answer && admin("POST", path("services", service.name) + ":scale", {body: {min: Number(answer.min), max: Number(answer.max)}});
}

function drainField() {
    return field("Seconds that running requests get", el("input", {type: "number", name: "drain", min: "0", max: "86400", required: true, value: "30"}));
}

/* Asks only where somebody would notice. */
async function suspend(service) {
    const answer = service.running === 0 ? {drain: "30"} : await askDialog({title: `Suspend ${service.name}?`,
        text: `${plural(service.running, "request")} ${service.running === 1 ? "runs" : "run"}. The first request after it resumes the service.`, fields: [drainField()], action: "Suspend"});
    return answer && admin("POST", `${path("services", service.name)}:suspend?drain=${encodeURIComponent(answer.drain)}`, {body: {}});
}

async function remove(service) {
    const answer = await askDialog({title: `Delete ${service.name}?`, text: "Its engines end, and its logs go with them. The model stays in the registry.",
        fields: [drainField()], action: "Delete", danger: true});
    if (!answer)
        return null;
    await admin("DELETE", `${path("services", service.name)}?drain=${encodeURIComponent(answer.drain)}`);
    return {};
}

const acts = {
    suspend: {text: "Suspend", said: "will be suspended", does: suspend},
    resume: {text: "Resume", said: "will be resumed", does: s => admin("POST", path("services", s.name) + ":resume", {body: {}})},
    scale: {text: "Scale…", said: "will be scaled", does: scale},
    remove: {text: "Delete…", said: "will be deleted", does: remove},
};

function actButton(act, service, disabled = false) {
    return button(acts[act].text, {class: act === "remove" ? "danger" : "plain", "data-act": act, "data-name": service.name, disabled,
        "aria-label": `${acts[act].text.replace("…", "")} ${service.name}`});
}

/* One listener for all buttons below `place`; find(name) is the service as it was last told. */
function listen(place, find, bell) {
    place.addEventListener("click", async event => {
        const pressed = event.target.closest("button[data-act]"), service = pressed && find(pressed.dataset.name);
        if (!service)
            return;
        try {
            const done = await acts[pressed.dataset.act].does(service);
            if (done)
                tell(`${service.name} ${acts[pressed.dataset.act].said}.`);
        } catch (error) {
            tell(error.message, "bad");
        }
        bell.ring();
    });
}

/* ---- all of them ---- */

function poolBar(device) {
    const share = device.total_bytes ? device.reserved_bytes / device.total_bytes : 0;
    return svg("svg", {class: "meter", width: "100%", height: "6", "aria-hidden": "true"},
        svg("rect", {class: "track", width: "100%", height: "6", rx: "3"}),
        svg("rect", {class: "fill", width: `${Math.min(100, 100 * share)}%`, height: "6", rx: "3"}));
}

function poolCard(pool) {
    const devices = pool.devices.map(device => el("li", {"data-key": String(device.ordinal)}, poolBar(device),
        el("span", null, pool.devices.length > 1 ? `${device.ordinal}: ` : "", `${bytes(device.reserved_bytes)} reserved of ${bytes(device.total_bytes)}`)));
    return el("li", {class: "card", "data-key": pool.name},
        el("p", {class: "card-title"}, el("strong", null, pool.name), el("span", {class: "muted"}, ` ${pool.backend}, ${pool.services} of ${plural(pool.max_services, "service")}`)),
        devices.length ? el("ul", {class: "bare"}, devices) : el("p", {class: "muted"}, "nothing is reserved yet"));
}

function load(service) {
    return service.running || service.waiting ? `${count(service.running)} / ${count(service.waiting)}` : NONE;
}

function listRow(service) {
    const ready = service.instances.filter(instance => instance.state === "READY").length;
    return {key: service.name, cells: [
        el("a", {href: `#/services/${encodeURIComponent(service.name)}`}, service.name),
        [badge(service.state), progress(service.progress)],
        service.model,
        service.pool,
        `${ready} of ${service.min === service.max ? service.max : `${service.min}–${service.max}`}`,
        load(service),
        bytes(service.needed_bytes),
        el("span", {class: "message"}, service.state === "READY" ? "" : service.message),
        el("div", {class: "actions"},
            el("a", {class: "button plain", href: `#/playground?service=${encodeURIComponent(service.name)}`, "aria-label": `Chat with ${service.name}`}, "Chat"),
            AT_REST.includes(service.state) ? actButton("resume", service) : actButton("suspend", service, service.state === "DELETING")),
    ]};
}

const COLUMNS = [{title: "Service"}, {title: "State"}, {title: "Model", class: "roomy"}, {title: "Pool", class: "wide"}, {title: "Ready", class: "number"},
    {title: "Running / waiting", class: "number wide"}, {title: "Memory", class: "number wide"}, {title: "Message", class: "wide"}, {title: "Actions", class: "last roomy"}];

function openList(main, signal) {
    const list = el("div"), pools = el("ul", {class: "cards", "aria-label": "Pools"}), error = el("div"), bell = new Bell();
    let services = [];
    main.append(heading("Services", el("a", {class: "button primary", href: "#/services/new"}, "New service")), error, pools, list);
    listen(list, name => services.find(service => service.name === name), bell);
    poll(signal, {
        bell,
        ask: () => Promise.all([admin("GET", "/services", {signal}), admin("GET", "/pools", {signal})]),
        show: ([told, held]) => {
            services = told.services;
            error.replaceChildren();
            morph(pools, el("ul", null, held.pools.map(poolCard)));
            morph(list, el("div", null, table("Services", COLUMNS, services.map(listRow),
                "No service yet. A service is a model on a pool under a name: plan one, or create it at once.")));
        },
        fail: reason => morph(error, el("div", null, failure(reason))),
        pause: () => services.some(isMoving) ? 700 : 2000,
    });
}

/* ---- one of them ---- */

const INSTANCES = [{title: "Instance"}, {title: "State"}, {title: "Process", class: "number"}, {title: "Devices"}, {title: "Resident", class: "number"},
    {title: "Reserved", class: "number"}, {title: "Started"}, {title: "Restarts", class: "number"}, {title: "Message"}];

function instanceRow(instance) {
    return {key: instance.id, cells: [el("code", null, instance.id), [badge(instance.state), progress(instance.progress)], String(instance.pid ?? NONE),
        (instance.devices ?? []).join(", "), bytes(instance.memory_bytes), bytes(instance.reserved_bytes), moment(instance.started), count(instance.restart_count),
        instance.message ?? ""]};
}

function why(service) {
    const numbers = service.had_bytes ? `It needs ${bytes(service.needed_bytes)} and had ${bytes(service.had_bytes)}.` : null;
    const code = service.exit_code === null ? null : service.exit_code < 0 ? `Its engine was ended by signal ${-service.exit_code}.` : `Its engine ended with code ${service.exit_code}.`;
    const more = [code, numbers].filter(Boolean).join(" ");
    return el("div", {class: service.state === "FAILED" ? "failure" : "notice", "data-key": "why"}, el("p", null, service.message), more ? el("p", null, more) : null);
}

function detail(service) {
    const link = (view, text) => el("a", {class: "button plain", href: `#/${view}?service=${encodeURIComponent(service.name)}`}, text);
    const deleting = service.state === "DELETING";
    return el("div", null,
        el("div", {class: "toolbar"}, badge(service.state), progress(service.progress), el("span", {class: "grow"}),
            el("div", {class: "actions"}, link("playground", "Chat"), link("metrics", "Metrics"), link("logs", "Logs"),
                AT_REST.includes(service.state) ? actButton("resume", service) : actButton("suspend", service, deleting),
                actButton("scale", service, deleting),
                el("a", {class: "button plain", href: `#/services/${encodeURIComponent(service.name)}/edit`}, "Update…"), actButton("remove", service, deleting))),
        service.state === "READY" ? null : why(service),
        section("Facts", facts([
            ["Model", service.model], ["Digest", service.digest ? el("code", {title: service.digest}, service.digest.slice(0, 16)) : "a path, not pinned"],
            ["Pool", service.pool], ["Devices of an instance", service.gpus ? count(service.gpus) : "as many as it takes"],
            ["Instances", `${service.min} to ${service.max}`], ["Suspends itself", service.min > 0 || !service.autosuspend ? "never" : `after ${span(service.autosuspend)} without a request`],
            ["Running / waiting", `${count(service.running)} / ${count(service.waiting)}`], ["Memory of an instance", bytes(service.needed_bytes)],
            ["Requests", count(service.requests)], ["Tokens", count(service.tokens)], ["Restarts", count(service.restart_count)],
            ["Created", moment(service.created)], ["Generation", count(service.generation)],
            ["Settings", service.settings.length ? el("ul", {class: "bare"}, service.settings.map(text => el("li", null, el("code", null, text)))) : "defaults"],
        ])),
        section("Instances", table("Instances", INSTANCES, service.instances.map(instanceRow), "None runs.")),
        section("Last lines of the log", service.last_log.length
            ? el("pre", {class: "log", tabindex: "0", role: "region", "aria-label": "Last lines of the log"}, service.last_log.join("\n"))
            : el("p", {class: "empty"}, "Nothing has been logged.")));
}

function openService(main, name, signal) {
    const body = el("div", {class: "stack"}), state = el("p", {class: "unseen", role: "status", "aria-live": "polite"}), bell = new Bell();
    let service = null;
    main.append(el("p", {class: "crumbs"}, el("a", {href: "#/services"}, "Services")), heading(name), state, body);
    listen(body, () => service, bell);
    poll(signal, {
        bell,
        ask: () => admin("GET", path("services", name), {signal}),
        show: told => {
            service = told;
            if (state.textContent !== `${name} is ${told.state}`)
                state.textContent = `${name} is ${told.state}`;
            morph(body, detail(told));
        },
        fail: reason => {
            if (reason.status === 404 && service) {
                tell(`${name} is gone.`);
                location.hash = "#/services";
                return;
            }
            morph(body, el("div", null, failure(reason)));
        },
        pause: told => isMoving(told) ? 500 : 2000,
    });
}
