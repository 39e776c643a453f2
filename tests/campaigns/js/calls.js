// Calls of Prune by grpc-js, as its documentation teaches them: node calls.js ADDRESS TIMES AT_ONCE < cases.json
//
// Cases are {"proto": path, "imported": folder of what it imports, "options": {...}, "file": path, "chunkBytes": n}, taken in turn. Each call streams the file
// with back-pressure, reads while it sends, and stops sending when a failure comes. A line of JSON is printed for each:
// {"index": of the case, "inBand": reason, "code": number, "details": base64 of google.rpc.Status, "message": text}.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { once } = require("node:events");

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

function open({ proto, imported }, address) {
  const loaded = loader.loadSync(path.basename(proto), {
    includeDirs: [path.dirname(proto), imported],
    longs: String,
    enums: String,
    oneofs: true,
  });
  const { PruningService } = grpc.loadPackageDefinition(loaded).pruning.v1;
  return new PruningService(address, grpc.credentials.createInsecure());
}

async function send(call, { options, file, chunkBytes }, told) {
  call.write({ options });
  for await (const data of fs.createReadStream(file, { highWaterMark: chunkBytes })) {
    if (told.ended || told.inBand) break;
    if (!call.write({ data })) await Promise.race([once(call, "drain"), told.end]);
  }
  call.end();
}

async function prune(client, cases, index) {
  const call = client.Prune();
  const told = { inBand: "", code: null, details: "", message: "", ended: false };
  told.end = new Promise((resolve) => {
    call.on("status", (status) => {
      const [details] = status.metadata.get("grpc-status-details-bin");
      told.code = status.code;
      told.message = status.details;
      told.details = details ? details.toString("base64") : "";
      told.ended = true;
      resolve();
    });
  });
  call.on("error", () => {}); // the same as the status
  call.on("data", (response) => {
    if (response.message === "failure") told.inBand = response.failure.reason;
  });
  const sending = send(call, cases[index], told);
  await told.end;
  await sending;
  const { inBand, code, details, message } = told;
  console.log(JSON.stringify({ index, inBand, code, details, message }));
}

async function main() {
  const [address, times, atOnce] = process.argv.slice(2);
  const cases = JSON.parse(fs.readFileSync(0, "utf8"));
  const client = open(cases[0], address);
  let begun = 0;
  const several = async () => {
    while (begun < Number(times)) await prune(client, cases, begun++ % cases.length);
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, several));
  client.close();
}

main();
