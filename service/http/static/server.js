// Requests to the server that the page comes from. Addresses are relative, so that a prefix of a proxy is kept.

let key = "";

/** An answer that is an error: `status`, and a message for people. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Send this API key from now on; an empty one is not sent. */
export function setKey(value) {
  key = value.trim();
}

/** Whether an API key is sent. */
export function hasKey() {
  return key !== "";
}

/** The absolute address of a path. */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

/** The model card. Throws a Refusal. */
export async function modelCard() {
  return (await answered(await fetch("model", { headers: headers() }))).json();
}

/** The answer to an image. Throws a Refusal, or an AbortError when the signal says so. */
export async function ask({ path, query }, image, signal) {
  const response = await fetch(query ? `${path}?${query}` : path, {
    method: "POST", body: image, signal, headers: { "content-type": "application/octet-stream", ...headers() },
  });
  return (await answered(response)).json();
}

/** The bytes of a static file. Throws a Refusal. */
export async function staticFile(name) {
  return (await answered(await fetch(`static/${name}`))).blob();
}

function headers() {
  return key ? { "x-api-key": key } : {};
}

async function answered(response) {
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const detail = problem.detail ? `: ${problem.detail}` : "";
  throw new Refusal(response.status, `${problem.title || response.statusText}${detail} (${response.status})`);
}
