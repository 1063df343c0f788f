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

  draw();
  dark.addEventListener("change", draw);
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
})();
