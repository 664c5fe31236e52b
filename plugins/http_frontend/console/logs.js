/* logs.js: what engines write, as they write it. Lines are kept up to a limit, so that a page left open stays small; what the filter hides
 * is kept, too. */
import {admin, lines, path, request} from "./api.js";
import {button, check, el, failure, field, heading, morph, options} from "./element.js";
import {Bell} from "./poll.js";

const KEPT = 5000, RETRY_MS = 2000;
/* "TIME INSTANCE LINE" */
const LINE = /^(\S+) (\S+) (.*)$/;

/* Of the day, where the reader is: as the other views have it. */
function clock(text) {
    const time = new Date(text), two = n => String(n).padStart(2, "0");
    return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

class Log {
    constructor() {
        this.kept = [];
        this.filter = "";
        this.instances = new Set();
        this.list = el("div", {class: "log", role: "log", tabindex: "0", "aria-label": "Log", "aria-live": "off"});
        this.waiting = [];
    }

    matches(text) {
        return !this.filter || text.toLowerCase().includes(this.filter);
    }

    lineNode(text) {
        const found = LINE.exec(text);
        if (!found)
            return el("div", null, text);
        const grave = /\b(error|fatal|failed)\b/i.test(found[3]) ? "grave" : /\bwarn/i.test(found[3]) ? "warned" : null;
        return el("div", {class: grave}, el("time", {datetime: found[1], title: `${found[1]} ${found[2]}`}, clock(found[1])), el("span", {class: "who"}, found[2]), el("span", null, found[3]));
    }

    /* All that came since the last frame is put in at once. */
    add(texts) {
        for (const text of texts.filter(Boolean)) {
            this.kept.push(text);
            this.waiting.push(text);
        }
        if (this.kept.length > KEPT)
            this.kept.splice(0, this.kept.length - KEPT);
        this.drawing ??= requestAnimationFrame(() => this.draw());
    }

    draw() {
        const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
        this.drawing = undefined;
        this.list.append(...this.waiting.splice(0).slice(-KEPT).filter(text => this.matches(text)).map(text => this.lineNode(text)));
        while (this.list.childElementCount > KEPT)
            this.list.firstChild.remove();
        if (atEnd)
            this.list.scrollTop = this.list.scrollHeight;
        this.drawn?.();
    }

    redraw() {
        this.waiting = [];
        this.list.replaceChildren(...this.kept.filter(text => this.matches(text)).map(text => this.lineNode(text)));
        this.list.scrollTop = this.list.scrollHeight;
        this.drawn?.();
    }

    clear() {
        this.kept = [];
        this.redraw();
    }
}

function save(name, texts) {
    const link = el("a", {href: URL.createObjectURL(new Blob([texts.join("\n") + "\n"], {type: "text/plain"})), download: `${name}.log`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export async function openLogs(main, {query}, signal) {
    main.append(heading("Logs"));
    const {services} = await admin("GET", "/services", {signal});
    if (services.length === 0)
        return main.append(el("p", {class: "empty"}, "No service, and so no log."));
    const name = query.get("service") ?? services[0].name, service = services.find(s => s.name === name);
    const log = new Log(), state = el("p", {class: "muted"}), problem = el("div");
    const said = el("p", {class: "unseen", role: "status"}); /* what was done, and not every line that comes */
    const choose = el("select", {value: name}, options([...new Set([...services.map(s => s.name), name])]));
    const instance = el("select", {value: query.get("instance") ?? ""}, options([["", "All"], ...(service?.instances ?? []).map(i => [i.id, `${i.id} (${i.state})`])]));
    const since = el("select", {value: query.get("since") ?? ""}, options([["", "All that is kept"], ["900", "15 minutes"], ["3600", "1 hour"], ["86400", "1 day"]]));
    const filter = el("input", {type: "search", spellcheck: "false", placeholder: "text"});
    const follow = button("Pause", {class: "plain"}), wrap = el("input", {type: "checkbox", checked: true});
    main.append(
        el("form", {class: "panel strip", "aria-label": "Which lines"}, field("Service", choose), field("Instance", instance), field("Since", since), field("Filter", filter), check("Wrap", wrap),
            el("div", {class: "actions"}, follow, button("Clear", {class: "plain", on: {click: () => { log.clear(); say(); }}}),
                button("Download", {class: "plain", on: {click: () => save(name, log.kept.filter(text => log.matches(text)))}}))),
        problem, log.list, state, said);

    log.drawn = () => { state.textContent = `${log.list.childElementCount} of ${log.kept.length} lines${log.kept.length === KEPT ? ", the oldest are let go" : ""}${paused ? ", paused" : ""}`; };
    const say = () => { said.textContent = state.textContent; };
    let paused = false, running = new AbortController(), newest = "";
    const reopen = () => {
        const next = new URLSearchParams({service: choose.value});
        if (choose.value === name && instance.value)
            next.set("instance", instance.value);
        if (since.value)
            next.set("since", since.value);
        location.hash = `#/logs?${next}`;
    };
    for (const control of [choose, instance, since])
        control.addEventListener("change", reopen);
    filter.addEventListener("input", () => { log.filter = filter.value.toLowerCase(); log.redraw(); say(); });
    filter.form.addEventListener("submit", event => event.preventDefault());
    wrap.addEventListener("change", () => log.list.classList.toggle("long", !wrap.checked));
    follow.addEventListener("click", () => {
        paused = !paused;
        follow.textContent = paused ? "Resume" : "Pause";
        running.abort();
        log.drawn();
        say();
        if (!paused)
            run();
    });
    signal.addEventListener("abort", () => running.abort());

    /* One answer, to its end; goes on where an earlier one ended. */
    async function read(mine) {
        const ask = new URLSearchParams({follow: "1"});
        if (instance.value)
            ask.set("instance", instance.value);
        if (newest)
            ask.set("since", String(Date.parse(newest) / 1000));
        else if (since.value)
            ask.set("since", String(Math.floor(Date.now() / 1000 - Number(since.value))));
        const before = newest, seen = new Set(log.kept.filter(text => text.startsWith(newest)));
        const response = await request("GET", `admin/v1${path("services", name)}/logs?${ask}`, {signal: mine});
        problem.replaceChildren();
        for await (const texts of lines(response)) {
            log.add(before ? texts.filter(text => !seen.has(text)) : texts);
            newest = texts.filter(Boolean).at(-1)?.split(" ", 1)[0] ?? newest;
        }
    }

    async function run() {
        const mine = running = new AbortController();
        while (!mine.signal.aborted) {
            try {
                await read(mine.signal);
            } catch (error) {
                if (mine.signal.aborted)
                    return;
                morph(problem, el("div", null, failure(error))); /* the same again is not said again */
                if (error.status === 404)
                    return;
            }
            await new Bell().pause(RETRY_MS, mine.signal);
        }
    }
    log.drawn();
    run();
}
