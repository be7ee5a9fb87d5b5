// The draft: HTML made and escaped by the server, set without closing what the reader opened or moving what they read.

export function mount(holder, props, watch) {
  const element = holder.firstElementChild;
  const body = element.querySelector("[data-part=body]");

  function show() {
    const opened = new Set([...body.querySelectorAll("details[open]")].map((each) => each.id));
    const shut = new Set([...body.querySelectorAll("details:not([open])")].map((each) => each.id));
    const focused = body.contains(document.activeElement) ? document.activeElement.id : "";
    const top = element.scrollTop;
    body.innerHTML = props.value ?? "";
    for (const each of body.querySelectorAll("details")) {
      if (opened.has(each.id)) each.open = true;
      if (shut.has(each.id)) each.open = false;
    }
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    element.scrollTop = top;
  }

  watch("value", show);
  show();
}

export async function copyDraft() {
  const text = document.querySelector("#draft [data-plain]")?.textContent ?? "";
  if (!text) return;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea"); // without a secure origin there is no clipboard interface
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const button = document.querySelector("#copy-draft");
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = label), 1500);
}
