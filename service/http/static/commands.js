// What is on the screen, as a command of curl and as a Python program. The key's place is the variable API_KEY.

/** What of an answer a program prints, by the path that was asked. */
const PRINTED = {
  detect: ["for found in answer[\"detections\"]:", "    print(found[\"label\"], found[\"score\"], found[\"box\"])"],
  compare: [
    "for pair in answer[\"pairs\"]:",
    "    print(pair[\"left\"], pair[\"right\"], pair[\"iou\"], pair[\"score_difference\"])",
    "print(\"only left:\", answer[\"only_left\"], \"only right:\", answer[\"only_right\"])",
  ],
  explain: ["print(answer[\"grid\"], answer[\"attention\"], answer[\"point\"])"],
};

/**
 * The curl command of a request {path, query} for a picture {name, sample}.
 *
 * `addressOf` makes the absolute address of a path. A sample is fetched from the server; any other image is expected in
 * the working directory. `keyed`: whether an API key is sent.
 */
export function curl({ path, query }, { name, sample }, addressOf, keyed) {
  const key = keyed ? " -H \"x-api-key: $API_KEY\"" : "";
  const fetched = sample ? `curl -s ${quoted(addressOf(`static/${sample}`))} | ` : "";
  const body = sample ? "@-" : quoted(`@${name}`);
  return `${fetched}curl --data-binary ${body}${key} ${quoted(addressOf(path) + (query ? `?${query}` : ""))}`;
}

/** The same as a Python program. */
export function python({ path, query }, { name, sample }, addressOf, keyed) {
  const image = sample ? `httpx.get(${text(addressOf(`static/${sample}`))}).content` : `Path(${text(name)}).read_bytes()`;
  const sent = [
    `    ${text(addressOf(path))},`,
    ...(query ? [`    params={${[...new URLSearchParams(query)].map(([key, value]) => `${text(key)}: ${text(value)}`).join(", ")}},`] : []),
    "    content=image,",
    ...(keyed ? ["    headers={\"x-api-key\": os.environ[\"API_KEY\"]},"] : []),
    "    timeout=60,",
  ];
  const standard = [...(keyed ? ["import os"] : []), ...(sample ? [] : ["from pathlib import Path"])];
  return [
    ...standard, ...(standard.length ? [""] : []), "import httpx", "", `image = ${image}`,
    "response = httpx.post(", ...sent, ")", "response.raise_for_status()", "answer = response.json()", ...PRINTED[path], "",
  ].join("\n");
}

/** A word of a POSIX shell. */
function quoted(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** A string of Python; JSON's escapes are Python's. */
function text(value) {
  return JSON.stringify(value);
}
