/* Brings a page up to date every few seconds, as long as someone looks at it and is not typing. Without this
   script the switch stays hidden, and one reloads the page. */
"use strict";

(() => {
    const control = document.querySelector("[data-eventbridge-refresh]");
    if (!control) {
        return;
    }
    const LIVE = "#eventbridge-live";
    const REMEMBERED = "eventbridge-refresh";
    const FIELDS = "select, textarea, input:not([type=checkbox], [type=radio], [type=submit], [type=button])";
    const live = document.querySelector(LIVE);
    const box = control.querySelector("input");
    const status = control.querySelector("[role=status]");
    const milliseconds = 1000 * Number(control.dataset.eventbridgeRefresh);
    let timer = 0;

    /* The reader's choice holds for all pages; a browser that remembers nothing starts with it on. */
    const memory = {
        get: () => {
            try {
                return localStorage.getItem(REMEMBERED);
            } catch {
                return null;
            }
        },
        set: value => {
            try {
                localStorage.setItem(REMEMBERED, value);
            } catch {
                /* Holds for this page only. */
            }
        },
    };

    const isBusy = () => {
        const selection = document.getSelection();
        return Boolean(document.activeElement?.matches(FIELDS)) || (selection !== null && !selection.isCollapsed);
    };
    const mayRefresh = () => box.checked && !document.hidden && !isBusy();

    const nameOf = node =>
        node.nodeType === Node.ELEMENT_NODE
            ? `${node.nodeName} ${node.id} ${node.getAttribute("aria-labelledby")}`
            : node.nodeName;

    /* The node that a new one takes the place of: this one, or for an element a later one like it. */
    const counterpart = (node, fresh) => {
        const found = at => at && nameOf(at) === nameOf(fresh);
        if (fresh.nodeType === Node.ELEMENT_NODE) {
            while (node && !found(node)) {
                node = node.nextSibling;
            }
        }
        return found(node) ? node : null;
    };

    const removeUntil = (node, end) => {
        while (node !== end) {
            const gone = node;
            node = node.nextSibling;
            gone.remove();
        }
        return node;
    };

    /* Changes only what differs, so that focus, scrolling and opened details stay. */
    const morph = (now, next) => {
        if (now.nodeType !== Node.ELEMENT_NODE) {
            if (now.data !== next.data) {
                now.data = next.data;
            }
            return;
        }
        for (const { name, value } of next.attributes) {
            if (now.getAttribute(name) !== value) {
                now.setAttribute(name, value);
            }
        }
        for (const { name } of [...now.attributes]) {
            if (!next.hasAttribute(name) && !(name === "open" && now.matches("details"))) {
                now.removeAttribute(name);
            }
        }
        let at = now.firstChild;
        for (const child of next.childNodes) {
            const same = counterpart(at, child);
            if (!same) {
                now.insertBefore(document.importNode(child, true), at);
                continue;
            }
            at = removeUntil(at, same);
            morph(at, child);
            at = at.nextSibling;
        }
        removeUntil(at, null);
    };

    const refresh = async () => {
        const response = await fetch(location.href, { signal: AbortSignal.timeout(20000) });
        if (!response.ok || response.redirected) {
            throw new Error(`status ${response.status}`);
        }
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        if (!mayRefresh()) {
            return;
        }
        morph(live, page.querySelector(LIVE));
        if (!page.querySelector("[data-eventbridge-refresh]")) {
            control.remove(); /* What it showed is finished. */
        }
    };

    const tick = async () => {
        clearTimeout(timer);
        if (mayRefresh()) {
            try {
                await refresh();
                status.textContent = "";
            } catch {
                status.textContent = control.dataset.failed;
            }
        }
        clearTimeout(timer);
        if (control.isConnected) {
            timer = setTimeout(tick, milliseconds);
        }
    };

    box.checked = memory.get() !== "off";
    box.addEventListener("change", () => {
        memory.set(box.checked ? "on" : "off");
        tick();
    });
    document.addEventListener("visibilitychange", () => {
        if (control.isConnected && !document.hidden) {
            tick();
        }
    });
    control.hidden = false;
    timer = setTimeout(tick, milliseconds);
})();
