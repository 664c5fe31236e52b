/* model_form.js: a version to add, from the server's disk or from a hub. */
import {admin} from "./api.js";
import {button, el, failure, field, heading, tell} from "./element.js";

/* "a=b" lines to an object; metrics are numbers. */
function readPairs(text, asNumber) {
    return Object.fromEntries(text.split("\n").map(line => line.trim()).filter(Boolean).map(line => {
        const at = line.indexOf("=");
        if (at < 1)
            throw new Error(`'${line}' is no KEY=VALUE`);
        const value = line.slice(at + 1).trim();
        if (asNumber && (value === "" || !Number.isFinite(Number(value))))
            throw new Error(`'${line}': a metric is a number`);
        return [line.slice(0, at).trim(), asNumber ? Number(value) : value];
    }));
}

function readLines(text) {
    return text.split("\n").map(line => line.trim()).filter(Boolean);
}

function readBody(form) {
    const value = Object.fromEntries(new FormData(form)), body = {};
    const fromHub = value.source === "pull";
    for (const name of ["name", "version", "alias", "task", "comment", ...fromHub ? ["pull", "revision"] : ["path"]])
        if (value[name]?.trim())
            body[name] = value[name].trim();
    const tags = readPairs(value.tags, false), metrics = readPairs(value.metrics, true);
    if (Object.keys(tags).length)
        body.tags = tags;
    if (Object.keys(metrics).length)
        body.metrics = metrics;
    for (const name of fromHub ? ["include", "exclude"] : [])
        if (readLines(value[name]).length)
            body[name] = readLines(value[name]);
    return body;
}

export function openModelForm(main, signal) {
    const text = (name, more) => el("input", {type: "text", name, spellcheck: "false", autocomplete: "off", ...more});
    const area = (name, placeholder) => el("textarea", {name, rows: "3", placeholder, spellcheck: "false"});
    const disk = el("div", {class: "fields"}, field("Path", text("path", {required: true, placeholder: "/data/models/llama"}), "Absolute, on the server: a GGUF file, or a directory as downloaded from a hub.", "broad"));
    const hub = el("div", {class: "fields", hidden: true}, field("Repository", text("pull", {placeholder: "org/name"}), "Only where [registry] allow_pull lets the daemon fetch."),
        field("Revision", text("revision", {placeholder: "main"})), field("Only these files", area("include", "*.safetensors"), "Patterns, one a line."),
        field("Not these files", area("exclude", "*.bin"), "Patterns, one a line."));
    const radio = (value, label, checked) => el("label", {class: "radio"}, el("input", {type: "radio", name: "source", value, checked}), label);
    const problem = el("div"), submit = el("button", {type: "submit", class: "primary"}, "Add");
    const form = el("form", {class: "panel form"},
        el("div", {class: "fields"}, field("Name", text("name", {required: true}), "Under which it is kept.")),
        el("fieldset", null, el("legend", null, "Source"), radio("path", "The server's disk", true), radio("pull", "A hub", false), disk, hub),
        el("div", {class: "fields"},
            field("Version", text("version", {placeholder: "the next one: v1, v2, …"})), field("Alias", text("alias", {placeholder: "prod"}), "Set to this version."),
            field("Task", text("task", {placeholder: "chat"})), field("Comment", text("comment"))),
        el("div", {class: "fields"}, field("Tags", area("tags", "team=search"), "KEY=VALUE, one a line."), field("Metrics", area("metrics", "accuracy=0.91"), "KEY=NUMBER, one a line.")),
        problem,
        el("div", {class: "actions"}, button("Cancel", {class: "plain", on: {click: () => { location.hash = "#/models"; }}}), submit));
    form.addEventListener("change", event => {
        if (event.target.name !== "source")
            return;
        const fromHub = form.elements.source.value === "pull";
        disk.hidden = fromHub;
        hub.hidden = !fromHub;
        form.elements.path.required = !fromHub;
        form.elements.pull.required = fromHub;
    });
    form.addEventListener("submit", async event => {
        event.preventDefault();
        submit.disabled = true;
        submit.textContent = "Adding…";
        form.setAttribute("aria-busy", "true");
        try {
            const body = readBody(form), added = await admin("POST", "/models", {body});
            tell(`${body.name}@${added.version} is added.`, "good");
            if (!signal.aborted) /* else the user has gone on meanwhile */
                location.hash = `#/models/${encodeURIComponent(body.name)}/${encodeURIComponent(added.version)}`;
        } catch (error) {
            if (signal.aborted)
                return tell(error.message, "bad");
            problem.replaceChildren(failure(error));
            (error.param && form.elements[error.param])?.focus?.();
        } finally {
            submit.disabled = false;
            submit.textContent = "Add";
            form.removeAttribute("aria-busy");
        }
    });
    main.append(el("p", {class: "crumbs"}, el("a", {href: "#/models"}, "Models")), heading("Add a model"), form);
}
