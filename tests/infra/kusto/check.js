// Reads {tables: {NAME: {COLUMN: TYPE}}, queries: {NAME: TEXT}} and writes {NAME: [sentence, …]} of what is wrong.
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

// Scripts for a page: each adds to the global object.
const parts = path.dirname(require.resolve('@kusto/language-service-next/package.json'));
for (const file of ['bridge.min.js', 'Kusto.Language.Bridge.min.js']) {
    vm.runInThisContext(fs.readFileSync(path.join(parts, file), 'utf8'), { filename: file });
}
const { Language } = globalThis.Kusto;

const asked = JSON.parse(fs.readFileSync(0, 'utf8'));
const tables = Object.entries(asked.tables).map(([name, columns]) => {
    const described = Object.entries(columns).map(([column, type]) => `['${column}']:${type}`);
    return Language.Symbols.TableSymbol.From(`(${described.join(', ')})`).WithName(name);
});
const database = new Language.Symbols.DatabaseSymbol.$ctor1('logs', tables);
const globals = Language.GlobalState.Default.WithDatabase(database);

const said = {};
for (const [name, text] of Object.entries(asked.queries)) {
    const code = Language.KustoCode.ParseAndAnalyze(text, globals);
    const found = code.GetDiagnostics();
    said[name] = [];
    for (let i = 0; i < found.Count; i++) said[name].push(found.getItem(i).Message);
}
process.stdout.write(JSON.stringify(said));
