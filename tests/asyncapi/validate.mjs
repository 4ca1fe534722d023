// Validates an AsyncAPI document by the official parser: `node validate.mjs FILE`. ASYNCAPI_HOME has node_modules.
// Prints what the parser read, and its diagnostics of severity error (0) or warning (1), as JSON.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.join(path.resolve(process.env.ASYNCAPI_HOME), 'package.json'));
const { Parser } = require('@asyncapi/parser');

const { document, diagnostics } = await new Parser().parse(fs.readFileSync(process.argv[2], 'utf-8'));
const found = diagnostics
  .filter((one) => one.severity <= 1)
  .map((one) => `${one.code} at ${one.path.join('.')}: ${one.message}`);
const read = document && {
  version: document.version(),
  servers: document.servers().all().map((one) => one.id()),
  channels: document.channels().all().map((one) => one.address()),
  operations: document.operations().all().map((one) => one.action()),
  messages: document.messages().all().map((one) => one.name()),
};
process.stdout.write(JSON.stringify({ read: read ?? null, diagnostics: found }));
