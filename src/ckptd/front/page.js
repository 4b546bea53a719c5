"use strict";
(() => {
  const RETRY = 20000; // milliseconds until the next try when the server has refused
  const REST = 60000; // a page that nobody sees lets go of its connection after this time
  const byId = (id) => document.getElementById(id);
  const later = new Map(); // what somebody has marked is replaced once the marking is gone
  let source = null;
  let timer = 0;

  const show = (state, text) => {
    const live = byId("live");
    live.dataset.state = state;
    live.textContent = text;
  };

  const say = (text) => { byId("say").textContent = text; };

  const marked = (element) => {
    const selection = getSelection();
    return !selection.isCollapsed && selection.containsNode(element, true);
  };

  const put = (id, html) => {
    const old = byId(id);
    if (!old) return;
    if (marked(old)) { later.set(id, html); return; }
    later.delete(id);
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const typed = byId("find") && old.contains(byId("find")) ? byId("find").value : "";
    old.outerHTML = html;
    dress(byId(id));
    if (typed) byId("find").value = typed;
    if (focused && byId(focused)) byId(focused).focus({ preventScroll: true });
  };

  // What only works with a script is hidden until there is one.
  const dress = (root) => {
    for (const each of root.querySelectorAll("[data-script]")) each.hidden = false;
    find();
  };

  const find = () => {
    const field = byId("find");
    if (!field) return;
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of document.querySelectorAll("#checkpoints tbody tr")) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  };

  const take = (message) => {
    const news = JSON.parse(message.data);
    document.body.dataset.have = message.lastEventId; // which rows are here: those need not come again
    if (news.title && news.title !== document.title) {
      document.title = news.title;
      say(news.title);
    }
    if (news.tone) document.body.className = "tone-" + news.tone;
    for (const [id, html] of Object.entries(news.parts)) put(id, html);
    find();
  };

  const connect = () => {
    clearTimeout(timer);
    if (source) return;
    source = new EventSource("events?have=" + encodeURIComponent(document.body.dataset.have));
    source.onopen = () => show("live", "live");
    source.onmessage = take;
    source.onerror = () => {
      show("lost", "not live: no answer from the daemon");
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        timer = setTimeout(connect, RETRY);
      }
    };
  };

  const rest = () => {
    if (source) source.close();
    source = null;
    show("", "at rest");
  };

  const copied = (button) => {
    const before = button.dataset.label || button.textContent;
    button.dataset.label = before;
    button.textContent = "Copied";
    button.classList.add("done");
    say("Copied");
    setTimeout(() => { button.textContent = before; button.classList.remove("done"); }, 1600);
  };

  // Browsers offer the clipboard to https and localhost alone; elsewhere the older way still works.
  const copyMarked = (element) => {
    const selection = getSelection();
    selection.selectAllChildren(element);
    const done = document.execCommand("copy");
    if (done) selection.removeAllRanges();
    return done;
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const element = byId(button.dataset.copy);
    const old = () => { if (copyMarked(element)) copied(button); };
    if (navigator.clipboard) navigator.clipboard.writeText(element.textContent).then(() => copied(button), old);
    else old();
  });

  document.addEventListener("input", (event) => { if (event.target.id === "find") find(); });

  document.addEventListener("selectionchange", () => {
    if (later.size && getSelection().isCollapsed) for (const [id, html] of [...later]) put(id, html);
  });

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(rest, REST);
    else connect();
  });

  dress(document.body);
  connect();
})();
