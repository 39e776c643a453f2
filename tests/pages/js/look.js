// Opens a page in Chromium and prints one JSON object: what it logged, asked for, and looks like.
// node look.js CHROMIUM PAGE FOLDER, with NODE_PATH; screenshots go to FOLDER.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require("playwright-core");

const [, , executablePath, page, folder] = process.argv;
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"];
const LOOKS = {
  light: { viewport: { width: 1200, height: 900 } },
  dark: { viewport: { width: 1200, height: 900 }, colorScheme: "dark" },
  phone: { viewport: { width: 380, height: 800 }, isMobile: true, hasTouch: true },
  print: { viewport: { width: 720, height: 900 }, colorScheme: "dark" },
};

async function opened(browser, options) {
  const context = await browser.newContext(options);
  const tab = await context.newPage();
  const seen = { logged: [], requested: [], dialogs: 0 };
  tab.on("console", (message) => seen.logged.push(`${message.type()}: ${message.text()}`));
  tab.on("pageerror", (error) => seen.logged.push(`error: ${error.message}`));
  tab.on("request", (request) => { if (!request.url().startsWith("data:")) seen.requested.push(request.url()); });
  tab.on("dialog", (dialog) => { seen.dialogs += 1; return dialog.dismiss(); });
  await tab.goto(pathToFileURL(page).href);
  await tab.waitForSelector("html[data-ready=yes]", { timeout: 60_000 });
  return { context, tab, seen };
}

async function look(browser, name) {
  const { context, tab, seen } = await opened(browser, LOOKS[name]);
  if (name === "print") {
    await tab.emulateMedia({ media: "print" });
    await tab.evaluate(() => window.dispatchEvent(new Event("beforeprint")));
  }
  await tab.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
  await tab.evaluate(AXE);
  const found = await tab.evaluate(() => axe.run({ resultTypes: ["violations"] }));
  seen.violations = found.violations.map((each) => `${each.id}: ${each.help}: ${each.nodes[0].html}`);
  seen.overflow = await tab.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  seen.background = await tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
  seen.charts = await tab.$$eval("svg[role=img]", (all) => all.map((each) => each.getAttribute("aria-label")));
  seen.drawn = await tab.$$eval("#map rect, #curves rect, #errors circle", (all) => all.length);
  seen.cut = await tab.$$eval("#map svg[role=img] text", (all) =>
    all.filter((each) => each.getBoundingClientRect().left < each.ownerSVGElement.getBoundingClientRect().left)
      .map((each) => each.textContent));
  seen.crowded = await tab.$$eval("#curves svg[role=img] text", (all) => {
    const labels = all.filter((each) => /e[+−-]/.test(each.textContent));
    const places = labels.map((each) => each.getBoundingClientRect()).sort((a, b) => a.left - b.left);
    return places.length < 2 || places.some((each, at) => at > 0 && each.left < places[at - 1].right + 4);
  });
  seen.scripts = await tab.$$eval("script", (all) => all.length);
  seen.images = await tab.$$eval("img", (all) => all.length);
  await context.close();
  return seen;
}

const names = (tab, most) =>
  tab.$$eval("#tensors tbody tr", (rows, count) =>
    rows.filter((row) => !row.hidden).slice(0, count).map((row) => row.cells[0].textContent), most);

async function use(browser) {
  // Sorts by two columns, filters, and chooses a tensor; returns what the tables show.
  const { context, tab, seen } = await opened(browser, LOOKS.light);
  const head = (text) => tab.locator("#tensors thead th", { hasText: text }).first();
  const sorted = {};
  for (const [key, column] of [["largest", "entries"], ["smallest", "entries"], ["named", "tensor"]]) {
    await head(column).locator("button").click();
    sorted[key] = { first: (await names(tab, 1))[0], order: await head(column).getAttribute("aria-sort") };
  }
  await tab.fill("#filter", "LAYERS.1.");
  const filtered = { names: await names(tab, 100), count: await tab.textContent("#count") };
  await tab.fill("#filter", "");
  let curve = null;
  if (await tab.$("#tensor")) {
    const options = await tab.$$eval("#tensor option", (all) => all.map((each) => each.textContent));
    await tab.selectOption("#tensor", { index: options.length - 1 });
    curve = { chosen: options[options.length - 1], label: await tab.getAttribute("#curves svg[role=img]", "aria-label"), text: await tab.textContent("#curves-text") };
  }
  const logged = seen.logged;
  await context.close();
  return { sorted, filtered, curve, logged };
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  try {
    const looks = {};
    for (const name of Object.keys(LOOKS)) looks[name] = await look(browser, name);
    console.log(JSON.stringify({ looks, used: await use(browser) }));
  } finally {
    await browser.close();
  }
})();
