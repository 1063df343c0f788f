"use strict";
(function () {
  const parse = (id) => document.getElementById(id).textContent;
  const darkColours = JSON.parse(parse("dark-colours"));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let printing = false;

  function figures() {
    let text = parse("figures");
    if (dark.matches && !printing) {
      for (const [light, replacement] of Object.entries(darkColours)) {
        text = text.replaceAll(light, replacement);
      }
    }
    return JSON.parse(text);
  }

  function theme() {
    const styles = getComputedStyle(document.documentElement);
    const colour = (name) => styles.getPropertyValue(name).trim();
    const axis = {
      gridcolor: colour("--rule"),
      linecolor: colour("--axis"),
      tickcolor: colour("--axis"),
      showline: true,
      ticks: "outside",
      ticklen: 4,
      title: { font: { size: 13 } },
    };
    return {
      layout: {
        font: { family: styles.getPropertyValue("font-family"), size: 12, color: colour("--ink") },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        hoverlabel: { bgcolor: colour("--page"), font: { color: colour("--ink") }, align: "left" },
        xaxis: axis,
        yaxis: axis,
      },
    };
  }

  const config = {
    responsive: true,
    displayModeBar: false, // it would cover data; dragging zooms and a double click resets
  };

  function draw() {
    const look = theme();
    for (const [name, figure] of Object.entries(figures())) {
      const place = document.getElementById(name);
      const size = { width: place.clientWidth, height: place.clientHeight };
      const layout = { ...figure.layout, template: look, autosize: true, ...(printing ? size : {}) };
      Plotly.react(place, figure.data, layout, config);
    }
    document.documentElement.dataset.plots = "drawn";
  }

  function print(begins) {
    printing = begins;
    document.documentElement.classList.toggle("printing", begins);
    document.querySelectorAll("details.print").forEach((each) => {
      if (begins) {
        each.dataset.wasOpen = each.open;
        each.open = true;
      } else {
        each.open = each.dataset.wasOpen === "true";
      }
    });
    draw();
  }

  // What is saved has the colours of the light page, for papers, and its title and legend, which
  // the page has beside the plot.
  function standalone(name) {
    const place = document.getElementById(name);
    document.documentElement.classList.add("printing");
    const look = theme();
    document.documentElement.classList.remove("printing");
    look.layout.paper_bgcolor = "#ffffff";
    const figure = JSON.parse(parse("figures"))[name];
    const heading = place.parentElement.querySelector("h4");
    const known = new Set();
    const data = figure.data.map((trace) => {
      const showlegend = Boolean(trace.name) && !known.has(trace.name);
      known.add(trace.name);
      return { ...trace, showlegend };
    });
    const entries = data.filter((trace) => trace.showlegend).length;
    const legend = entries > 1 ? 22 * Math.ceil(entries / 3) + 10 : 0;
    const above = heading ? 28 : 0;
    const margin = { ...figure.layout.margin };
    margin.t = (margin.t || 0) + above;
    margin.b = (margin.b || 0) + legend;
    const width = Math.max(place.clientWidth, 480);
    const height = place.clientHeight + above + legend;
    const layout = {
      ...figure.layout,
      template: look,
      margin,
      width,
      height,
      showlegend: legend > 0,
      legend: { orientation: "h", yref: "container", y: 0.005, yanchor: "bottom" },
    };
    if (heading) {
      layout.title = { text: heading.textContent, x: 0.02, yref: "container", y: 0.99, yanchor: "top", font: { size: 14 } };
    }
    return { figure: { data, layout }, width, height };
  }

  const TYPES = {
    f8: Float64Array, f4: Float32Array, i1: Int8Array, u1: Uint8Array, u1c: Uint8ClampedArray,
    i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array,
  };

  function numbers(values) {
    if (values === undefined || values === null) return [];
    if (values.bdata === undefined) return Array.from(values);
    const bytes = Uint8Array.from(atob(values.bdata), (letter) => letter.charCodeAt(0));
    const flat = Array.from(new TYPES[values.dtype](bytes.buffer));
    if (values.shape === undefined) return flat;
    const width = Number(String(values.shape).split(",").pop());
    return Array.from({ length: flat.length / width }, (_, row) => flat.slice(row * width, (row + 1) * width));
  }

  // One line per point, of a heat map per cell. Places on an axis with texts become these texts.
  function table(name) {
    const rows = [["series", "x", "y", "value", "error_plus", "error_minus", "x_axis", "y_axis"]];
    const figure = JSON.parse(parse("figures"))[name];
    const axis = (trace, letter) =>
      figure.layout[(trace[`${letter}axis`] || letter).replace(letter, `${letter}axis`)] || {};
    const named = ({ tickvals, ticktext }, value) => {
      const place = tickvals === undefined ? -1 : numbers(tickvals).indexOf(value);
      return place < 0 || ticktext === undefined ? value : ticktext[place];
    };
    const shown = figure.data.filter((trace) => trace.name); // others join or frame points
    for (const trace of shown.length ? shown : figure.data) {
      const [x, y, z] = [numbers(trace.x), numbers(trace.y), numbers(trace.z)];
      const { array, arrayminus } = trace.error_y || trace.error_x || {};
      const [plus, minus] = [numbers(array), numbers(arrayminus || array)];
      const [across, up] = [axis(trace, "x"), axis(trace, "y")];
      const titles = [across, up].map((each) => (each.title || {}).text);
      const add = (ofX, ofY, value, above, below) => {
        if (ofX !== null && ofY !== null) {
          rows.push([trace.name, named(across, ofX), named(up, ofY), value, above, below, ...titles]);
        }
      };
      if (z.length) {
        z.forEach((line, row) => numbers(line).forEach((value, column) => add(x[column], y[row], value)));
      } else {
        x.forEach((value, point) => add(value, y[point], undefined, plus[point], minus[point]));
      }
    }
    const cell = (value) => {
      const text = value === undefined || value === null ? "" : String(value);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
  }

  function download(content, file) {
    const link = document.createElement("a");
    link.href = typeof content === "string" ? content : URL.createObjectURL(content);
    link.download = file;
    link.click();
    if (typeof content !== "string") setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  async function save(event) {
    const { figure: name, format } = event.currentTarget.dataset;
    if (format === "csv") {
      download(new Blob([table(name)], { type: "text/csv" }), `${name}.csv`);
      return;
    }
    const { figure, width, height } = standalone(name);
    const scale = format === "png" ? 3 : 1;
    download(await Plotly.toImage(figure, { format, width, height, scale }), `${name}.${format}`);
  }

  document.querySelectorAll(".save button").forEach((button) => button.addEventListener("click", save));
  draw();
  dark.addEventListener("change", draw);
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
})();
