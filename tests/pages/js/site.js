// Opens pages of the documentation site in Chromium and prints one JSON object: what each logged, asked for and looks
// like, and what a search finds. node site.js CHROMIUM FOLDER QUERY URL PAGE..., with NODE_PATH; screenshots go to FOLDER.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [, , executablePath, folder, query, url, ...pages] = process.argv;
const AXE = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"];
const LOOKS = {
  wide: { viewport: { width: 1280, height: 900 } },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
  phone: { viewport: { width: 390, height: 800 }, isMobile: true, hasTouch: true },
};
const GRAVE = new Set(["serious", "critical"]);

async function opened(context, page) {
  const tab = await context.newPage();
  const seen = { logged: [], requested: [] };
  tab.on("console", (message) => seen.logged.push(`${message.type()}: ${message.text()}`));
  tab.on("pageerror", (error) => seen.logged.push(`error: ${error.message}`));
  tab.on("request", (request) => { if (!/^(data|blob):/.test(request.url())) seen.requested.push(request.url()); });
  await tab.goto(new URL(page, url).href, { waitUntil: "load" });
  await tab.waitForSelector("html.js");
  return { tab, seen };
}

async function look(context, name, page) {
  const { tab, seen } = await opened(context, page);
  await tab.screenshot({ path: path.join(folder, `${page.replace(/\W/g, "-")}-${name}.png`) });
  await tab.evaluate(AXE);
  const found = await tab.evaluate(() => axe.run({ resultTypes: ["violations"], preload: false }) /* it would fetch styles */);
  seen.violations = found.violations
    .filter((each) => GRAVE.has(each.impact))
    .map((each) => `${each.id}: ${each.help}: ${each.nodes.slice(0, 3).map((node) => node.html).join(" ")}`);
  seen.overflow = await tab.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  seen.title = await tab.textContent("h1");
  await tab.close();
  return seen;
}

async function search(context) {
  const { tab, seen } = await opened(context, pages[0]);
  const input = tab.locator(".md-search__input");
  const first = tab.locator(".md-search-result__link").first();
  await input.click();
  await input.pressSequentially(query); // the search listens to keys; it reads its index when it is first used
  await first.waitFor({ timeout: 180_000 });
  seen.titles = await tab.$$eval(".md-search-result__item h1, .md-search-result__item h2", (all) => all.map((each) => each.textContent));
  await tab.screenshot({ path: path.join(folder, "search.png") });
  await tab.close();
  return seen;
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  try {
    const looks = {};
    for (const [name, options] of Object.entries(LOOKS)) {
      const context = await browser.newContext(options);
      for (const page of pages) looks[`${page} ${name}`] = await look(context, name, page);
      await context.close();
    }
    const context = await browser.newContext(LOOKS.wide);
    console.log(JSON.stringify({ looks, search: await search(context) }));
  } finally {
    await browser.close();
  }
})();
