// For a page of another site: inserts the panel after its <script>, at the panel's full height.
(() => {
  const script = document.currentScript;
  const panel = new URL("../?embed=1", script.src);
  const frame = document.createElement("iframe");
  frame.title = script.dataset.title || "Synchronisation";
  frame.src = panel;
  Object.assign(frame.style, { display: "block", width: "100%", height: "20rem", border: 0 });

  // Each page in the frame is asked once, and reports its height whenever it changes.
  frame.onload = () => frame.contentWindow.postMessage("sync-panel", panel.origin);
  addEventListener("message", ({ origin, source, data }) => {
    if (origin == panel.origin && source == frame.contentWindow && Number.isFinite(data))
      frame.style.height = `${Math.min(Math.max(data, 100), 20000)}px`;
  });
  script.after(frame);
})();
