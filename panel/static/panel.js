// The panel's own script, beside htmx.
(() => {
  const { body, documentElement: root } = document;
  const listen = (name, act) => body.addEventListener(name, act);

  // Set here and not in a <meta>, which every page would repeat.
  Object.assign(htmx.config, {
    allowEval: false,
    allowScriptTags: false,
    attributesToSettle: [],
    defaultSettleDelay: 0,
    defaultSwapStyle: "outerHTML",
    historyCacheSize: 0,
    historyRestoreAsHxRequest: false,
    includeIndicatorStyles: false,
    timeout: 60000,
    responseHandling: [{ code: "204", swap: false }, { code: "...", swap: true }],
  });

  // Sends nothing needless, because a kB takes 0.3 s on a slow line: the token is in a header
  // already, and a GET needs none. A change, and any request of the lock's bar, says what the page
  // shows: parameters as text, and the hidden rows that an undo would restore.
  listen("htmx:configRequest", ({ detail }) => {
    const { elt, formData, headers, verb } = detail;
    const reads = verb == "get";
    if (elt.localName == "a") detail.path = elt.getAttribute("href");
    formData.delete("_c");
    if (reads) delete headers["X-CSRF"];
    if (reads && !elt.closest("#bar")) return;
    if (document.querySelector("#parameters > dl")) formData.set("parameters", "text");
    if (reads) return;
    for (const row of document.querySelectorAll("#rows [hidden]")) formData.append("gone", row.id.slice(1));
  });

  // While a request is open, its form is not sent again and its Cancel does nothing. A search is
  // sent again: htmx waits for the answer, then sends the last input.
  listen("htmx:confirm", (event) => {
    const { elt, triggeringEvent } = event.detail;
    if (/click|submit/.test(triggeringEvent?.type) && elt.closest(".htmx-request")) event.preventDefault();
  });

  // The same for a form without htmx. No event tells of the browser's Stop, hence the timeout.
  listen("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented) return;
    if (form.matches(".htmx-request")) return event.preventDefault();
    form.classList.add("htmx-request");
    setTimeout(() => form.classList.remove("htmx-request"), 20000);
  });
  // A page from the browser's back/forward cache.
  onpageshow = ({ persisted }) => {
    if (persisted) document.querySelectorAll("form.htmx-request").forEach((form) => form.classList.remove("htmx-request"));
  };

  // When the bar says "Locked" again, disable the toolbar: only an unlock brings a new one.
  listen("htmx:load", () => {
    if (!document.querySelector("#bar:not(.open)")) return;
    document.querySelectorAll("#toolbar button").forEach((button) => (button.disabled = true));
    document.querySelector("#toolbar .help")?.remove();
  });

  // Remove a success message after a while.
  listen("htmx:oobAfterSwap", ({ detail: { target } }) => {
    if (target.id == "said") setTimeout(() => target.replaceChildren(), 6000);
  });

  // Times in the reader's locale and time zone; the title holds the full time.
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const styles = { full: { dateStyle: "medium", timeStyle: "short" }, clock: { timeStyle: "short" }, day: { dateStyle: "long" }, weekday: { weekday: "long" } };
  // Browsers before 2020 show absolute times.
  const ago = Intl.RelativeTimeFormat && new Intl.RelativeTimeFormat(root.lang, { numeric: "auto", style: "short" });
  // When the end of an unlock, rounded down to the minute, is past, fetch the bar once.
  let past;
  const lock = () => {
    const until = document.querySelector("#bar.open time");
    if (!until || until.dateTime == past || Date.now() < +new Date(until.dateTime) + 60000) return;
    past = until.dateTime;
    const bar = until.closest("#bar");
    htmx.ajax("get", bar.dataset.then, { source: bar, target: bar, swap: "outerHTML" });
  };
  const tell = () => {
    for (const time of document.querySelectorAll("time")) {
      const at = new Date(time.dateTime);
      if (!ago) {
        time.textContent = time.textContent || at.toLocaleString(root.lang);
        continue;
      }
      const seconds = Math.min(0, (at - Date.now()) / 1000);
      const [unit, size] = units.find(([, size]) => seconds <= -size) || units[3];
      time.title = at.toLocaleString(root.lang);
      const today = at.toDateString() == new Date().toDateString();
      const style = styles[time.className == "at" ? (today ? "clock" : "full") : time.className];
      time.textContent = style
        ? at.toLocaleString(root.lang, style)
        : ago.format(Math.trunc(seconds / size), unit);
    }
  };
  tell();
  setInterval(() => {
    tell();
    lock();
  }, 60000);
  listen("htmx:load", tell);

  // A missing answer, or one that is not the panel's: a message beside the element that asked.
  const complain = (event, sentence) => {
    const { elt, requestConfig } = event.detail;
    const words = document.createElement("b");
    words.className = "bad lost";
    words.setAttribute("role", "alert");
    words.textContent = body.dataset[sentence || (requestConfig.verb == "get" ? "lost" : "unsaved")];
    elt.localName == "form" ? elt.append(words) : elt.after(words);
  };
  listen("htmx:sendError", complain);
  listen("htmx:timeout", complain);
  listen("htmx:beforeRequest", () => document.querySelectorAll(".lost").forEach((words) => words.remove()));
  listen("htmx:beforeSwap", (event) => {
    const { xhr, serverResponse } = event.detail;
    const ours = xhr.status < 500 || xhr.getResponseHeader("HX-Retarget");
    if (ours && !/^\s*<(!|html)/i.test(serverResponse)) return;
    event.detail.shouldSwap = false;
    complain(event, "failed");
  });

  // A row that is being edited stays as it is when the other rows are replaced.
  let edited = [];
  for (const name of ["htmx:beforeSwap", "htmx:oobBeforeSwap"])
    listen(name, ({ detail: { target } }) => {
      if (target.id == "rows") edited = [...target.querySelectorAll("form")].map((form) => form.closest("tr"));
    });
  listen("htmx:afterSettle", () => {
    for (const row of edited.splice(0)) {
      if (row.isConnected) continue;
      const text = document.getElementById(row.id);
      text ? text.replaceWith(row) : document.getElementById("rows").prepend(row);
      htmx.process(row);
    }
  });

  // An embedding page asks once, and gets the height whenever it changes.
  onmessage = ({ origin, source }) => {
    if (source == parent && body.dataset.hosts?.split(" ").includes(origin))
      new ResizeObserver(() => source.postMessage(root.offsetHeight, origin)).observe(root);
  };

  // A printed page shows its URL and the time.
  onbeforeprint = () => {
    body.dataset.printed = `${location} ${new Date().toLocaleString(root.lang)}`;
  };

  // A hidden page does not poll a run.
  listen("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.id == "run") event.preventDefault();
  });

  // If a swap removed the focused element, focus the element that data-back names.
  listen("htmx:afterSettle", (event) => {
    const back = event.detail.requestConfig?.elt.dataset.back;
    if (back && document.activeElement == body) document.querySelector(back)?.focus();
  });

  // Escape presses Cancel.
  listen("keydown", (event) => {
    if (event.key == "Escape") event.target.form?.querySelector("a.button")?.click();
  });
})();
