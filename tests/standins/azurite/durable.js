// Loaded into Azurite before its own program. Azurite writes what it knows of its blobs every five seconds;
// Blob Storage has a blob for good before it acknowledges it. So here each change is written as it is made.
"use strict";

const fs = require("fs");
const Loki = require("lokijs");

const databases = new WeakMap();

function after(prototype, names, then) {
  for (const name of names) {
    const original = prototype[name];
    prototype[name] = function (...given) {
      const result = original.apply(this, given);
      then(this, result);
      return result;
    };
  }
}

after(Loki.prototype, ["addCollection", "getCollection"], (database, collection) => {
  if (collection) databases.set(collection, database);
});
after(Loki.Collection.prototype, ["insert", "update", "remove", "removeBatch"], (collection) => {
  const database = databases.get(collection);
  fs.writeFileSync(`${database.filename}.new`, database.serialize());
  fs.renameSync(`${database.filename}.new`, database.filename);
});
// Its own, later writing would put an older state over a newer one.
Loki.prototype.autosaveEnable = function () {};
