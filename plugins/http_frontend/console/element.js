/* element.js: elements from words. Text becomes text nodes, never markup, whatever a server says; the page's policy (trusted types)
 * forbids the other way, too. */

const SVG = "http://www.w3.org/2000/svg";
let lastId = 0;

export function freshId(word) {
    lastId += 1;
    return `${word}-${lastId}`;
}

function put(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (name === "on") {
            for (const [type, listener] of Object.entries(value))
                node.addEventListener(type, listener);
        } else if (name === "value" || name === "checked" || name === "disabled") {
            node[name] = value;
        } else if (value !== null && value !== undefined && value !== false) {
            node.setAttribute(name, value === true ? "" : String(value));
        }
    }
    /* Last, as a select has no value before it has options. */
    node.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
    if (attributes?.value !== undefined && node.localName === "select")
        node.value = attributes.value;
    return node;
}

/* el("p", {class: "x", on: {click: f}}, "text", node, [nodes], null) */
export function el(tag, attributes, ...children) {
    return put(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
    return put(document.createElementNS(SVG, tag), attributes, children);
}

/* Makes `old`'s content that of `fresh` and changes only what differs, so that what is focused, pressed or selected stays. Listeners are
 * not moved: what is shown live is listened to from above it. data-key tells rows apart. */
export function morph(old, fresh) {
    const wanted = [...fresh.childNodes];
    wanted.forEach((node, i) => {
        const have = old.childNodes[i];
        if (!have)
            old.append(node);
        else if (!alike(have, node))
            have.replaceWith(node);
        else if (node.nodeType === Node.TEXT_NODE)
            have.data !== node.data && (have.data = node.data);
        else
            update(have, node);
    });
    while (old.childNodes.length > wanted.length)
        old.lastChild.remove();
}

function alike(a, b) {
    return a.nodeName === b.nodeName && (a.nodeType === Node.TEXT_NODE || a.getAttribute("data-key") === b.getAttribute("data-key"));
}

function update(have, node) {
    for (const {name} of [...have.attributes])
        if (!node.hasAttribute(name) && name !== "open")
            have.removeAttribute(name);
    for (const {name, value} of node.attributes)
        if (have.getAttribute(name) !== value)
            have.setAttribute(name, value);
    morph(have, node);
}

/* ---- what views are made of ---- */

export function heading(text, ...actions) {
    return el("div", {class: "heading"}, el("h1", {tabindex: "-1"}, text), el("div", {class: "actions"}, actions));
}

export function button(text, attributes) {
    return el("button", {type: "button", ...attributes}, text);
}

/* A label, its control and a sentence below. */
export function field(label, control, hint, kind = "") {
    control.id ||= freshId("field");
    const below = hint ? el("p", {class: "hint", id: control.id + "-hint"}, hint) : null;
    if (below)
        control.setAttribute("aria-describedby", below.id);
    return el("div", {class: `field ${kind}`}, el("label", {for: control.id}, label), control, below);
}

export function check(label, control) {
    control.id ||= freshId("field");
    return el("div", {class: "check"}, control, el("label", {for: control.id}, label));
}

export function options(list) {
    return list.map(item => Array.isArray(item) ? el("option", {value: item[0]}, item[1]) : el("option", {value: item}, item));
}

/* columns: [{title, class}]; rows: [{key, cells}]; the first cell heads its row. */
export function table(caption, columns, rows, empty) {
    if (rows.length === 0 && empty)
        return el("p", {class: "empty"}, empty);
    const kind = i => columns[i].class;
    return el("div", {class: "scroll", role: "region", tabindex: "0", "aria-label": caption},
        el("table", null,
            el("caption", {class: "unseen"}, caption),
            el("thead", null, el("tr", null, columns.map((c, i) => el("th", {scope: "col", class: kind(i)}, c.title)))),
            el("tbody", null, rows.map(row => el("tr", {"data-key": row.key}, row.cells.map((cell, i) =>
                i === 0 ? el("th", {scope: "row", class: kind(i)}, cell) : el("td", {class: kind(i)}, cell)))))));
}

/* [[name, value, class]]; those without a value are left out. */
export function facts(pairs) {
    return el("dl", {class: "facts"}, pairs.filter(pair => pair[1] !== null && pair[1] !== undefined && pair[1] !== "")
        .map(([name, value, kind]) => el("div", {"data-key": name, class: kind}, el("dt", null, name), el("dd", null, value))));
}

export function section(title, ...children) {
    const id = freshId("title");
    return el("section", {class: "panel", "aria-labelledby": id}, el("h2", {id}, title), children);
}

/* ---- dialogs ---- */

/* Asks; resolves to the form's values by name, or null. */
export function askDialog({title, text, fields = [], action, danger = false, cancel = "Cancel"}) {
    const id = freshId("dialog");
    const form = el("form", {method: "dialog"},
        el("h2", {id}, title),
        text ? el("p", {id: id + "-text"}, text) : null,
        fields,
        el("div", {class: "actions"},
            button(cancel, {class: "plain", on: {click: () => dialog.close()}}),
            el("button", {type: "submit", class: danger ? "danger" : "primary"}, action)));
    const dialog = el("dialog", {"aria-labelledby": id, "aria-describedby": text ? id + "-text" : null}, form);
    document.body.append(dialog);
    return new Promise(resolve => {
        let answer = null;
        form.addEventListener("submit", event => {
            event.preventDefault();
            answer = Object.fromEntries(new FormData(form));
            dialog.close();
        });
        dialog.addEventListener("close", () => {
            dialog.remove();
            resolve(answer);
        });
        dialog.showModal();
    });
}

let fading;

/* A sentence at the foot of the page, for eyes and screen readers. */
export function tell(text, kind = "") {
    const told = document.getElementById("told");
    told.textContent = text;
    told.className = `told shown ${kind}`;
    clearTimeout(fading);
    fading = setTimeout(() => { told.className = "told"; }, kind === "bad" ? 12000 : 5000);
}

/* A box that says what went wrong, at once for screen readers. */
export function failure(error) {
    return el("div", {class: "failure", role: "alert"}, el("p", null, error.message));
}
