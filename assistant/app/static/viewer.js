// The viewer of one study: NiiVue in radiological convention, with the sequences, views and window at hand.
// value: {id, title, subtitle, state: empty|waiting|failed|ready, message, series: [{name, key, plane, weighting, slices, url, window}],
//         pictures: [{url, caption}], report: [{heading, text}], closable}. Everything from the server enters the page as text, never as HTML.

const VIEWS = { axial: "AXIAL", coronal: "CORONAL", sagittal: "SAGITTAL", all: "MULTIPLANAR" };
const AXIS = { sagittal: 0, coronal: 1, axial: 2 };
const GRID = 2;
const DRAG_WINDOWING = 9;
const DRAG_CROSSHAIR = 8;

export function mount(holder, props, trigger, watch) {
  const element = holder.firstElementChild;
  const part = (name) => element.querySelector(`[data-part=${name}]`);
  const canvas = element.querySelector("canvas");
  const state = { nv: null, library: null, shown: null, series: null, view: "axial", loading: 0, place: "" };
  element.viewer = state;

  async function niivue() {
    if (state.nv) return state.nv;
    state.library = await import(props.library);
    const nv = new state.library.Niivue({
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      isOrientationTextVisible: true,
      showAllOrientationMarkers: true,
      isResizeCanvas: true,
      dragAndDropEnabled: false,
      dragMode: DRAG_WINDOWING,
      dragModePrimary: DRAG_CROSSHAIR,
      multiplanarShowRender: 0,
      multiplanarLayout: GRID,
      multiplanarPadPixels: 18,
      crosshairColor: [0.35, 0.71, 0.82, 0.7],
      crosshairWidth: 0,
      fontColor: [0.93, 0.82, 0.45, 1],
      fontMinPx: 16,
      loadingText: "",
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      logLevel: "error",
    });
    await nv.attachToCanvas(canvas, false);
    nv.onLocationChange = readouts;
    nv.onIntensityChange = readouts;
    state.nv = nv;
    return nv;
  }

  // place: RAS mm to go to; without it the place looked at stays, also from one obliquity to another.
  async function open(series, { keepPlace = true, place = null } = {}) {
    const ticket = ++state.loading;
    delete element.dataset.loaded;
    say("Loading " + series.name + " …");
    mark("series", series.url);
    try {
      const nv = await niivue();
      const at = place ?? (keepPlace && nv.volumes.length ? nv.frac2mm(nv.scene.crosshairPos, 0, true) : null);
      await nv.loadVolumes([{ url: series.url, name: series.file, cal_min: series.window[0], cal_max: series.window[1] }]);
      if (ticket !== state.loading) return; // another sequence was asked for meanwhile
      nv.scene.crosshairPos = at ? inside(nv.mm2frac(at, 0, true)) : [0.5, 0.5, 0.5];
      state.series = series;
      setView(state.view === "all" ? "all" : series.plane);
      say("");
      element.dataset.loaded = series.url;
      readouts();
    } catch (error) {
      console.error(error);
      if (ticket === state.loading) say("This sequence could not be shown. Choose another one, or reload the page.");
    }
  }

  const inside = (fractions) => [...fractions].map((f) => Math.min(Math.max(f, 0), 1));

  function point(at) {
    state.place = at;
    part("place").textContent = at;
  }

  function setView(view) {
    state.view = view;
    if (state.nv) {
      state.nv.setCrosshairWidth(view === "all" ? 1 : state.place ? 0.4 : 0); // one plane needs no cross over the picture unless it points
      state.nv.setSliceType(state.library.SLICE_TYPE[VIEWS[view]]);
    }
    mark("view", view);
    readouts();
  }

  function plane() {
    return state.view === "all" ? state.series?.plane ?? "axial" : state.view;
  }

  function scroll(steps) {
    if (!state.nv?.volumes.length) return;
    const by = [0, 0, 0];
    by[AXIS[plane()]] = steps;
    state.nv.moveCrosshairInVox(...by);
    readouts();
  }

  function choose(series) {
    point("");
    open(series);
  }

  function contrast(factor, shift) {
    const volume = state.nv?.volumes[0];
    if (!volume) return;
    const width = (volume.cal_max - volume.cal_min) * factor;
    const level = (volume.cal_max + volume.cal_min) / 2 + shift * width;
    volume.cal_min = level - width / 2;
    volume.cal_max = level + width / 2;
    state.nv.updateGLVolume();
    readouts();
  }

  function reset() {
    const volume = state.nv?.volumes[0];
    if (!volume) return;
    [volume.cal_min, volume.cal_max] = state.series.window;
    state.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    point("");
    setView(state.view);
    state.nv.updateGLVolume();
    readouts();
  }

  function readouts() {
    const nv = state.nv;
    const volume = nv?.volumes[0];
    if (!volume) return;
    const axis = AXIS[plane()];
    const slice = Math.round(nv.frac2vox(nv.scene.crosshairPos)[axis]) + 1;
    const round = (x) => (Math.abs(x) >= 100 ? Math.round(x) : Number(x.toPrecision(3)));
    part("slice").textContent = `${plane()} ${slice} / ${volume.dimsRAS[axis + 1]}`;
    part("window").textContent = `W ${round(volume.cal_max - volume.cal_min)}  L ${round((volume.cal_max + volume.cal_min) / 2)}`;
    element.dataset.slice = String(slice);
  }

  function say(text) {
    part("message").textContent = text;
    part("message").hidden = !text;
  }

  function mark(kind, chosen) {
    for (const button of element.querySelectorAll(`[data-${kind}]`)) button.setAttribute("aria-pressed", String(button.dataset[kind] === chosen));
  }

  function button(text, attributes, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.addEventListener("click", act);
    return made;
  }

  function node(tag, text, className) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function show() {
    const value = props.value;
    element.dataset.state = value?.state ?? "none";
    if (!value) return;
    part("title").textContent = value.title ?? "";
    part("subtitle").textContent = value.subtitle ?? "";
    part("close").hidden = !value.closable;
    const strip = part("strip");
    const same = state.shown === value.id && strip.childElementCount === (value.series ?? []).length;
    if (!same) {
      strip.replaceChildren(
        ...(value.series ?? []).map((each) =>
          button(each.name, { "data-series": each.url, title: `${each.weighting}, ${each.plane}, ${each.slices} slices` }, () => choose(each)),
        ),
      );
    }
    showPictures(value);
    part("report").replaceChildren(...(value.report ?? []).flatMap((each) => [node("h4", each.heading), node("p", each.text)]));
    part("report").hidden = !(value.report ?? []).length;
    const ready = value.state === "ready" && value.series.length > 0;
    part("tools").hidden = part("readouts").hidden = !ready;
    if (!ready) {
      delete element.dataset.loaded;
      state.loading += 1;
      say(value.message ?? "");
      if (state.nv && state.shown !== value.id) state.nv.loadVolumes([]);
    } else if (!same) {
      point("");
      open(value.series.find((each) => each.first) ?? value.series[0], { keepPlace: false });
    }
    state.shown = value.id;
  }

  function showPictures(value) {
    const gallery = part("pictures");
    gallery.hidden = value.state === "ready" || !(value.pictures ?? []).length;
    if (gallery.hidden) return gallery.replaceChildren();
    gallery.replaceChildren(
      ...value.pictures.map((each) => {
        const figure = document.createElement("figure");
        const image = document.createElement("img");
        image.src = each.url;
        image.alt = each.caption;
        figure.append(image, node("figcaption", each.caption));
        return figure;
      }),
    );
  }

  for (const view of Object.keys(VIEWS)) {
    part("views").append(button(view === "all" ? "Three planes" : view, { "data-view": view }, () => setView(view)));
  }
  part("views").append(button("Reset window", { title: "Window and zoom as at first (R)" }, reset));
  part("close").addEventListener("click", () => trigger("close", {}));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  // NiiVue listens on the canvas too, for keys we give another meaning: ours goes first and keeps the event.
  canvas.parentElement.addEventListener("keydown", keys, true);
  element.openSequence = (key) => {
    const wanted = (props.value?.series ?? []).find((each) => each.key === key);
    if (wanted) choose(wanted);
  };
  element.openPlace = async (series, [left, posterior, superior], name) => {
    const wanted = (props.value?.series ?? []).find((each) => each.name === series);
    if (!wanted) return;
    point(name);
    await open(wanted, { place: [-left, -posterior, superior] });
    element.scrollIntoView({ block: "nearest" });
  };

  function keys(event) {
    const all = props.value?.series ?? [];
    const at = all.findIndex((each) => each.url === state.series?.url);
    const actions = {
      ArrowUp: () => scroll(1),
      ArrowDown: () => scroll(-1),
      PageUp: () => scroll(5),
      PageDown: () => scroll(-5),
      1: () => setView("axial"),
      2: () => setView("coronal"),
      3: () => setView("sagittal"),
      4: () => setView("all"),
      "[": () => contrast(0.9, 0),
      "]": () => contrast(1 / 0.9, 0),
      "-": () => contrast(1, 0.05),
      "+": () => contrast(1, -0.05),
      r: reset,
      n: () => all.length && choose(all[(at + 1) % all.length]),
      p: () => all.length && choose(all[(at - 1 + all.length) % all.length]),
    };
    const act = actions[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  watch("value", show);
  show();
}
