// A browser starts no worker from the disk, so that the search would stay silent in a site that is opened as files.
// There, and only there, this stands for Worker: the script runs in a hidden frame, and messages go both ways.
"use strict";
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget { // by this name the search knows where it runs
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.title = "search";
      const script = new URL(url, document.baseURI).href.replace(/"/g, "%22");
      this.frame.srcdoc = `<!doctype html><title>search</title><body><script>
        const loaded = (source) => new Promise((done, failed) => {
          const script = document.createElement("script");
          document.body.appendChild(Object.assign(script, { src: source, onload: done, onerror: failed }));
        });
        importScripts = (...sources) => sources.reduce((last, next) => last.then(() => loaded(next)), Promise.resolve());
        postMessage = (data) => parent.postMessage(data, "*");
      <\/script><script src="${script}"><\/script>`;
      this.ready = new Promise((resolve) => { this.frame.onload = resolve; });
      window.addEventListener("message", (event) => {
        if (event.source !== this.frame.contentWindow) return;
        const message = new MessageEvent("message", { data: event.data });
        this.dispatchEvent(message);
        if (this.onmessage) this.onmessage(message);
      });
      document.body.appendChild(this.frame);
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() { this.frame.remove(); }
  };
  window.Worker = window.IFrameWorker;
}
