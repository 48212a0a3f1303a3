// For a page of another site: inserts the panel after its <script>, at the panel's full height and
// in the colours and the font that the attributes of the <script> name.
(() => {
  const script = document.currentScript;
  const { title, theme, accent, font } = script.dataset;
  // Light letters stand on dark paper.
  const [red, green, blue] = getComputedStyle(script.parentNode).color.match(/[\d.]+/g);
  const host = red * 0.3 + green * 0.6 + blue * 0.1 > 128 ? "dark" : "light";
  const panel = new URL("../", script.src);
  panel.searchParams.set("embed", [theme || host, accent, font].join());
  const frame = document.createElement("iframe");
  frame.title = title || "Synchronisation";
  // The panel says in words which page may not show it.
  frame.referrerPolicy = "origin";
  frame.src = panel;
  Object.assign(frame.style, { display: "block", width: "100%", height: "20rem", border: 0 });
  // The paper of the host shows through only where both have the same scheme.
  if (!theme) frame.style.colorScheme = host;

  // Each page in the frame is asked once, and reports its height whenever it changes.
  frame.onload = () => frame.contentWindow.postMessage("sync-panel", panel.origin);
  addEventListener("message", ({ origin, source, data }) => {
    if (origin == panel.origin && source == frame.contentWindow && Number.isFinite(data))
      frame.style.height = `${Math.min(Math.max(data, 100), 20000)}px`;
  });
  script.after(frame);
})();
