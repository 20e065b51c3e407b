"use strict";

function element(name, text, className) {
  const made = document.createElement(name);
  // Text between backticks is code.
  String(text ?? "").split("`").forEach((part, index) => made.append(index % 2 ? code(part) : part));
  if (className) made.className = className;
  return made;
}

function code(text) {
  const made = document.createElement("code");
  made.textContent = text;
  return made;
}

function row(tag, cells) {
  const made = element("tr");
  for (const cell of cells) made.append(cell instanceof Node ? cell : element(tag, cell));
  return made;
}

function table(heads, rows) {
  const made = element("table");
  made.append(row("th", heads), ...rows.map((cells) => row("td", cells)));
  return made;
}

function kind(schema) {
  const parts = (schema.anyOf || [schema]).filter((part) => part.type !== "null").map((part) => {
    if (part.enum) return part.enum.join(" | ");
    const low = part.minimum !== undefined ? ` ≥ ${part.minimum}` : part.exclusiveMinimum !== undefined ? ` > ${part.exclusiveMinimum}` : "";
    const high = part.maximum !== undefined ? ` ≤ ${part.maximum}` : "";
    return (part.type || "") + low + high;
  });
  return parts.join(" or ");
}

function example(title, value) {
  const made = element("details");
  made.append(element("summary", title), element("pre", JSON.stringify(value, null, 2)));
  return made;
}

function body(content) {
  if (content["image/jpeg"]) return " --data-binary @image.jpg";
  if (content["multipart/form-data"]) return " -F image=@a.jpg -F image=@b.png";
  const json = content["application/json"];
  return json && json.example ? ` --json '${JSON.stringify(json.example)}'` : "";
}

function curl(path, about) {
  const values = Object.fromEntries((about.parameters || []).map(({ name, schema }) => [name, schema.enum?.[0]]));
  const filled = path.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  return `curl${body(about.requestBody?.content || {})} '${new URL(filled.slice(1), document.baseURI)}'`;
}

function operation(method, path, about) {
  const made = element("section", undefined, "operation");
  const title = element("h2");
  title.append(element("code", method.toUpperCase(), "method"), element("code", path));
  made.append(title, element("p", about.summary), element("p", about.description || "", "muted"), element("pre", curl(path, about)));
  const query = (about.parameters || []).filter((parameter) => parameter.in === "query");
  if (query.length) {
    made.append(table(["query", "values", "meaning"], query.map((parameter) => [
      parameter.name, kind(parameter.schema), parameter.description || parameter.schema.description || "",
    ])));
  }
  if (about.requestBody) {
    made.append(element("p", "Body: " + Object.keys(about.requestBody.content).join(", ")));
  }
  made.append(table(["status", "meaning", ""], Object.entries(about.responses).map(([status, response]) => {
    const cell = element("td");
    for (const content of Object.values(response.content || {})) {
      if (content.example) cell.append(example("example", content.example));
      for (const [name, { value }] of Object.entries(content.examples || {})) cell.append(example(name, value));
    }
    return [status, response.description, cell];
  })));
  return made;
}

async function main() {
  const api = await (await fetch("openapi.json")).json();
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("description").append(element("span", api.info.description));
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, about]) => operation(method, path, about)));
  document.getElementById("operations").replaceChildren(...operations);
}

main();
