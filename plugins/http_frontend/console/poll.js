/* poll.js: what is shown live is asked for again and again, but not while nobody looks. */

function wait(ms, signal) {
    return new Promise(resolve => {
        const timer = setTimeout(resolve, ms);
        signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, {once: true});
    });
}

async function seen(signal) {
    const over = new AbortController();
    while (document.hidden && !signal.aborted)
        await new Promise(resolve => {
            document.addEventListener("visibilitychange", resolve, {once: true, signal: over.signal});
            signal.addEventListener("abort", resolve, {once: true, signal: over.signal});
        });
    over.abort();
}

/* A bell cuts the pause short: something was done, so that something has changed. */
export class Bell {
    ring() {
        this.rung = true;
        this.cut?.abort();
    }

    /* One pause; each leaves nothing behind, as there may be many thousands. */
    async pause(ms, signal) {
        if (!this.rung) {
            const over = this.cut = new AbortController();
            signal.addEventListener("abort", () => over.abort(), {once: true, signal: over.signal});
            await wait(ms, over.signal);
            over.abort();
        }
        this.rung = false;
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
        await bell.pause(ms, signal);
        await seen(signal);
    }
}
