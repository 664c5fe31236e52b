/* plot.js: small line plots over whole minutes, as many as there is something of. A picture for the eye; its label says the same in words, and a table below holds the
 * numbers. Gaps stay gaps. */
import {el, morph, svg, table} from "./element.js";

const HEIGHT = 120, LEFT = 8, RIGHT = 52, TOP = 8, BOTTOM = 18, ROWS = 12;

/* 1, 2 or 5 times a power of ten, not below n. */
function roundUp(n) {
    const power = 10 ** Math.floor(Math.log10(n)), digit = n / power;
    return (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10) * power;
}

function pathOf(points) {
    let pen = false;
    return points.map(point => {
        if (!point) {
            pen = false;
            return "";
        }
        const step = `${pen ? "L" : "M"}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
        pen = true;
        return step;
    }).join("");
}

/* lines: [{name, read(sample)}]; format(value); top: the scale's end where it is known. */
export class Plot {
    constructor({title, lines, format, top}) {
        Object.assign(this, {title, lines, format, top, samples: [], span_s: 60});
        this.picture = svg("svg", {class: "plot", role: "img", height: String(HEIGHT), width: "100%"});
        this.now = el("p", {class: "plot-now"});
        this.numbers = el("div");
        this.details = el("details", null, el("summary", null, "Numbers"), this.numbers);
        this.node = el("figure", {class: "panel"}, el("figcaption", null, title), this.now, this.picture, this.details);
        this.details.addEventListener("toggle", () => this.draw());
        this.picture.addEventListener("pointermove", event => this.point(event));
        this.picture.addEventListener("pointerleave", () => { this.pointed = null; this.draw(); });
    }

    /* samples: [{time (ms), ...}], the last is now. */
    show(samples) {
        this.samples = samples;
        this.span_s = samples.length ? Math.max(1, Math.ceil((samples.at(-1).time - samples[0].time) / 60000)) * 60 : 60;
        this.draw();
    }

    point(event) {
        const box = this.picture.getBoundingClientRect(), wide = box.width - LEFT - RIGHT, end = this.samples.at(-1)?.time ?? 0;
        const time = end - (1 - (event.clientX - box.left - LEFT) / wide) * this.span_s * 1000;
        this.pointed = this.samples.reduce((best, s) => !best || Math.abs(s.time - time) < Math.abs(best.time - time) ? s : best, null);
        this.draw();
    }

    words(sample) {
        return this.lines.map(line => `${line.name} ${sample ? this.format(line.read(sample)) : "–"}`);
    }

    draw() {
        const width = this.picture.clientWidth || 300, wide = width - LEFT - RIGHT, high = HEIGHT - TOP - BOTTOM, end = this.samples.at(-1)?.time ?? 0;
        const values = this.samples.flatMap(s => this.lines.map(line => line.read(s))).filter(Number.isFinite), most = Math.max(0, ...values);
        const top = this.top ?? (most > 0 ? roundUp(most) : 1);
        const x = time => LEFT + wide * (1 - (end - time) / (this.span_s * 1000)), y = value => TOP + high * (1 - Math.min(value, top) / top);
        const shown = this.pointed ?? this.samples.at(-1);
        const grid = [0, 0.5, 1].map(share => svg("g", null,
            svg("line", {class: "grid", x1: LEFT, x2: LEFT + wide, y1: y(share * top), y2: y(share * top)}),
            svg("text", {x: LEFT + wide + 6, y: y(share * top) + 4}, this.format(share * top))));
        const paths = this.lines.map((line, i) => {
            const points = this.samples.map(s => Number.isFinite(line.read(s)) ? [x(s.time), y(line.read(s))] : null);
            const alone = points.map((p, at) => p && !points[at - 1] && !points[at + 1] ? svg("circle", {class: `line-${i}`, cx: p[0].toFixed(1), cy: p[1].toFixed(1), r: "1.8"}) : null);
            return svg("g", null, svg("path", {class: `line line-${i}`, d: pathOf(points)}), alone);
        });
        const cursor = this.pointed ? svg("line", {class: "cursor", x1: x(shown.time), x2: x(shown.time), y1: TOP, y2: TOP + high}) : null;
        morph(this.picture, svg("svg", null, grid, svg("text", {x: LEFT, y: HEIGHT - 4}, `${this.span_s / 60} min ago`),
            svg("text", {x: LEFT + wide, y: HEIGHT - 4, "text-anchor": "end"}, this.pointed ? new Date(shown.time).toLocaleTimeString("en-GB") : "now"), paths, cursor));
        this.picture.setAttribute("aria-label", `${this.title}: now ${this.words(this.samples.at(-1)).join(", ")}; at most ${this.format(most)} in ${this.span_s} s`);
        morph(this.now, el("p", null, this.lines.map((line, i) => el("span", {class: "reading"}, svg("svg", {class: "swatch", width: "12", height: "4", "aria-hidden": "true"},
            svg("rect", {class: `fill-${i}`, width: "12", height: "4", rx: "2"})), el("span", null, `${line.name} `, el("strong", null, shown ? this.format(line.read(shown)) : "–"))))));
        if (this.details.open)
            morph(this.numbers, el("div", null, table(`${this.title}, newest first`, [{title: "Time"}, ...this.lines.map(line => ({title: line.name, class: "number"}))],
                this.samples.slice(-ROWS).reverse().map(s => ({key: String(s.time), cells: [new Date(s.time).toLocaleTimeString("en-GB"), ...this.lines.map(line => this.format(line.read(s)))]})))));
    }
}
