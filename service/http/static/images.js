// Where images come from: dropped, pasted, chosen, or one of the samples.

import { $ } from "./dom.js";
import { staticFile } from "./server.js";

/** Call `take` with each image {blob, name, sample}; `sample` is the name of a static file, or null. */
export function offerImages(take, refuse) {
  const given = (files) => { if (files[0]) take({ blob: files[0], name: files[0].name || "image", sample: null }); };
  $("file").addEventListener("change", (event) => {
    given(event.target.files);
    event.target.value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
  }
  document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    given(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => given(event.clipboardData.files));
  $("samples").addEventListener("click", (event) => {
    const button = event.target.closest("[data-sample]");
    if (button) takeSample(button.dataset.sample, take).catch(refuse);
  });
}

/** Fetch one of the samples and give it to `take`; nothing happens if there is none of this name. */
export async function takeSample(name, take) {
  if (!document.querySelector(`[data-sample="${CSS.escape(name)}"]`)) return;
  take({ blob: await staticFile(name), name, sample: name });
}

/** Show an image in all places that show it; return its size {width, height}, null if the browser cannot read it. */
export async function showPicture({ blob }) {
  const pictures = document.querySelectorAll(".picture");
  URL.revokeObjectURL(pictures[0].src);
  const address = URL.createObjectURL(blob);
  for (const picture of pictures) {
    picture.parentElement.classList.remove("blank");
    // A format that the server reads and the browser does not: boxes are drawn on an empty page of the same shape.
    picture.onerror = () => picture.parentElement.classList.add("blank");
    picture.src = address;
  }
  try {
    await pictures[0].decode();
    return { width: pictures[0].naturalWidth, height: pictures[0].naturalHeight };
  } catch {
    return null;
  }
}

/** Give the places the shape of the image, {width, height} in pixels. */
export function shapeViews({ width, height }) {
  for (const picture of document.querySelectorAll(".picture"))
    picture.parentElement.style.setProperty("--shape", `${width} / ${height}`);
}
