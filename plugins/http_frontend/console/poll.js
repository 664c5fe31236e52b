/* poll.js: what is shown live is asked for again and again, but not while nobody looks. */

function wait(ms, signal) {
    return new Promise(resolve => {
        const timer = setTimeout(resolve, ms);
        signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, {once: true});
    });
}

function seen(signal) {
    return new Promise(resolve => {
        const look = () => {
            if (document.hidden && !signal.aborted)
                return;
            document.removeEventListener("visibilitychange", look);
            resolve();
        };
        document.addEventListener("visibilitychange", look);
        signal.addEventListener("abort", look, {once: true});
        look();
    });
}

/* A bell cuts the pause short: something was done, so that something has changed. */
export class Bell {
    #waiters = [];

    ring() {
        this.#waiters.splice(0).forEach(resolve => resolve());
    }

    heard() {
        return new Promise(resolve => this.#waiters.push(resolve));
    }
}

/* Calls ask, then show(answer) or fail(error), until the signal; pause(answer) tells the milliseconds between. */
export async function poll(signal, {ask, show, fail, pause = () => 2000, bell = new Bell()}) {
    while (!signal.aborted) {
        let ms = 4000;
        try {
            const answer = await ask(signal);
            if (signal.aborted)
                return;
            show(answer);
            ms = pause(answer);
        } catch (error) {
            if (signal.aborted)
                return;
            fail(error);
        }
        const over = new AbortController();
        signal.addEventListener("abort", () => over.abort(), {once: true});
        await Promise.race([wait(ms, over.signal), bell.heard()]);
        over.abort();
        await seen(signal);
    }
}
