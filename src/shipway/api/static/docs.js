// Draws openapi.json as one page. Text goes in by textContent only, so nothing in it can become markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function make(tag, text, ...children) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

function named(schema, parts) {
  const found = schema && schema.$ref ? parts[schema.$ref.split("/").pop()] : schema;
  return found || {};
}

function typeOf(schema, parts) {
  if (!schema) return "any";
  if (schema.$ref) return typeOf(named(schema, parts), parts);
  const several = schema.anyOf || schema.oneOf;
  if (several) return several.map((one) => typeOf(one, parts)).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items, parts)}`;
  if (Array.isArray(schema.type)) return schema.type.join(" or ");
  return schema.title && schema.type === "object" ? schema.title : schema.type || "any";
}

function table(head, rows) {
  const body = make("tbody");
  for (const row of rows) body.append(make("tr", "", ...row.map((cell) => make("td", cell))));
  return make("table", "", make("thead", "", make("tr", "", ...head.map((cell) => make("th", cell)))), body);
}

function parameters(operation, parts) {
  const rows = (operation.parameters || []).map((one) => [
    one.name, one.in, typeOf(one.schema, parts), one.required ? "required" : JSON.stringify(one.schema.default ?? null),
  ]);
  return rows.length ? [make("h3", "Parameters"), table(["name", "in", "type", "default"], rows)] : [];
}

function fields(schema, parts, prefix, depth) {
  const shape = named(schema, parts);
  const rows = [];
  for (const [key, field] of Object.entries(shape.properties || {})) {
    const required = (shape.required || []).includes(key);
    rows.push([prefix + key, typeOf(field, parts), required ? "required" : JSON.stringify(field.default ?? null)]);
    const inner = field.items ? named(field.items, parts) : named(field, parts);
    if (depth < 3 && inner.properties) rows.push(...fields(inner, parts, `${prefix}${key}${field.items ? "[]" : ""}.`, depth + 1));
  }
  return rows;
}

function body(operation, parts) {
  const content = operation.requestBody && operation.requestBody.content;
  if (!content) return [];
  const schema = Object.values(content)[0].schema;
  const rows = fields(schema, parts, "", 0);
  const about = named(schema, parts).description;
  return [make("h3", "Body"), ...(about ? [make("p", about)] : []), table(["field", "type", "default"], rows)];
}

function example(method, path, operation) {
  const lines = [`curl -X ${method.toUpperCase()} ${location.origin}${path.replaceAll("{", "$").replaceAll("}", "")}`];
  if (operation["x-roles"]) lines.push('  -H "authorization: Bearer $SHIPWAY_TOKEN"');
  if (operation.requestBody) {
    const type = Object.keys(operation.requestBody.content)[0];
    lines.push(`  -H 'content-type: ${type}' --data-binary @${type.endsWith("json") ? "body.json" : "bundle.tar"}`);
  }
  return make("pre", lines.join(" \\\n"));
}

function route(method, path, operation, parts) {
  const [first, ...more] = (operation.description || operation.summary || "").split("\n\n");
  const summary = make("summary", "", make("b", method.toUpperCase()), make("code", path), make("span", first));
  const roles = operation["x-roles"] ? `Roles: ${operation["x-roles"].join(", ")}.` : "Needs no token.";
  const inside = make("div", "", ...more.map((text) => make("p", text)), make("p", roles), ...parameters(operation, parts), ...body(operation, parts), example(method, path, operation));
  const details = make("details", "", summary, inside);
  details.dataset.text = `${method} ${path} ${first}`.toLowerCase();
  return details;
}

function draw(spec) {
  const parts = (spec.components && spec.components.schemas) || {};
  const groups = new Map();
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((one) => methods[one])) {
      const operation = methods[method];
      const tag = (operation.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, make("section", "", make("h2", tag)));
      groups.get(tag).append(route(method, path, operation, parts));
    }
  }
  document.getElementById("routes").replaceChildren(...groups.values());
  document.getElementById("about").replaceChildren(`Release ${spec.info.version}. The same as data: `, Object.assign(make("a", "openapi.json"), { href: "/openapi.json" }), ".");
}

function filter() {
  const wanted = document.getElementById("filter").value.trim().toLowerCase();
  const all = [...document.querySelectorAll("details")];
  for (const one of all) one.hidden = !one.dataset.text.includes(wanted);
  for (const group of document.querySelectorAll("section")) group.hidden = !group.querySelector("details:not([hidden])");
  document.getElementById("shown").textContent = `${all.filter((one) => !one.hidden).length} of ${all.length} routes`;
}

fetch("/openapi.json")
  .then((response) => response.json())
  .then((spec) => { draw(spec); filter(); document.getElementById("filter").addEventListener("input", filter); })
  .catch((problem) => { document.getElementById("about").textContent = `The description of the API cannot be read: ${problem.message}`; });
