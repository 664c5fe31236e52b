/* models.js: the registry: what there is, and one version with its notes, files and names. */
import {admin, path} from "./api.js";
import {askDialog, button, el, facts, failure, field, heading, section, table, tell} from "./element.js";
import {bytes, count, moment} from "./format.js";
import {openModelForm} from "./model_form.js";

export function openModels(main, {parts}, signal) {
    if (parts[0] === "new" && parts.length === 1)
        return openModelForm(main, signal);
    return parts[0] ? openVersion(main, parts[0], parts[1], signal) : openList(main, signal);
}

function chips(words, kind = "") {
    return words.map(word => el("span", {class: `chip ${kind}`}, word));
}

function pairs(object) {
    return Object.entries(object ?? {}).map(([key, value]) => `${key}=${value}`);
}

function versionHash(model, version) {
    return `#/models/${encodeURIComponent(model)}/${encodeURIComponent(version)}`;
}

/* Services by the digest that they are pinned to. */
function users(services, version) {
    return services.filter(service => service.digest === version.digest).map(service => service.name);
}

/* ---- the list ---- */

const COLUMNS = [{title: "Model"}, {title: "Version"}, {title: "Aliases", class: "roomy"}, {title: "Tags and metrics", class: "wide"}, {title: "Size", class: "number"}, {title: "Digest", class: "wide"},
    {title: "Created", class: "wide"}, {title: "Used by", class: "roomy"}, {title: "Actions", class: "last roomy"}];

function row(model, version, services) {
    const reference = `${model.name}@${version.version}`, query = encodeURIComponent(reference);
    return {key: reference, cells: [
        el("a", {href: versionHash(model.name, version.version)}, model.name),
        el("span", {class: "whole"}, version.version, " ", version.version === model.default ? el("span", {class: "chip good"}, "default") : null),
        chips(version.aliases),
        [chips(pairs(version.tags)), chips(pairs(version.metrics), "code")],
        bytes(version.bytes),
        el("code", {title: version.digest}, version.digest.slice(0, 12)),
        el("span", {class: "whole"}, moment(version.created)),
        users(services, version).map((name, i) => [i ? ", " : "", el("a", {href: `#/services/${encodeURIComponent(name)}`}, name)]),
        el("div", {class: "actions"},
            el("a", {class: "button plain", href: `#/plan?model=${query}`, "aria-label": `Plan ${reference}`}, "Plan"),
            el("a", {class: "button plain", href: `#/services/new?model=${query}`, "aria-label": `Serve ${reference}`}, "Serve")),
    ]};
}

async function openList(main, signal) {
    main.append(heading("Models", el("a", {class: "button primary", href: "#/models/new"}, "Add a model")));
    const [{models}, {services}] = await Promise.all([admin("GET", "/models", {signal}), admin("GET", "/services", {signal})]);
    const rows = models.flatMap(model => model.versions.map(version => row(model, version, services)));
    main.append(table("Models", COLUMNS, rows, "The registry is empty. Add a model that lies on the server's disk, or pull one from a hub where the daemon may."));
}

/* ---- one version ---- */

async function setAlias(model, version) {
    const input = el("input", {type: "text", name: "alias", required: true, spellcheck: "false", autocomplete: "off"});
    const answer = await askDialog({title: "Set an alias", text: `It will mean ${model}@${version}, whatever it meant before.`, fields: [field("Alias", input)], action: "Set"});
    if (!answer)
        return null;
    await admin("PUT", path("models", model, "aliases", answer.alias.trim()), {body: {version}});
    return `${model}:${answer.alias.trim()} is ${version}.`;
}

async function verify(model, version, deep) {
    const report = await admin("POST", `${path("models", model, "versions", version)}/verify`, {body: {deep}});
    const damage = report.versions.flatMap(v => v.damage);
    if (report.damaged === 0)
        return deep ? "Every byte is as it was added." : "All files are there, and as long as they were.";
    throw new Error(`Damaged: ${damage.map(item => typeof item === "string" ? item : Object.values(item).join(" ")).join("; ")}`);
}

async function remove(model, version, bytesHeld, signal) {
    const answer = await askDialog({title: `Remove ${model}@${version}?`, text: `${bytes(bytesHeld)}, as far as no other version has them, go from the disk for good.`, action: "Remove", danger: true});
    if (!answer)
        return null;
    await admin("DELETE", path("models", model, "versions", version));
    if (!signal.aborted)
        location.hash = "#/models";
    return `${model}@${version} is removed.`;
}

function versionPage(model, shown, isDefault, usedBy, act, signal) {
    const {version, manifest} = shown, made = manifest?.model ?? {}, query = encodeURIComponent(`${model}@${version}`);
    const press = (text, does, attributes) => button(text, {class: "plain", ...attributes, on: {click: event => act(event.currentTarget, does)}});
    const dtypes = Object.entries(made.dtypes ?? {}).map(([name, n]) => `${name} ${bytes(n)}`).join(", ");
    return [
        el("div", {class: "toolbar"}, chips(shown.aliases), isDefault ? el("span", {class: "chip good"}, "default") : null, el("span", {class: "grow"}),
            el("div", {class: "actions"},
                el("a", {class: "button primary", href: `#/services/new?model=${query}`}, "Serve"), el("a", {class: "button plain", href: `#/plan?model=${query}`}, "Plan"),
                press("Verify", () => verify(model, version, false)), press("Verify every byte", () => verify(model, version, true)),
                press("Set an alias…", () => setAlias(model, version)),
                isDefault ? null : press("Make default", async () => { await admin("PUT", path("models", model) + "/default", {body: {version}}); return `${model} is ${version} now.`; }),
                press("Remove…", () => remove(model, version, shown.bytes, signal), {class: "danger"}))),
        section("Facts", facts([["Size", bytes(shown.bytes)], ["Digest", el("code", {class: "break"}, shown.digest), "broad"], ["Created", moment(shown.created)], ["Task", shown.task],
            ["Comment", shown.comment], ["Architecture", made.architecture], ["Container", made.container], ["Tensors", made.tensors ? `${count(made.tensors)}, ${bytes(made.tensor_bytes)}` : null],
            ["Types", dtypes], ["Licence", made.license], ["Source", manifest?.source?.path ?? manifest?.source?.repository ?? manifest?.source?.kind, "broad"],
            ["Path", shown.path ? el("code", {class: "break"}, shown.path) : null, "broad"],
            ["Tags", shown.tags && Object.keys(shown.tags).length ? chips(pairs(shown.tags)) : null], ["Metrics", shown.metrics && Object.keys(shown.metrics).length ? chips(pairs(shown.metrics), "code") : null],
            ["Used by", usedBy.length ? usedBy.map((name, i) => [i ? ", " : "", el("a", {href: `#/services/${encodeURIComponent(name)}`}, name)]).flat() : "no service"]])),
        shown.aliases.length ? section("Aliases", el("ul", {class: "bare rows"}, shown.aliases.map(alias => el("li", {class: "row"}, el("code", null, `${model}:${alias}`),
            press("Unset", async () => { await admin("DELETE", path("models", model, "aliases", alias)); return `${model}:${alias} means nothing now.`; }, {"aria-label": `Unset ${alias}`}))))) : null,
        section("Files", table("Files", [{title: "File"}, {title: "Bytes", class: "number"}, {title: "SHA-256"}],
            (manifest?.files ?? []).map(file => ({key: file.name, cells: [el("code", {class: "break"}, file.name), bytes(file.bytes), el("code", {title: file.sha256}, file.sha256.slice(0, 16))]})), "None.")),
    ];
}

async function openVersion(main, model, version, signal) {
    const body = el("div", {class: "stack"}), problem = el("div");
    main.append(el("p", {class: "crumbs"}, el("a", {href: "#/models"}, "Models")), heading(version ? `${model}@${version}` : model), problem, body);

    async function load() {
        const [told, {services}] = await Promise.all([admin("GET", path("models", model), {signal}), admin("GET", "/services", {signal})]);
        const wanted = version ?? told.default, shown = await admin("GET", path("models", model, "versions", wanted), {signal});
        body.replaceChildren(...versionPage(model, shown, told.default === wanted, users(services, shown), act, signal).filter(Boolean));
    }

    /* A button that was disabled, or made anew, has lost the focus. */
    function focusAgain(pressed) {
        const nameOf = control => control.getAttribute("aria-label") ?? control.textContent;
        if (!signal.aborted && document.activeElement === document.body)
            ([...body.querySelectorAll("button")].find(other => nameOf(other) === nameOf(pressed)) ?? main.querySelector("h1")).focus({preventScroll: true});
    }

    /* A press that takes its time cannot be pressed twice; what it says in the end is told. */
    async function act(pressed, does) {
        pressed.disabled = true;
        problem.replaceChildren();
        try {
            const said = await does();
            if (said)
                tell(said, "good");
            if (said && location.hash.startsWith("#/models/"))
                await load();
        } catch (error) {
            if (!signal.aborted)
                problem.replaceChildren(failure(error));
            else if (error.name !== "AbortError") /* the user has gone on, and is told there */
                tell(error.message, "bad");
        } finally {
            pressed.disabled = false;
            focusAgain(pressed);
        }
    }
    await load();
}
