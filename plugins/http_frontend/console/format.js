/* format.js: numbers and times as people read them. */

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", {maximumSignificantDigits: 3});
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export const NONE = "–";

export function count(n) {
    return n === null || n === undefined ? NONE : whole.format(n);
}

/* Three digits: 12.3, 0.0012. */
export function figure(n) {
    return Number.isFinite(n) ? short.format(n) : NONE;
}

export function bytes(n) {
    if (!Number.isFinite(n))
        return NONE;
    let unit = 0;
    for (; n >= 1024 && unit < UNITS.length - 1; unit++)
        n /= 1024;
    return `${unit === 0 ? n : n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

export function percent(share) {
    if (!Number.isFinite(share))
        return NONE;
    if (share > 0 && share < 0.001)
        return "< 0.1 %";
    return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

/* Of seconds, with the unit that suits. */
export function span(seconds) {
    if (!Number.isFinite(seconds))
        return NONE;
    if (seconds < 1)
        return `${figure(seconds * 1000)} ms`;
    if (seconds < 120)
        return `${figure(seconds)} s`;
    if (seconds < 7200)
        return `${Math.round(seconds / 60)} min`;
    return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

/* Of a date's text, or milliseconds since 1970. */
export function moment(date) {
    const d = new Date(date);
    return Number.isNaN(d.getTime()) ? NONE : d.toLocaleString("en-GB", {dateStyle: "medium", timeStyle: "short"});
}

export function plural(n, noun) {
    return `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
}
