// Sends a folder, a zip or files, one request a file, with progress and a way to stop; the server holds the limits.

export function mount(holder, props, trigger) {
  const element = holder.firstElementChild;
  const part = (name) => element.querySelector(`[data-part=${name}]`);
  let sending = null;

  async function ask(path, options) {
    const response = await fetch(props.uploads + path, options);
    const said = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(said.detail ?? "The upload did not succeed. Try again.");
    return said;
  }

  async function send(files) {
    if (sending || !files.length) return;
    const total = files.reduce((sum, each) => sum + each.file.size, 0);
    const control = (sending = new AbortController());
    let id = null;
    busy(true);
    say("");
    try {
      const said = await ask("", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ bytes: total, files: files.length }), signal: control.signal });
      id = said.id;
      let sent = 0;
      for (const { file, name } of files) {
        await put(`${props.uploads}/${id}/file?name=${encodeURIComponent(name)}`, file, control.signal, (bytes) => progress(sent + bytes, total));
        sent += file.size;
      }
      await ask(`/${id}/done`, { method: "POST", signal: control.signal });
      progress(total, total);
      trigger("uploaded", { study: id });
      say("");
    } catch (error) {
      if (id) fetch(`${props.uploads}/${id}`, { method: "DELETE" }).catch(() => {});
      say(control.signal.aborted ? "Upload cancelled; nothing was kept." : error.message);
    } finally {
      sending = null;
      busy(false);
    }
  }

  // fetch() tells no upload progress, XMLHttpRequest does.
  function put(url, file, signal, onProgress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("PUT", url);
      request.upload.onprogress = (event) => onProgress(event.loaded);
      request.onload = () => {
        if (request.status < 300) return resolve();
        let detail = "The upload did not succeed. Try again.";
        try { detail = JSON.parse(request.responseText).detail ?? detail; } catch { /* no message of ours */ }
        reject(new Error(detail));
      };
      request.onerror = () => reject(new Error("The connection to the page's server broke off. Check that it still runs, then try again."));
      request.onabort = () => reject(new Error("cancelled"));
      signal.addEventListener("abort", () => request.abort());
      request.send(file);
    });
  }

  function progress(done, total) {
    part("bar").max = Math.max(total, 1);
    part("bar").value = done;
    part("amount").textContent = `${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`;
  }

  function busy(is) {
    part("progress").hidden = !is;
    for (const input of element.querySelectorAll("input")) input.disabled = is;
  }

  function say(text) {
    part("message").textContent = text;
  }

  const listed = (input) => [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
  const take = (input) => { send(listed(input)); input.value = ""; };
  for (const input of element.querySelectorAll("input")) {
    input.addEventListener("change", () => take(input));
    take(input); // what was chosen before this script had come
  }
  part("cancel").addEventListener("click", () => sending?.abort());

  const zone = part("zone");
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.dataset.over = "1"; });
  zone.addEventListener("dragleave", () => delete zone.dataset.over);
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    delete zone.dataset.over;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    send((await Promise.all(entries.map(walk))).flat());
  });

  async function walk(entry) {
    if (entry.isFile) return [{ file: await new Promise((yes, no) => entry.file(yes, no)), name: entry.fullPath.replace(/^\//, "") }];
    const reader = entry.createReader();
    const found = [];
    for (;;) { // a reader hands out a hundred entries at a time
      const some = await new Promise((yes, no) => reader.readEntries(yes, no));
      if (!some.length) break;
      found.push(...some);
    }
    return (await Promise.all(found.map(walk))).flat();
  }
}
