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

  // A link or form with an empty hx-get or hx-post goes where it goes without script.
  // Sends nothing needless, because a kB takes 0.3 s on a slow line: the token is in a header
  // already, and a GET needs none. A change, and any request of the lock's bar, says what the page
  // shows: parameters as text, and the hidden rows that an undo would restore.
  listen("htmx:configRequest", ({ detail }) => {
    const { elt, formData, headers, verb } = detail;
    const reads = verb == "get";
    if (detail.path == location) detail.path = elt.href || elt.action;
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
  onpageshow = () => document.querySelectorAll("form.htmx-request").forEach((form) => form.classList.remove("htmx-request"));

  // Says something beside an element: a sentence of ours, which may hold a link.
  const say = (elt, sentence, kind) => {
    const words = document.createElement("b");
    words.className = kind;
    words.setAttribute("role", "alert");
    words.innerHTML = sentence;
    elt.localName == "form" ? elt.append(words) : elt.after(words);
  };

  // Times in the reader's locale and time zone, as exact as they are known; the title holds the full
  // time.
  const styles = { full: { dateStyle: "medium", timeStyle: "short" }, clock: { timeStyle: "short" }, day: { dateStyle: "long" }, weekday: { weekday: "long" } };
  // Browsers before 2020 show absolute times.
  const ago = Intl.RelativeTimeFormat && new Intl.RelativeTimeFormat(root.lang, { numeric: "auto", style: "short" });
  // When the verdict was true for certain.
  let seen = Date.now();
  const tick = (shown) => {
    const now = Date.now();
    for (const time of document.querySelectorAll("time")) {
      const at = new Date(time.dateTime);
      const minutes = Math.min(0, (at - now) / 60000);
      const [size, unit] = minutes > -60 ? [1, "minute"] : minutes > -1440 ? [60, "hour"] : [1440, "day"];
      time.title = at.toLocaleString(root.lang);
      const today = at.toDateString() == new Date().toDateString();
      const style = styles[time.className == "at" ? (today ? "clock" : "full") : time.className];
      time.textContent = style
        ? at.toLocaleString(root.lang, style)
        : ago ? ago.format(Math.trunc(minutes / size), unit) : time.title;
    }
    // What each row of the list would repeat, at a weight: labels on a card, and names of the links.
    const [, ...heads] = document.querySelectorAll("#head th");
    for (const { cells } of document.querySelectorAll("#rows tr, #self tr")) {
      const edit = cells[cells.length - 1]?.querySelector(".edit");
      if (edit) edit.ariaLabel = `${edit.text} ${cells[2].firstChild.data}`;
      for (const at of heads.slice(1, -1).keys()) if (cells[at + 3]) cells[at + 3].dataset.is = heads[at + 1].textContent.replace(/ [▲▼]/, "");
    }
    // When the bar says "Locked" again, the toolbar is disabled: only an unlock brings a new one.
    for (const elt of document.querySelectorAll("#bar:not(.open) ~ #servers #toolbar :is(button, .help)"))
      elt.type ? (elt.disabled = true) : elt.remove();
    // A part is asked for once it is due: so many seconds after it came, or at the moment beside
    // them, since the page may be one that the browser kept. The verdict is asked for when its tab
    // is shown or the line is back, too; but nothing while the answer would disturb who types.
    for (const part of document.querySelectorAll("[data-due]:not(.htmx-request)")) {
      const [then, seconds, at] = part.dataset.due.split(" ");
      part.due = part.due || Math.min(now + seconds * 1000, at * 1000 || Infinity);
      const late = now > part.due;
      if (!late && (!shown || part.id == "bar")) continue;
      if (then && !document.hidden && !document.querySelector(".prompt input, #rows form")) {
        part.due = now + seconds * 1000;
        htmx.ajax("get", then, { source: part, target: part }).catch(() => {});
      } else if (late) age();
    }
  };
  // The verdict could not be asked for: it says when it was true, and loses its colour.
  const age = () =>
    document.querySelector(".old") || say(document.querySelector("#state [data-due]"), `${body.dataset.asof} ${new Date(seen).toLocaleString(root.lang, styles.clock)}`, "old");
  tick();
  setInterval(tick, 5000);
  listen("htmx:load", () => tick());
  ononline = document.onvisibilitychange = () => tick(true);

  // A page that is left asks while a form has typed text that is not saved, or that was refused. A
  // form that is being sent is not left.
  onbeforeunload = (event) => {
    for (const form of document.querySelectorAll("[method=post]:not(.htmx-request)"))
      for (const { defaultValue, name, type, value } of form.elements)
        if (defaultValue != null && !/hidden|checkbox|radio/.test(type) && name != "authorisation_code" && (value != defaultValue || form.querySelector(".bad"))) return event.preventDefault();
  };

  // A missing answer, or one that is not the panel's: a message beside the element that asked. What
  // was not sent is not saved; once some of it was, nobody knows.
  const complain = ({ detail: { elt, requestConfig } }) => {
    if (elt.dataset.due) return age();
    const { lost, unsaved, maybe, look } = body.dataset;
    const change = elt.sent ? `${maybe} <a href target=_blank>${look}</a>` : unsaved;
    say(elt, requestConfig.verb == "get" ? lost : change, "bad lost");
  };
  listen("htmx:sendError", complain);
  listen("htmx:timeout", complain);
  listen("htmx:beforeRequest", ({ detail: { elt } }) => {
    elt.sent = false;
    // What an earlier press did would lie over the reason why this one is refused.
    if (!elt.dataset.due) for (const told of document.querySelectorAll("#said, #tested")) told.replaceChildren();
    document.querySelectorAll(".lost").forEach((words) => words.remove());
  });
  listen("htmx:xhr:progress", ({ target, detail }) => (target.sent = detail.loaded));
  listen("htmx:beforeSwap", (event) => {
    const { elt, xhr, serverResponse } = event.detail;
    const { due } = elt.dataset;
    const ours = due ? xhr.status < 300 : xhr.status < 500 || xhr.getResponseHeader("HX-Retarget");
    if (!ours || /^\s*<(!|html)/i.test(serverResponse)) {
      event.detail.shouldSwap = false;
      complain(event);
    } else if (due) {
      seen = Date.now();
      document.querySelector(".old")?.remove();
      // Nothing but the verdict, which is lighter than headers that tell its place.
      if (/^\s*<h2/.test(serverResponse)) Object.assign(event.detail, { target: document.getElementById("state"), swapOverride: "innerHTML" });
    }
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

  // A printed page shows its URL and the time, and full times, until the next tick.
  onbeforeprint = () => {
    for (const time of document.querySelectorAll("time")) time.textContent = time.title;
    body.dataset.printed = `${location} ${new Date().toLocaleString(root.lang)}`;
  };

  // If a swap removed the focused element, focus the element that data-back names. What a press did
  // is said just below what has the focus then, for a while.
  const said = document.getElementById("said");
  said.style.cssText = "position:fixed;padding:0 1rem;background:var(--ink);color:var(--paper)";
  let end;
  listen("htmx:oobAfterSwap", ({ detail: { target } }) => {
    if (target != said) return;
    clearTimeout(end);
    end = setTimeout(() => said.replaceChildren(), 6000);
  });
  listen("htmx:afterSettle", ({ detail: { requestConfig } }) => {
    const { back, due } = requestConfig?.elt.dataset || {};
    if (back && document.activeElement == body) document.querySelector(back)?.focus();
    if (due) return;
    const { bottom, left } = document.activeElement.getBoundingClientRect();
    said.style.top = `${Math.min(bottom + 4, innerHeight - 40)}px`;
    said.style.left = `${Math.min(left, innerWidth - said.offsetWidth)}px`;
  });

  // Escape presses Cancel.
  listen("keydown", (event) => {
    if (event.key == "Escape") event.target.form?.querySelector("a.button")?.click();
  });
})();
