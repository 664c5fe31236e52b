/* theme.js: light, dark, or as the system has it. */

const KEY = "tenon.theme", THEMES = ["system", "light", "dark"];

function apply(theme, control) {
    if (theme === "system")
        delete document.documentElement.dataset.theme;
    else
        document.documentElement.dataset.theme = theme;
    control.textContent = {system: "◐", light: "○", dark: "●"}[theme];
    control.setAttribute("aria-label", `Colours: ${theme}`);
    control.title = `Colours: ${theme}`;
}

export function startTheme(control) {
    let theme = localStorage.getItem(KEY);
    if (!THEMES.includes(theme))
        theme = "system";
    apply(theme, control);
    control.addEventListener("click", () => {
        theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
        localStorage.setItem(KEY, theme);
        apply(theme, control);
    });
}
