// Runs npm's solc (a single wasm file) without its JavaScript wrapper, which would need further packages.
// usage: node solc.cjs path/to/soljson.js < standard-input.json > standard-output.json
const { readFileSync, writeFileSync } = require("node:fs");
const { resolve } = require("node:path");

const solc = require(resolve(process.argv[2]));

function compile() {
  const run = solc.cwrap("solidity_compile", "string", ["string", "number", "number"]);
  writeFileSync(1, run(readFileSync(0, "utf8"), 0, 0));
}

if (solc.calledRun) compile();
else solc.onRuntimeInitialized = compile;
