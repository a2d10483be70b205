// Asks a mirror through the JavaScript client and prints what came, as one JSON object.
// Knows: the client's calls. Does not know: what is right (test_mirror_npm.py).

import {
  downloadFile,
  fileDownloadInfo,
  fileExists,
  listFiles,
  listModels,
  modelInfo,
  parseSafetensorsMetadata,
  pathsInfo,
} from "@huggingface/hub";

const [hubUrl, owner, repo, former] = process.argv.slice(2);
const weights = "adapter_model.safetensors";

async function all(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

async function refusal(call) {
  try {
    await call();
    return "none";
  } catch (error) {
    return error.statusCode ?? error.message;
  }
}

const additionalFields = ["sha", "tags", "library_name"];
const card = await downloadFile({ repo, path: "README.md", hubUrl });
const blob = await downloadFile({ repo, path: weights, hubUrl });
const piece = await blob.slice(8, 24).arrayBuffer();
const whole = await blob.arrayBuffer();
const info = await fileDownloadInfo({ repo, path: weights, hubUrl });

const told = {
  models: await all(listModels({ search: { owner, tags: ["peft"] }, sort: "lastModified", additionalFields, hubUrl })),
  two: (await all(listModels({ search: { owner }, sort: "downloads", limit: 2, hubUrl }))).map((m) => m.name),
  model: await modelInfo({ name: repo, additionalFields, hubUrl }),
  renamed: (await modelInfo({ name: former, hubUrl })).name,
  top: (await all(listFiles({ repo, hubUrl }))).map((file) => [file.type, file.path]),
  files: await all(listFiles({ repo, recursive: true, hubUrl })),
  paths: await pathsInfo({ repo, paths: ["README.md", weights, "notes", "missing"], hubUrl }),
  card: await card.text(),
  size: [blob.size, whole.byteLength, info.size],
  etag: info.etag,
  pointer: await (await downloadFile({ repo, path: weights, raw: true, hubUrl })).text(),
  piece: new TextDecoder().decode(piece),
  metadata: await parseSafetensorsMetadata({ repo, path: weights, hubUrl }),
  exists: [await fileExists({ repo, path: "README.md", hubUrl }), await fileExists({ repo, path: "missing", hubUrl })],
  missing: await downloadFile({ repo, path: "missing", hubUrl }),
  refused: [
    await refusal(() => modelInfo({ name: `${owner}/nothing`, hubUrl })),
    await refusal(() => downloadFile({ repo: `${owner}/gated`, path: weights, hubUrl })),
  ],
};
console.log(JSON.stringify(told));
