/* playground.js: a conversation with a service, streamed. Stopping closes the connection, upon which the engine ends the request at once. */
import {admin, address, lines, request} from "./api.js";
import {button, el, failure, field, heading, options, tell} from "./element.js";
import {count, figure, span} from "./format.js";

const SETTINGS = [["temperature", "Temperature", {min: "0", max: "2", step: "0.1"}], ["top_p", "Top p", {min: "0", max: "1", step: "0.05"}],
    ["max_tokens", "Most tokens", {min: "1", step: "1"}], ["seed", "Seed", {step: "1"}]];

/* Kept while the page is open. */
const kept = {messages: [], system: "", settings: {}};

const STREAMED = {stream: true, stream_options: {include_usage: true}};
const SEED = /"seed":(-?\d+)/;

/* The objects of a stream, until "[DONE]". */
async function* events(response) {
    for await (const texts of lines(response)) {
        for (const text of texts) {
            if (!text.startsWith("data: "))
                continue;
            const data = text.slice(6).trimEnd();
            if (data === "[DONE]")
                return;
            const event = JSON.parse(data);
            event.seed = SEED.exec(data)?.[1]; /* more digits than a number of JavaScript's has */
            if (event.error)
                throw new Error(event.error.message);
            yield event;
        }
    }
}

/* What a stream was like: filled in as it goes. */
class Measure {
    constructor() {
        this.begun = performance.now();
    }

    token() {
        this.first ??= performance.now();
        this.last = performance.now();
    }

    words({finish, usage, seed, stopped}) {
        const took = (this.last - this.first) / 1000, n = usage?.completion_tokens;
        return [stopped ? "stopped" : finish ? `finish: ${finish}` : null, usage ? `${count(usage.prompt_tokens)} + ${count(n)} tokens` : null,
            this.first ? `first token after ${span((this.first - this.begun) / 1000)}` : null,
            n > 1 && took > 0 ? `${figure((n - 1) / took)} tokens/s` : null, seed === null ? null : `seed ${seed}`].filter(Boolean).join(" · ");
    }
}

function bubble(message) {
    const text = el("div", {class: "text"}, message.content), note = el("p", {class: "note"}, message.note ?? "");
    return {text, note, node: el("article", {class: `message ${message.role}`, "aria-label": message.role === "user" ? "You" : "Model"},
        el("p", {class: "role"}, message.role === "user" ? "You" : "Model"), text, note)};
}

/* A number field lets ".5" and "007" through, which JSON does not; a seed may have more digits than a number of JavaScript's. */
function asJson(number) {
    return /^-?\d+$/.test(number) ? String(BigInt(number)) : String(Number(number));
}

function bodyOf(model, system, settings, messages, more) {
    const body = {model, messages: [...system.trim() ? [{role: "system", content: system}] : [], ...messages.map(({role, content}) => ({role, content}))], ...more};
    const numbers = Object.entries(settings).filter(([, value]) => value !== "").map(([name, value]) => `,${JSON.stringify(name)}:${asJson(value)}`);
    return JSON.stringify(body).slice(0, -1) + numbers.join("") + "}";
}

function asCurl(body) {
    const quoted = body.replaceAll("'", "'\\''");
    return `curl ${address("v1/chat/completions")} -H 'Content-Type: application/json' -H "Authorization: Bearer $TENON_TOKEN" -d '${quoted}'`;
}

export async function openPlayground(main, {query}, signal) {
    main.append(heading("Playground"));
    const {services} = await admin("GET", "/services", {signal});
    if (services.length === 0)
        return main.append(el("p", {class: "empty"}, "No service to talk to: create one first."));
    const names = services.map(s => s.name), wanted = query.get("service") ?? services.find(s => s.state === "READY")?.name ?? names[0];
    const choose = el("select", {value: wanted}, options([...new Set([...names, wanted])]));
    const system = el("textarea", {rows: "3", value: kept.system, placeholder: "None"});
    const inputs = Object.fromEntries(SETTINGS.map(([name, , range]) => [name, el("input", {type: "number", placeholder: "model's own", ...range, value: kept.settings[name] ?? ""})]));
    const talk = el("div", {class: "talk", role: "log", "aria-label": "Conversation", "aria-live": "off", tabindex: "0"}), problem = el("div");
    const said = el("p", {class: "unseen", role: "status", "aria-live": "polite"});
    const text = el("textarea", {rows: "2", placeholder: "Write a message. Enter sends, Shift and Enter begins a line.", "aria-label": "Message"});
    const send = el("button", {type: "submit", class: "primary"}, "Send"), stop = button("Stop", {class: "danger", hidden: true});
    const form = el("form", {class: "composer"}, text, el("div", {class: "actions"}, stop, send));
    const empty = el("p", {class: "empty"}, "Nothing said yet.");
    let running = null;

    const read = () => Object.fromEntries(SETTINGS.map(([name]) => [name, inputs[name].value.trim()]));
    const keep = () => { kept.system = system.value; kept.settings = read(); };
    for (const control of [system, ...Object.values(inputs)])
        control.addEventListener("input", keep);
    choose.addEventListener("change", () => history.replaceState(null, "", `#/playground?service=${encodeURIComponent(choose.value)}`));

    const side = el("div", {class: "panel form", role: "group", "aria-label": "How it answers"}, field("Service", choose), 
        el("details", {open: matchMedia("(min-width: 821px)").matches}, el("summary", null, "System prompt and sampling"), field("System prompt", system),
            el("div", {class: "fields small"}, SETTINGS.map(([name, label]) => field(label, inputs[name])))),
        el("div", {class: "actions"}, button("New conversation", {class: "plain", on: {click: clear}}),
            navigator.clipboard ? button("Copy as curl", {class: "plain", on: {click: copy}}) : null));
    main.append(el("div", {class: "split"}, side, el("div", {class: "chat"}, talk, problem, said, form)));
    show();

    function show() {
        talk.replaceChildren(...kept.messages.length ? kept.messages.map(message => bubble(message).node) : [empty]);
        talk.scrollTop = talk.scrollHeight;
    }

    function clear() {
        running?.abort();
        kept.messages = [];
        problem.replaceChildren();
        show();
        text.focus();
    }

    async function copy() {
        await navigator.clipboard.writeText(asCurl(bodyOf(choose.value, system.value, read(), kept.messages)));
        tell("Copied.");
    }

    /* Text appended as it comes; the view stays at the end if it was there. */
    async function stream(body, message, shown, mine) {
        const measure = new Measure();
        const end = {finish: null, usage: null, seed: null, stopped: false};
        try {
            for await (const event of events(await request("POST", "v1/chat/completions", {body, signal: mine.signal}))) {
                if (mine.signal.aborted) { /* what has come already is not shown either */
                    end.stopped = true;
                    break;
                }
                const choice = event.choices[0];
                end.usage = event.usage ?? end.usage;
                end.finish = choice?.finish_reason ?? end.finish;
                end.seed = event.seed ?? end.seed;
                if (!choice?.delta?.content)
                    continue;
                const atEnd = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 60;
                measure.token();
                message.content += choice.delta.content;
                shown.text.append(choice.delta.content);
                if (atEnd)
                    talk.scrollTop = talk.scrollHeight;
            }
        } catch (error) {
            if (!mine.signal.aborted)
                throw error;
            end.stopped = true;
        } finally {
            message.note = measure.words(end);
            shown.note.textContent = message.note;
        }
    }

    async function submit() {
        const content = text.value.trim();
        if (!content || running)
            return;
        const mine = running = new AbortController(), question = {role: "user", content}, answer = {role: "assistant", content: ""};
        const body = bodyOf(choose.value, system.value, read(), [...kept.messages, question], STREAMED), shown = bubble(answer);
        kept.messages.push(question, answer);
        empty.remove();
        talk.append(bubble(question).node, shown.node);
        talk.scrollTop = talk.scrollHeight;
        problem.replaceChildren();
        text.value = "";
        stop.hidden = false;
        send.disabled = true;
        said.textContent = "The model answers.";
        try {
            await stream(body, answer, shown, mine);
            said.textContent = `${answer.content} ${answer.note}`;
        } catch (error) {
            said.textContent = "";
            problem.replaceChildren(failure(error));
            if (!answer.content) { /* nothing came: the question can be sent again */
                kept.messages.splice(-2);
                text.value = content;
                show();
            }
        } finally {
            const here = document.activeElement === document.body || form.contains(document.activeElement);
            running = null;
            stop.hidden = true;
            send.disabled = false;
            if (here) /* and not where the user has gone meanwhile */
                text.focus();
        }
    }

    form.addEventListener("submit", event => { event.preventDefault(); submit(); });
    stop.addEventListener("click", () => running?.abort());
    text.addEventListener("keydown", event => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            submit();
        }
    });
    signal.addEventListener("abort", () => running?.abort());
}
