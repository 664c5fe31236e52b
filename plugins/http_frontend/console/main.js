/* main.js: which view an address means, and what stands around all views. An address is "#/view/part/part?name=value", so that every view
 * can be linked and the browser's own buttons work. */
import {enterToken, forgetToken, hasToken, request, tokens} from "./api.js";
import {el, failure, tell} from "./element.js";
import {openLogs} from "./logs.js";
import {openMetrics} from "./metrics.js";
import {openModels} from "./models.js";
import {openPlan} from "./plan.js";
import {openPlayground} from "./playground.js";
import {openServices} from "./services.js";
import {startTheme} from "./theme.js";

/* open(main, {parts, query}, signal): fills main, and stops at the signal. */
const views = {
    services: {title: "Services", open: openServices},
    models: {title: "Models", open: openModels},
    plan: {title: "Plan", open: openPlan},
    metrics: {title: "Metrics", open: openMetrics},
    logs: {title: "Logs", open: openLogs},
    playground: {title: "Playground", open: openPlayground},
};

const main = document.getElementById("main");
let current = new AbortController();

function readAddress() {
    const [way, query] = location.hash.replace(/^#\/?/, "").split("?");
    const [view, ...parts] = way.split("/").filter(Boolean).map(part => {
        try {
            return decodeURIComponent(part);
        } catch {
            return part;
        }
    });
    return {view: view ?? "services", parts, query: new URLSearchParams(query ?? "")};
}

function show(isFirst) {
    const route = readAddress(), view = Object.hasOwn(views, route.view) ? views[route.view] : null;
    current.abort();
    current = new AbortController();
    for (const link of document.querySelectorAll("#views a"))
        link.toggleAttribute("aria-current", false);
    document.querySelector(`#views a[href="#/${CSS.escape(route.view)}"]`)?.setAttribute("aria-current", "page");
    main.replaceChildren();
    if (view)
        Promise.resolve(view.open(main, route, current.signal)).catch(error => {
            if (error.name !== "AbortError")
                main.append(failure(error));
        });
    else
        main.append(el("h1", {tabindex: "-1"}, "Nothing here"), el("p", null, "There is no view of this name."));
    document.title = [...route.parts.slice(0, 1), view?.title ?? "Nothing here", "Tenon"].join(" · ");
    if (!isFirst)
        (main.querySelector("h1") ?? main).focus({preventScroll: true});
    scrollTo(0, 0);
}

/* ---- around the views ---- */

function showToken() {
    const control = document.getElementById("token");
    control.hidden = false;
    control.textContent = hasToken() ? "Forget token" : "Use a token";
}

async function pressToken() {
    if (hasToken()) {
        forgetToken();
        tell("The token is forgotten.");
        show(true);
    } else if (await enterToken()) {
        tell("The token is kept in this tab.");
        show(true);
    }
}

async function showServer() {
    try {
        const {version} = await (await request("GET", "version")).json();
        document.getElementById("server").textContent = version;
    } catch { /* the view says it */ }
}

document.getElementById("views").append(...Object.entries(views).map(([name, {title}]) =>
    el("li", null, el("a", {href: `#/${name}`}, title))));
document.getElementById("skip").addEventListener("click", event => {
    event.preventDefault();
    main.focus();
});
document.getElementById("token").addEventListener("click", pressToken);
tokens.addEventListener("change", () => { showToken(); showServer(); });
addEventListener("hashchange", () => show(false));
startTheme(document.getElementById("theme"));
showToken();
show(true);
showServer();
