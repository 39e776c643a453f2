// What the theme leaves out for those who use a keyboard or a screen reader: parts that scroll can be reached, and the
// search has a name.
"use strict";
const reachable = () => {
  document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code").forEach((part) => { part.tabIndex = 0; });
  document.querySelectorAll(".md-search[role=dialog]").forEach((dialog) => dialog.setAttribute("aria-label", "Search"));
};
new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
reachable();
