"""test_console.py [FOLDER]: the console page in a real browser over a real daemon: what an operator does from a model to its end, with a
token, with the keyboard alone, in the dark and on a telephone; what a screen reader is told; and that nothing is asked of anybody else.
Pictures of every view go to FOLDER. Without Chromium it is skipped."""
import json
import os
import sys
import tempfile

import webdriver
from daemon import Daemon
from registry_program import DIRECTORY, command, run
from webdriver import ELEMENT, Browser

COMMENT = "<img src=x onerror=alert(1)> is text"
VIEWS = {"services": "#/services", "service": "#/services/chat", "service-new": "#/services/new?model=tiny&pool=here&set=max_model_len%3D512",
         "service-edit": "#/services/chat/edit", "models": "#/models", "model": "#/models/sharded/v1", "model-new": "#/models/new", "plan": "#/plan?model=tiny&pool=here",
         "plan-misfit": "#/plan?model=tiny&pool=here&concurrency=60000&roi=on", "metrics": "#/metrics?service=chat", "logs": "#/logs?service=chat",
         "playground": "#/playground?service=chat", "nothing": "#/nothing"}
SHOWN = {"services": "READY", "service": "is ready after", "service-new": "Replace a service", "service-edit": "Suspend after", "models": "sharded", "model": "config.json", "model-new": "Add",
         "plan": "It fits", "plan-misfit": "It does not fit", "metrics": "Tokens generated", "logs": "is ready after", "playground": "finish:", "nothing": "no view"}

# For every text that is seen: its contrast with what lies behind it (WCAG 2.2, 1.4.3).
CONTRAST = """
const pixel = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
const known = new Map();
function rgba(color) {
    if (!known.has(color)) known.set(color, paint(color));
    return known.get(color);
}
function paint(color) {
    pixel.clearRect(0, 0, 1, 1); pixel.fillStyle = color; pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data];
}
function over(top, below) { const a = top[3] / 255; return [0, 1, 2].map(i => top[i] * a + below[i] * (1 - a)).concat(255); }
function behind(element) {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 255]);
}
function luminance(c) {
    const [r, g, b] = c.map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const poor = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || !e.checkVisibility({opacityProperty: true}) || e.closest(".unseen, :disabled, option, title, [aria-busy=true]")) continue;
    const style = getComputedStyle(e), svg = e.namespaceURI.endsWith("svg"), size = parseFloat(style.fontSize);
    const back = behind(e), front = over(rgba(svg ? style.fill : style.color), back);
    const [a, b] = [luminance(front), luminance(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    seen += 1;
    if (ratio < (large ? 3 : 4.5)) poor.push(`${text.slice(0, 40)}: ${ratio.toFixed(2)}`);
}
return [seen, poor];
"""


def give_token(browser, token):
    browser.type("dialog input", token)
    browser.press("dialog button", "Use token")


def check_tokens(browser, base, tokens):
    """Asked for; a wrong one is asked for again; one without the scope is told; it lies in the tab's storage alone."""
    browser.go(base[:-1])
    give_token(browser, "a token…")
    assert browser.script("return document.querySelector('dialog[open] input').validity.patternMismatch")
    give_token(browser, "tenon-" + "0" * 64)
    browser.sees("unknown, revoked or expired", "dialog")
    browser.keys("escape")
    browser.sees("the token is unknown, revoked or expired")
    browser.press("button", "Forget token")
    browser.press("button", "Use a token")
    give_token(browser, tokens["infer"])
    browser.sees("lacks the scope 'admin'")
    browser.press("button", "Forget token")
    browser.sees("a token with the scope 'admin' is required")
    browser.press("button", "Use a token")
    give_token(browser, tokens["both"])
    browser.sees("No service yet")
    assert browser.script("return [location.pathname, JSON.stringify(localStorage), document.cookie]") == ["/admin/", "{}", ""]
    assert browser.script("return sessionStorage.getItem('tenon.token')") == tokens["both"]


def check_models(browser, base):
    browser.press("a", "Models")
    browser.press("a", "Add a model")
    browser.type("[name=name]", "sharded")
    browser.press("label", "A hub")
    browser.type("[name=pull]", "org/name")
    browser.press("button", "Add")
    browser.sees("allow_pull lets it")
    browser.press("label", "The server's disk")
    for name, value in [("path", "/nowhere/at/all"), ("comment", COMMENT), ("alias", "prod"), ("tags", "team=search"), ("metrics", "acc=")]:
        browser.type(f"[name={name}]", value)
    browser.press("button", "Add")
    browser.sees("'acc=': a metric is a number")
    browser.type("[name=metrics]", "acc=0.5")
    browser.press("button", "Add")
    browser.sees("/nowhere/at/all")
    browser.type("[name=path]", os.path.realpath(DIRECTORY))
    browser.press("button", "Add")
    browser.sees("sharded@v1")
    browser.sees(COMMENT)
    browser.sees("acc=0.5")
    browser.press("button", "Set an alias…")
    browser.type("dialog input", "staging")
    browser.press("dialog button", "Set")
    browser.sees("sharded:staging")
    browser.press("button", "Unset prod")
    browser.wait(lambda: "sharded:prod" not in browser.text(), "alias that is gone")
    browser.press("button", "Verify every byte")
    browser.sees("Every byte is as it was added", "#told")
    browser.wait(lambda: browser.script("return document.activeElement.textContent") == "Verify every byte", "focus where it was")
    check_user_who_goes_on(browser)


def hold_answer(browser, answer):
    """The next POST is answered when the test lets it: by `answer`, an expression."""
    browser.script("""
        const genuine = window.fetch;
        window.go = null;
        window.fetch = async (...asked) => {
            const answer = await genuine(...asked);
            if (asked[1]?.method !== "POST") return answer;
            window.fetch = genuine;
            await new Promise(go => { window.go = go; });
            return ANSWER;
        };""".replace("ANSWER", answer))


def go_on(browser):
    """To another view, before the answer comes."""
    browser.wait(lambda: browser.script("return Boolean(window.go)"), "answer that is held back")
    browser.press("a", "Logs")
    browser.sees("No service, and so no log")
    browser.script("window.go()")


def check_user_who_goes_on(browser):
    """What takes its time does not lead away from where the user is by then, and is told there."""
    hold_answer(browser, "Response.json({error: {message: 'The disk is gone.'}}, {status: 500})")
    browser.press("button", "Verify")
    go_on(browser)
    browser.sees("The disk is gone.", "#told")
    browser.press("a", "Models")
    browser.press("a", "Add a model")
    browser.type("[name=name]", "sharded")
    browser.type("[name=path]", os.path.realpath(DIRECTORY))
    hold_answer(browser, "answer")
    browser.press("button", "Add")
    go_on(browser)
    browser.sees("sharded@v2 is added", "#told")
    assert browser.script("return location.hash") == "#/logs"


def check_plan(browser, base):
    browser.press("a", "Plan")
    browser.type("[name=model]", "tiny")
    browser.sees("It fits")
    browser.type("[name=max_model_len]", "512")
    browser.type("[name=concurrency]", "60000")
    browser.sees("It does not fit")
    labels = browser.script("return [...document.querySelectorAll('.plan-bar')].map(bar => bar.getAttribute('aria-label'))")
    assert labels and not any("–" in label for label in labels), labels
    browser.wait(lambda: press_fix(browser, "--concurrency"), "fix")
    assert browser.script("return document.activeElement.name") == "concurrency"
    browser.sees("It fits")
    browser.type("[name=concurrency]", "4")
    slider = browser.all(".scale input[type=range]")[0]
    browser.script("arguments[0].focus()", {ELEMENT: slider})
    browser.keys("right")
    assert browser.script("return [document.querySelector('[name=max_model_len]').value, arguments[0].ariaValueText]", {ELEMENT: slider}) == ["768", "768"]
    browser.keys("right")
    assert browser.script("return document.querySelector('[name=max_model_len]').value") == "1024"
    browser.type("[name=max_model_len]", "768")
    browser.wait(lambda: "max_model_len=768" in browser.script("return location.hash"), "address of the plan")
    browser.wait(lambda: "max_model_len%3D768" in browser.script("return document.querySelector('main a.primary')?.href ?? ''"), "plan of 768")
    browser.press("a", "Create a service with these")
    browser.find("[name=name]")
    values = browser.script("return [...document.querySelectorAll('.rows input')].map(i => i.value)")
    assert values[:4] == ["max_model_len", "768", "max_num_seqs", "4"], values


def press_fix(browser, flag):
    """Plans follow one another while a number is typed, each with buttons of its own."""
    fix = browser.script("return [...document.querySelectorAll('.fixes button')].find(b => b.textContent.startsWith(arguments[0]))", flag)
    if fix:
        browser.click(fix[ELEMENT])
    return fix


def check_create(browser, base):
    """Goes on where the plan has ended."""
    browser.type("[name=name]", "Chat")
    browser.press("button", "Create")
    assert browser.script("return document.querySelector('[name=name]').validity.patternMismatch")
    browser.type("[name=name]", "chat")
    browser.press("button", "Check")
    browser.sees("It fits")
    browser.press("button", "Create")
    browser.sees("READY", ".toolbar")
    browser.sees("is ready after")
    browser.press("a", "Update…")
    browser.press("button", "Update")
    browser.sees("Nothing has been changed", "#told")
    browser.type(".rows input[aria-label='Value of the setting']", "640")
    browser.press("button", "Update")
    browser.sees("model.max_model_len=640")
    browser.sees("READY", ".toolbar")
    browser.go(base + "#/services/new?model=tiny&pool=here&name=chat")
    browser.press("button", "Create")
    browser.sees("already")
    assert browser.script("return document.activeElement.name") == "name" and browser.all("[name=name][aria-invalid]")
    browser.go(base + "#/models/tiny/v1")
    browser.press("button", "Remove…")
    browser.press("dialog button", "Remove")
    browser.sees("chat", "[role=alert]")


def check_chat(browser, daemon):
    browser.press("a", "Playground")
    browser.type("[placeholder=None]", "Be brief.")
    browser.script("let now = 0; performance.now = () => now += 5;") # or tokens that come at once would have no rate
    warmth = browser.script("return document.getElementById([...document.querySelectorAll('label')].find(l => l.textContent === 'Temperature').htmlFor)")[ELEMENT]
    browser.send("POST", f"/element/{warmth}/value", {"text": ".5"}) # a number to HTML, none to JSON
    seed = browser.labelled("label", "Seed")
    number = browser.script("return document.getElementById(arguments[0].htmlFor)", {ELEMENT: seed})[ELEMENT]
    browser.send("POST", f"/element/{number}/value", {"text": "9007199254740993"})
    tokens = browser.script("return document.getElementById([...document.querySelectorAll('label')].find(l => l.textContent === 'Most tokens').htmlFor)")[ELEMENT]
    browser.send("POST", f"/element/{tokens}/value", {"text": "12"})
    browser.type("textarea[aria-label=Message]", "Hello")
    browser.keys("enter")
    browser.sees("finish: ")
    browser.sees("tokens/s")
    browser.sees("seed 9007199254740993")
    browser.send("POST", f"/element/{tokens}/clear")
    browser.press("button", "New conversation")
    browser.type("textarea[aria-label=Message]", "Hello")
    # The answer's next bytes come when the test lets them, however fast the engine is.
    browser.script("""
        const genuine = ReadableStreamDefaultReader.prototype.read;
        ReadableStreamDefaultReader.prototype.read = async function () { await new Promise(go => { window.go = go; }); return genuine.call(this); };""")
    browser.press("button", "Send")
    browser.wait(lambda: browser.script("return Boolean(window.go)"), "answer that begins")
    browser.press("button", "Stop")
    browser.script("arguments[0].focus()", {ELEMENT: tokens})
    browser.script("window.go()")
    browser.sees("stopped")
    browser.wait(lambda: browser.all(".composer [type=submit]:enabled"), "end of the answer")
    assert browser.script("return document.activeElement === arguments[0]", {ELEMENT: tokens}), "the focus is where the user has gone"
    browser.wait(lambda: 'num_requests_running{model_name="chat"} 0' in daemon.request("GET", "/metrics")[1], "end of the request")
    browser.script("location.reload()")
    browser.sees("Nothing said yet")
    browser.type("textarea[aria-label=Message]", "Hello")
    browser.keys("enter")
    browser.sees("finish: ")


def check_metrics(browser, base):
    browser.press("a", "Metrics")
    browser.sees("Tokens generated")
    words = browser.wait(lambda: browser.script("return document.querySelector('svg.plot path.line')?.getAttribute('d') ? document.querySelector('svg.plot').getAttribute('aria-label') : ''"),
                         "line in a plot")
    assert words.startswith("Tokens a second: now generated "), words
    browser.click(browser.all("summary")[0])
    browser.sees("Time", "details table")
    assert [browser.name_of(e).split(":")[0] for e in browser.all("svg.plot")] == ["Tokens a second", "Requests", "KV cache in use", "Time to first token, mean"]


def all_drawn(browser):
    """The number of lines of a paused log, once all that came before the pause are shown."""
    count = len(browser.all(".log > div"))
    return count if browser.text("main p.muted") == f"{count} of {count} lines, paused" else None


def check_logs(browser, base):
    browser.press("a", "Logs")
    browser.sees("is ready after")
    said = lambda: browser.script("return document.querySelector('main [role=status]').textContent")
    assert said() == "", "lines that come are not said to a screen reader"
    browser.press("button", "Pause")
    browser.sees("paused")
    assert said().endswith("lines, paused")
    whole = browser.wait(lambda: all_drawn(browser), "log that was drawn") # none comes any more
    browser.type("[type=search]", "READY AFTER")
    browser.wait(lambda: len(browser.all(".log > div")) == 1, "filtered log")
    assert said() == f"1 of {whole} lines, paused"
    browser.type("[type=search]", " ")
    browser.script("const f = document.querySelector('[type=search]'); f.value = ''; f.dispatchEvent(new Event('input'))")
    browser.wait(lambda: len(browser.all(".log > div")) == whole, "whole log")
    # The server is away for two tries: that is said once, and for as long as it is so.
    browser.script("""
        const genuine = window.fetch, place = document.querySelector(".strip").nextElementSibling;
        window.tries = 0; window.alerts = 0; window.go = false;
        new MutationObserver(list => { window.alerts += list.flatMap(change => [...change.addedNodes]).length; }).observe(place, {childList: true, subtree: true});
        window.fetch = (...asked) => {
            if (window.go) { window.fetch = genuine; return genuine(...asked); }
            window.tries += 1;
            return Promise.reject(new TypeError("away"));
        };""")
    browser.press("button", "Resume")
    browser.wait(lambda: browser.script("return window.tries") >= 2, "second try")
    browser.sees("does not answer", "[role=alert]")
    assert browser.script("return window.alerts") == 1
    browser.script("window.go = true")
    browser.wait(lambda: not browser.all("[role=alert]"), "end of the alert")
    browser.wait(lambda: "paused" not in browser.text("main"), "log that goes on")


def tab_to(browser, words):
    """With the tabulator alone; the focus must be seen."""
    for _ in range(60):
        browser.keys("tab")
        found = browser.script("const e = document.activeElement, s = getComputedStyle(e);"
                               "return [(e.getAttribute('aria-label') ?? e.textContent).trim(), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0]")
        if found[0] == words:
            assert found[1], f"the focus on '{words}' cannot be seen"
            return
    raise AssertionError(f"'{words}' cannot be reached with the tabulator")


def check_keyboard(browser, base):
    """From the top of the page to a service that is suspended, resumed and deleted."""
    browser.go("about:blank")
    browser.go(base + "#/services")
    browser.sees("READY")
    browser.keys("tab")
    assert browser.script("return document.activeElement.textContent") == "Skip to content"
    browser.keys("enter")
    tab_to(browser, "chat")
    browser.keys("enter")
    browser.sees("Last lines of the log")
    assert browser.script("return document.activeElement.localName") == "h1", "a new view begins at its heading"
    tab_to(browser, "Suspend chat")
    browser.keys("enter")
    browser.sees("SUSPENDED")
    tab_to(browser, "Resume chat")
    browser.keys("space")
    browser.sees("READY", ".toolbar")
    assert browser.script("return document.querySelector('main [role=status]').textContent") == "chat is READY"
    tab_to(browser, "Scale chat")
    browser.keys("enter")
    browser.find("dialog[open]")
    browser.keys("escape")
    browser.wait(lambda: browser.script("return document.activeElement.getAttribute('aria-label')") == "Scale chat", "focus where it was")
    tab_to(browser, "Delete chat")
    browser.keys("enter")
    browser.find("dialog[open]")
    assert browser.script("return document.querySelector('dialog').contains(document.activeElement)")
    assert "logs go with them" in browser.script(
        "return document.getElementById(document.querySelector('dialog').getAttribute('aria-describedby'))?.textContent ?? ''")
    browser.keys("enter")
    browser.sees("No service yet")
    assert "chat is gone" in browser.text("#told")


def check_names(browser, view):
    """What a screen reader can say of everything that can be used."""
    used = browser.script("return [...document.querySelectorAll('button, a[href], input, select, textarea, summary, svg[role=img], [role=log]')]"
                          ".filter(e => e.checkVisibility() && (view === 'services' || e.closest('main')))".replace("view", json.dumps(view)))
    for element in used:
        assert browser.name_of(element[ELEMENT]), (view, browser.script("return arguments[0].outerHTML", element))
    faults = browser.script("""
        const ids = [...document.querySelectorAll("[id]")].map(e => e.id), faults = [];
        if (new Set(ids).size !== ids.length) faults.push("an id twice");
        if (document.querySelectorAll("main").length !== 1 || document.querySelectorAll("main h1").length !== 1) faults.push("one main, one h1");
        for (const cell of document.querySelectorAll("th")) if (!cell.scope) faults.push("th without scope: " + cell.textContent);
        for (const e of document.querySelectorAll("main :is(input, select, textarea)"))
            if (!e.labels.length && !e.ariaLabel) faults.push("a placeholder is no label: " + e.outerHTML);
        for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) faults.push("a focus order of its own");
        return faults;""")
    assert not faults, (view, faults)


def open_view(browser, base, view):
    """Waits until the view before it is gone, in which the same words may stand."""
    browser.script("document.querySelector('main').append(Object.assign(document.createElement('i'), {id: 'before'}))")
    browser.go(base + VIEWS[view])
    browser.wait(lambda: not browser.all("#before"), "new view")
    browser.sees(SHOWN[view])


def check_bar(browser, base):
    """What gets the focus from below is not behind the bar (WCAG 2.2, 2.4.11)."""
    for width in (1280, 360):
        browser.chrome("Emulation.setDeviceMetricsOverride", width=width, height=420, deviceScaleFactor=1, mobile=False)
        open_view(browser, base, "service-new")
        hidden = browser.script("""
            const bar = document.querySelector(".bar").getBoundingClientRect().bottom, hidden = [];
            const used = [...document.querySelectorAll("main :is(a, button, input, select)")].filter(e => e.checkVisibility());
            scrollTo(0, document.documentElement.scrollHeight);
            for (const e of used.reverse()) {
                e.focus();
                if (e.getBoundingClientRect().top < bar) hidden.push(e.outerHTML);
            }
            return hidden;""")
        assert not hidden, (width, hidden)
        open_view(browser, base, "nothing")
    browser.chrome("Emulation.clearDeviceMetricsOverride")


def check_looks(browser, base, folder):
    """Every view in both schemes and on a narrow screen."""
    for scheme, width, suffix in [("light", 1280, ""), ("dark", 1280, ""), ("light", 360, "-narrow")]:
        browser.chrome("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}])
        browser.chrome("Emulation.setDeviceMetricsOverride", width=width, height=860, deviceScaleFactor=1, mobile=False)
        for view in VIEWS:
            open_view(browser, base, view)
            if not suffix:
                seen, poor = browser.script(CONTRAST)
                assert seen > 10 and not poor, (view, scheme, poor)
            wide = browser.script("return document.documentElement.scrollWidth")
            assert wide <= width, (view, width, wide)
            if scheme == "light" and width > 360:
                check_names(browser, view)
            if folder:
                browser.picture(f"{folder}/{view}-{scheme}{suffix}.png")
    browser.chrome("Emulation.clearDeviceMetricsOverride")


def check_theme(browser):
    """By hand, over what the system has; kept."""
    control = browser.find("#theme")
    paper = lambda: browser.script("return getComputedStyle(document.documentElement).backgroundColor")
    seen = set()
    for _ in range(3):
        browser.click(control)
        seen.add((browser.name_of(control), paper()))
    assert {name for name, _ in seen} == {"Colours: system", "Colours: light", "Colours: dark"} and len({color for _, color in seen}) == 2, seen


def check_logs_of_browser(browser, base):
    """No error but the refusals that were meant, and no request to anybody else."""
    for entry in browser.log("browser"):
        meant = entry["source"] == "network" and any(f"status of {code}" in entry["message"] for code in (400, 401, 403, 404, 409, 422))
        assert meant or entry["level"] not in ("SEVERE", "WARNING"), entry
    asked = 0
    for entry in browser.log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            asked += url.startswith(base)
            assert url.startswith((base[:-len("admin/")], "about:", "data:", "blob:", "chrome")), url
    assert asked > 20


if __name__ == "__main__":
    if not webdriver.found():
        print("skipped: there is no chromium or no chromedriver; the packages are chromium and chromium-driver")
        sys.exit(77)
    pictures = sys.argv[1] if len(sys.argv) > 1 else None
    if pictures:
        os.makedirs(pictures, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        made = {name: run(command("token", "create", name, "--scope", scopes, "--file", scratch + "/tokens")).strip()
                for name, scopes in {"both": "admin,infer", "infer": "infer"}.items()}
        with Daemon(scratch, f"[auth]\ntoken_file = {scratch}/tokens\n") as served, Browser() as page:
            root = f"http://127.0.0.1:{served.port}/admin/"
            check_tokens(page, root, made)
            check_models(page, root)
            check_plan(page, root)
            check_create(page, root)
            check_chat(page, served)
            check_metrics(page, root)
            check_logs(page, root)
            check_theme(page)
            check_bar(page, root)
            check_looks(page, root, pictures)
            check_keyboard(page, root)
            check_logs_of_browser(page, root)
            served.stop()
