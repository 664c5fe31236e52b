/* api.js: requests to the server that the page came from, and to no other. The token lies in the tab's session storage and goes out in a
 * header alone. Paths are relative to the page, as a proxy may serve it below a path of its own. */
import {askDialog, el, field} from "./element.js";

const KEY = "tenon.token";
const root = new URL("..", document.baseURI);

/* What a server, or the way to it, refused. status 0: no answer. */
export class ApiError extends Error {
    constructor(status, message, param = null, body = null) {
        super(message);
        this.status = status;
        this.param = param;
        this.body = body;
    }
}

/* ---- the token ---- */

export const tokens = new EventTarget(); /* "change" */
let asking = null, declined = false;

export function hasToken() {
    return sessionStorage.getItem(KEY) !== null;
}

export function forgetToken() {
    sessionStorage.removeItem(KEY);
    declined = true;
    tokens.dispatchEvent(new Event("change"));
}

async function ask(reason) {
    const input = el("input", {type: "password", name: "token", required: true, autocomplete: "off", spellcheck: "false",
        pattern: "\\s*[!-~]+\\s*", title: "Letters, digits and signs, without blanks: nothing else can be sent in a header"});
    const answer = await askDialog({
        title: "Token",
        text: reason,
        fields: [field("Token", input, [el("code", null, "tenon token create NAME --scope admin,infer"), " makes one. It is kept in this tab only, until it is closed."])],
        action: "Use token",
    });
    declined = answer === null;
    if (answer)
        sessionStorage.setItem(KEY, answer.token.trim());
    tokens.dispatchEvent(new Event("change"));
    return !declined;
}

/* Asks the user, once for all requests that wait for it. False: the user would rather not. */
export function enterToken(reason = "Requests carry it as a bearer token.") {
    asking ??= ask(reason).finally(() => { asking = null; });
    return asking;
}

/* ---- requests ---- */

export function address(path) {
    return new URL(path, root);
}

/* body: an object, or JSON as text. */
async function send(method, path, body, signal) {
    const headers = {}, token = sessionStorage.getItem(KEY);
    if (token)
        headers.Authorization = "Bearer " + token;
    if (body !== undefined || method === "POST")
        headers["Content-Type"] = "application/json";
    try {
        return await fetch(address(path), {method, headers, signal, body: body === undefined || typeof body === "string" ? body : JSON.stringify(body),
            cache: "no-store", redirect: "error", credentials: "same-origin"});
    } catch (error) {
        if (error.name === "AbortError")
            throw error;
        throw new ApiError(0, `The server at ${root.host} does not answer.`);
    }
}

async function refusal(response) {
    let body = null;
    try {
        body = await response.json();
    } catch { /* a proxy's page */ }
    return new ApiError(response.status, body?.error?.message ?? `The server has answered with status ${response.status}.`,
        body?.error?.param ?? null, body);
}

/* The response, whose status is below 400. A missing or wrong token is asked for, and the request sent again. */
export async function request(method, path, {body, signal} = {}) {
    for (;;) {
        const used = sessionStorage.getItem(KEY);
        const response = await send(method, path, body, signal);
        if (response.ok)
            return response;
        const error = await refusal(response);
        if (response.status !== 401 || declined)
            throw error;
        const other = sessionStorage.getItem(KEY) !== used; /* somebody was asked meanwhile */
        if (!other && !await enterToken(used ? "The token is unknown, revoked or expired." : "This server asks for a token."))
            throw error;
    }
}

/* JSON of the admin API; null: there is none. */
export async function admin(method, path, options) {
    const response = await request(method, "admin/v1" + path, options);
    return response.status === 204 ? null : response.json();
}

/* "/services/a%20b" of its parts. */
export function path(...parts) {
    return "/" + parts.map(encodeURIComponent).join("/");
}

/* Lines of a body as they come; the last may lack its end. */
export async function* lines(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    try {
        for (;;) {
            const {value, done} = await reader.read();
            if (done)
                break;
            const parts = (rest + value).split("\n");
            rest = parts.pop();
            yield parts;
        }
        if (rest)
            yield [rest];
    } finally {
        reader.cancel().catch(() => {});
    }
}
