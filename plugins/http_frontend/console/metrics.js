/* metrics.js: live plots per service, of the server's own /metrics. What was seen is kept while the page is open, so that coming back to
 * the view does not begin anew. */
import {request} from "./api.js";
import {el, facts, failure, heading, morph, options} from "./element.js";
import {count, figure, percent, span} from "./format.js";
import {Plot} from "./plot.js";
import {poll} from "./poll.js";
import {quantile, readMetrics, sampleOf} from "./prometheus.js";

const EVERY_MS = 2000, KEPT_S = 300, GAP_MS = 4 * EVERY_MS;

/* By model: {last, at, samples}. */
const history = new Map();

function remember(models, at) {
    for (const [name, now] of models) {
        const kept = history.get(name) ?? {samples: []};
        const late = kept.last && at - kept.at > GAP_MS;
        if (kept.last && !late)
            kept.samples.push({time: at, ...sampleOf(kept.last, now, (at - kept.at) / 1000)});
        else if (late)
            kept.samples.push({time: at});
        kept.samples = kept.samples.filter(sample => at - sample.time <= KEPT_S * 1000);
        Object.assign(kept, {last: now, at});
        history.set(name, kept);
    }
}

function makePlots() {
    const rate = n => figure(n);
    return [
        new Plot({title: "Tokens a second", format: rate, lines: [{name: "generated", read: s => s.generated ?? NaN}, {name: "prompt", read: s => s.prompt ?? NaN}]}),
        new Plot({title: "Requests", format: rate, lines: [{name: "running", read: s => s.running ?? NaN}, {name: "waiting", read: s => s.waiting ?? NaN}]}),
        new Plot({title: "KV cache in use", format: percent, top: 1, lines: [{name: "share", read: s => s.cache ?? NaN}]}),
        new Plot({title: "Time to first token, mean", format: span, lines: [{name: "mean", read: s => s.first ?? NaN}]}),
    ];
}

function totals(now) {
    const hits = now.prefix_cache_queries_total > 0 ? percent(now.prefix_cache_hits_total / now.prefix_cache_queries_total) : "–";
    return facts([["Tokens generated", count(now.generation_tokens_total)], ["Prompt tokens", count(now.prompt_tokens_total)], ["Requests finished", count(now.request_success_total)],
        ["Preemptions", count(now.num_preemptions_total)], ["Prefix cache hits", hits],
        ["First token, half within", span(quantile(now.buckets, 0.5))], ["First token, 95 % within", span(quantile(now.buckets, 0.95))]]);
}

/* A service's part of the page: made once, then only told. */
class Board {
    constructor(name) {
        this.plots = makePlots();
        this.totals = el("div");
        this.node = el("section", {class: "board", "aria-label": name}, el("h2", null, el("a", {href: `#/services/${encodeURIComponent(name)}`}, name)), this.totals,
            el("div", {class: "plots"}, this.plots.map(plot => plot.node)));
    }

    show({last, samples}) {
        morph(this.totals, el("div", null, totals(last)));
        this.plots.forEach(plot => plot.show(samples));
    }
}

export function openMetrics(main, {query}, signal) {
    const boards = new Map(), problem = el("div"), place = el("div", {class: "stack"});
    const choice = el("select", {"aria-label": "Service"}, options([["", "All services"]]));
    let only = query.get("service") ?? "";
    choice.addEventListener("change", () => {
        only = choice.value;
        window.history.replaceState(null, "", only ? `#/metrics?service=${encodeURIComponent(only)}` : "#/metrics");
        arrange();
    });
    main.append(heading("Metrics", choice), problem, place);

    function arrange() {
        const names = [...history.keys()].sort();
        const wanted = ["", ...new Set([...names, ...only ? [only] : []])];
        if (wanted.join("\n") !== [...choice.options].map(option => option.value).join("\n"))
            choice.replaceChildren(...options(wanted.map(name => [name, name || "All services"])));
        choice.value = only;
        const shown = names.filter(name => !only || name === only);
        for (const name of shown) {
            if (!boards.has(name))
                boards.set(name, new Board(name));
            if (!boards.get(name).node.isConnected)
                place.append(boards.get(name).node);
            boards.get(name).show(history.get(name));
        }
        for (const [name, board] of boards)
            if (!shown.includes(name))
                board.node.remove();
        place.querySelector(".empty")?.remove();
        if (shown.length === 0)
            place.append(el("p", {class: "empty"}, only ? `${only} has told nothing yet: a service tells its numbers once an engine of it has run.` : "No service has told anything yet."));
    }

    poll(signal, {
        ask: async () => readMetrics(await (await request("GET", "metrics", {signal})).text()),
        show: models => {
            const at = Date.now();
            problem.replaceChildren();
            for (const name of history.keys())
                if (!models.has(name))
                    history.delete(name);
            remember(models, at);
            arrange();
        },
        fail: error => morph(problem, el("div", null, failure(error))),
        pause: () => EVERY_MS,
    });
    addEventListener("resize", arrange, {signal});
}
