// The few lines of script that the panel needs beside htmx.
(() => {
  const { body, documentElement: root } = document;
  const listen = (name, act) => body.addEventListener(name, act);

  // Here rather than in a <meta>, which every page would carry again.
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

  // Nothing is sent in vain, at 0.3 s a kB on a slow line: the header has the token already, and
  // who only reads needs none. What is sent, and the lock's own bar, tell what the page shows:
  // parameters that are text, and the rows whose places are kept for an undo.
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

  // What is on its way is not sent again, nor dropped meanwhile by the Cancel beside it. What is
  // typed into a search is: htmx waits for the answer, then asks for the last.
  listen("htmx:confirm", (event) => {
    const { elt, triggeringEvent } = event.detail;
    if (/click|submit/.test(triggeringEvent?.type) && elt.closest(".htmx-request")) event.preventDefault();
  });

  // Nor is a form that htmx does not send. A browser's Stop is told to nobody, so not for ever.
  listen("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented) return;
    if (form.matches(".htmx-request")) return event.preventDefault();
    form.classList.add("htmx-request");
    setTimeout(() => form.classList.remove("htmx-request"), 20000);
  });
  // Back on a page that the browser kept as it was left.
  onpageshow = ({ persisted }) => {
    if (persisted) document.querySelectorAll("form.htmx-request").forEach((form) => form.classList.remove("htmx-request"));
  };

  // A bar that says "Locked" again locks the list: only unlocking brings a new toolbar.
  listen("htmx:load", () => {
    if (!document.querySelector("#bar:not(.open)")) return;
    document.querySelectorAll("#toolbar button").forEach((button) => (button.disabled = true));
    document.querySelector("#toolbar .help")?.remove();
  });

  // What was done is said for a while.
  listen("htmx:oobAfterSwap", ({ detail: { target } }) => {
    if (target.id == "said") setTimeout(() => target.replaceChildren(), 6000);
  });

  // Moments in the reader's own words and time zone; the whole of it stays in the title.
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const styles = { full: { dateStyle: "medium", timeStyle: "short" }, clock: { timeStyle: "short" }, day: { dateStyle: "long" } };
  // Browsers of before 2020 show them as they are written.
  const ago = Intl.RelativeTimeFormat && new Intl.RelativeTimeFormat(root.lang, { numeric: "auto", style: "short" });
  // Once the time of an unlock, cut to the minute, is past, the bar is fetched anew, once.
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
      const style = styles[time.className];
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

  // An answer that did not come, or that is no answer of ours: said beside what was pressed.
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

  // A row that is being edited stays as it is, whichever rows come around it.
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

  // A page that shows this one in a frame asks once, and is told the height whenever it changes.
  onmessage = ({ origin, source }) => {
    if (source == parent && body.dataset.hosts?.split(" ").includes(origin))
      new ResizeObserver(() => source.postMessage(root.offsetHeight, origin)).observe(root);
  };

  // A printed sheet says where it came from, and when.
  onbeforeprint = () => {
    body.dataset.printed = `${location} ${new Date().toLocaleString(root.lang)}`;
  };

  // A page that nobody sees does not ask how a run goes.
  listen("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.id == "run") event.preventDefault();
  });

  // A swap that took the focused element away gives the focus to what its successor names.
  listen("htmx:afterSettle", (event) => {
    const back = event.detail.requestConfig?.elt.dataset.back;
    if (back && document.activeElement == body) document.querySelector(back)?.focus();
  });

  // Escape is Cancel.
  listen("keydown", (event) => {
    if (event.key == "Escape") event.target.form?.querySelector("a.button")?.click();
  });
})();
