// Figures as the programs print them (docs/formats.md, Figures) become charts: lines by uPlot, heat
// maps and timelines on a canvas, matrices and tables as HTML.  Shared by report and page; needs uPlot and timeline.js.
//
//   const board = Charts.board(element, labels);   // labels: in the order of their colours
//   board.show(figures);                           // again and again: what has the same id is updated
'use strict';

const Charts = (() => {
  const COLOURS = {
    light: {residual: '#57606a', hc: '#bc4c00', mhc: '#0b63ce',
            others: ['#0f7b4b', '#8b3fc2', '#8a6100', '#0e7a8a', '#b8235a', '#5b5bd6']},
    dark: {residual: '#aeb8c4', hc: '#ff9a5c', mhc: '#6fb1ff',
           others: ['#5fd39b', '#cf9bff', '#e5c15a', '#5cc9d8', '#ff86b0', '#a5a5ff']},
  };
  const DASHES = [[], [8, 4], [2, 3], [8, 3, 2, 3]];
  const MOST_TABLE_ROWS = 100;
  const HEIGHT = 260;

  const dark = matchMedia('(prefers-color-scheme: dark)');
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function number(value) {
    if (value === null || value === undefined) return '–';
    if (typeof value !== 'number') return String(value);
    if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString('en');
    const size = Math.abs(value);
    if (size >= 1e6 || size < 1e-4) return value.toExponential(2).replace('e+', 'e');
    return String(Number(value.toPrecision(5)));
  }

  // The kind's own colour for its first label, then those that are left.
  function looks(labels) {
    const theme = dark.matches ? COLOURS.dark : COLOURS.light;
    const taken = new Set();
    let next = 0;
    return new Map(labels.map((label, index) => {
      const kind = label.split(' ')[0];
      const own = theme[kind] && !taken.has(kind);
      if (own) taken.add(kind);
      const colour = own ? theme[kind] : theme.others[next++ % theme.others.length];
      return [label, {colour, dash: DASHES[index % DASHES.length]}];
    }));
  }

  // ---- What a figure is as a table: for the table and the data link.

  function asTable(figure) {
    switch (figure.type) {
      case 'lines': {
        const columns = [figure.x_axis.label], series = [figure.x];
        for (const line of figure.lines) {
          columns.push(line.label);
          series.push(line.y);
          if (!line.low) continue;
          columns.push(`${line.label}, smallest`, `${line.label}, largest`);
          series.push(line.low, line.high);
        }
        return {columns, rows: figure.x.map((_, row) => series.map((values) => values[row]))};
      }
      case 'heat':
        return {
          columns: [figure.x_axis.label, ...figure.z.map((_, y) => `${figure.y_axis.label} ${y}`)],
          rows: figure.x.map((x, column) => [x, ...figure.z.map((row) => row[column])]),
        };
      case 'matrices': {
        const rows = [];
        for (const {label, values} of figure.matrices) {
          const n = Math.round(Math.sqrt(values.length));
          values.forEach((value, i) => rows.push([label, Math.floor(i / n), i % n, value]));
        }
        return {columns: ['matrix', 'row', 'column', 'value'], rows};
      }
      case 'timeline':
        return {
          columns: ['timeline', 'queue', 'what', 'start in ms', 'end in ms'],
          rows: figure.panels.flatMap(({label, rows, spans}) =>
            spans.map(([row, start, end, , words]) => [label, rows[row], words, start, end])),
        };
      default:
        return figure;
    }
  }

  function csv(figure) {
    const cell = (value) => {
      if (value === null || value === undefined) return '';
      const text = String(value);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const {columns, rows} = asTable(figure);
    return [columns, ...rows].map((row) => row.map(cell).join(',') + '\n').join('');
  }

  function tableElement({columns, rows}, label) {
    const step = Math.ceil(rows.length / MOST_TABLE_ROWS);
    const shown = rows.filter((_, row) => row % step === 0 || row === rows.length - 1);
    const cell = (value) => typeof value === 'string'
      ? element('td', {class: 'words'}, value) : element('td', {}, number(value));
    const table = element('table', {},
      element('thead', {}, element('tr', {}, ...columns.map((c) => element('th', {scope: 'col'}, c)))),
      element('tbody', {}, ...shown.map((row) => element('tr', {}, ...row.map(cell)))));
    const parts = [table];
    if (step > 1) parts.unshift(element('p', {class: 'faint'}, `Every ${step}th row; the data link has all.`));
    return element('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label}, ...parts);
  }

  // ---- Lines.

  // A logarithmic axis where the values span a decade; else they are told apart better without.
  function axisKind(figure) {
    if (!figure.y_axis.log) return 'linear';
    let least = Infinity, most = 0;
    for (const {y, low, high} of figure.lines) {
      for (const values of [y, low ?? [], high ?? []]) {
        for (const value of values) {
          if (value === null || value <= 0) continue;
          least = Math.min(least, value);
          most = Math.max(most, value);
        }
      }
    }
    return most > 10 * least ? 'log' : 'linear';
  }

  // Values that are equal but for rounding get room around them: ticks between them would have no numbers of their own.
  function linearRange(chart, min, max) {
    if (min === null || max === null) return [0, 1];
    const size = Math.max(Math.abs(min), Math.abs(max)) || 1;
    return max - min < 1e-3 * size ? [min - 1e-2 * size, max + 1e-2 * size] : uPlot.rangeNum(min, max, 0.1, true);
  }

  // As wide as an axis has room for.
  function tick(value) {
    return Math.abs(value) >= 1e6 ? Number(value.toPrecision(3)).toExponential().replace('e+', 'e') : number(value);
  }

  // Over many decades lines between them would fill the chart.
  function decades(chart, splits) {
    const {min, max} = chart.scales.y;
    const whole = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;
    return max / min < 1e4 ? splits : splits.map((value) => value !== null && whole(value) ? value : null);
  }

  function lineOptions(figure, view, kind) {
    const axis = {stroke: style('--faint'), grid: {stroke: style('--grid'), width: 1},
                  ticks: {stroke: style('--grid'), width: 1}, font: '12px system-ui, sans-serif',
                  labelFont: '12px system-ui, sans-serif', labelSize: 18};
    const series = [{}], bands = [];
    for (const line of figure.lines) {
      const {colour, dash} = view.look(line.label);
      const show = !view.hidden.has(line.label);
      const points = {show: figure.x.length <= 60, size: 5, fill: colour};
      series.push({label: line.label, stroke: colour, width: 2, dash, show, points});
      if (!line.low) continue;
      bands.push({series: [series.length + 1, series.length], fill: colour + '33', dir: -1});
      const edge = {stroke: 'transparent', width: 0, show, points: {show: false}};
      series.push({label: `${line.label}, smallest`, ...edge}, {label: `${line.label}, largest`, ...edge});
    }
    const few = (u, splits) => splits.map((value) => value === null ? '' : tick(value));
    const grid = {...axis.grid, filter: decades}, ticks = {...axis.ticks, filter: decades};
    return {
      width: view.plot.clientWidth || 600, height: HEIGHT, series, bands, legend: {show: false},
      scales: {x: {time: false}, y: kind === 'log' ? {distr: 3} : {range: linearRange}},
      axes: [{...axis, label: figure.x_axis.label, size: 34, values: few},
             {...axis, label: figure.y_axis.label, size: 62, values: few, ...(kind === 'log' && {grid, ticks})}],
      cursor: {drag: {x: true, y: false}, points: {size: 7}},
      hooks: {setCursor: [(u) => view.read(u.cursor.idx)], setSelect: [() => view.looked()]},
    };
  }

  function lineData(figure, kind) {
    // A logarithm has no place for what is not above 0.
    const clean = (values) => kind === 'log' ? values.map((v) => v !== null && v > 0 ? v : null) : values;
    const data = [figure.x];
    for (const line of figure.lines) {
      data.push(clean(line.y));
      if (line.low) data.push(clean(line.low), clean(line.high));
    }
    return data;
  }

  class LineView {
    constructor(board, figure) {
      this.hidden = new Set();
      this.plot = element('div', {class: 'plot', role: 'img', tabindex: '0'});
      this.readout = element('output', {class: 'readout'});
      this.keys = element('ul', {class: 'keys', 'aria-label': 'Lines: press to hide or show'});
      this.parts = [this.keys, this.plot, this.readout];
      this.look = (label) => board.look(label);
      this.plot.addEventListener('keydown', (event) => this.onKey(event));
      this.plot.addEventListener('dblclick', () => this.reset());
      this.size = new ResizeObserver(() => this.chart?.setSize({width: this.plot.clientWidth, height: HEIGHT}));
      this.update(figure);
    }

    update(figure) {
      const zoomed = this.zoomed();
      this.figure = figure;
      const last = figure.lines.map(({label, y}) => {
        const value = [...y].reverse().find((v) => v !== null);
        return `${label} ${number(value)}`;
      });
      this.plot.setAttribute('aria-label', `Line chart: ${figure.title}, ${figure.y_axis.label || 'value'} ` +
        `over ${figure.x_axis.label}.  Last values: ${last.join('; ')}.  ` +
        'Arrow keys read values, plus and minus zoom, 0 shows all.');
      const labels = figure.lines.map(({label}) => label).join('\n');
      if (labels !== this.labels) this.makeKeys();
      this.labels = labels;
      this.draw(zoomed);
    }

    zoomed() {
      if (!this.chart) return null;
      const {min, max} = this.chart.scales.x, x = this.figure.x;
      return min > x[0] || max < x[x.length - 1] ? {min, max} : null;
    }

    draw(zoomed = this.zoomed()) {
      if (!this.visible || this.figure.x.length === 0) return;
      this.chart?.destroy();
      const kind = axisKind(this.figure);
      this.chart = new uPlot(lineOptions(this.figure, this, kind), lineData(this.figure, kind), this.plot);
      if (zoomed) this.chart.setScale('x', zoomed);
      this.size.observe(this.plot);
    }

    show() {
      this.visible = true;
      if (!this.chart) this.draw();
    }

    makeKeys() {
      this.keys.replaceChildren(...this.figure.lines.map(({label}) => {
        const swatch = element('span', {class: 'swatch', 'aria-hidden': 'true'});
        const {colour, dash} = this.look(label);
        swatch.style.background = dash.length === 0 ? colour
          : `repeating-linear-gradient(90deg, ${colour} 0 ${dash[0]}px, transparent ${dash[0]}px ${dash[0] + dash[1]}px)`;
        const button = element('button', {type: 'button', 'aria-pressed': String(!this.hidden.has(label))}, swatch, label);
        button.addEventListener('click', () => {
          this.hidden.has(label) ? this.hidden.delete(label) : this.hidden.add(label);
          button.setAttribute('aria-pressed', String(!this.hidden.has(label)));
          this.draw();
        });
        return element('li', {}, button);
      }));
    }

    read(index) {
      if (index === null || index === undefined) return;
      const {x, x_axis, lines} = this.figure;
      const shown = lines.filter(({label, y}) => !this.hidden.has(label) && y[index] !== null);
      this.index = index;
      this.readout.textContent = `${x_axis.label} ${number(x[index])}: ` +
        shown.map(({label, y}) => `${label} ${number(y[index])}`).join(', ');
    }

    onKey(event) {
      if (!this.chart) return;
      const {x} = this.figure, stride = event.shiftKey ? Math.max(1, Math.floor(x.length / 20)) : 1;
      const at = this.index ?? -1;
      switch (event.key) {
        case 'ArrowLeft': this.point(Math.max(0, at - stride)); break;
        case 'ArrowRight': this.point(Math.min(x.length - 1, at + stride)); break;
        case 'Home': this.point(0); break;
        case 'End': this.point(x.length - 1); break;
        case '+': case '=': this.zoom(0.5); break;
        case '-': this.zoom(2); break;
        case '0': case 'Escape': this.reset(); break;
        default: return;
      }
      event.preventDefault();
    }

    point(index) {
      const u = this.chart;
      u.setCursor({left: u.valToPos(this.figure.x[index], 'x'), top: u.over.clientHeight / 2});
      this.read(index);
    }

    zoom(factor) {
      const {min, max} = this.chart.scales.x, x = this.figure.x;
      const middle = this.index === undefined ? (min + max) / 2 : x[this.index];
      const half = (max - min) * factor / 2;
      if (half < (x[x.length - 1] - x[0]) / x.length) return;  // one point on either side
      this.chart.setScale('x', {min: Math.max(x[0], middle - half), max: Math.min(x[x.length - 1], middle + half)});
      this.looked();
    }

    reset() {
      const x = this.figure.x;
      this.chart?.setScale('x', {min: x[0], max: x[x.length - 1]});
      this.looked();
    }

    // Another stretch is on the screen: whoever has its numbers may send more of them.
    looked() {
      this.plot.dispatchEvent(new Event('look', {bubbles: true}));
    }
  }

  // ---- Heat maps: below 1 blue, at 1 the ground's grey, above it orange; by the logarithm.

  function heatColour(value, reach) {
    if (value === null) return 'transparent';
    const at = Math.max(-1, Math.min(1, Math.log10(Math.max(value, 1e-30)) / reach));
    const middle = dark.matches ? [52, 60, 70] : [222, 226, 231];
    const end = at < 0 ? (dark.matches ? [111, 177, 255] : [11, 99, 206])
                       : (dark.matches ? [255, 154, 92] : [188, 76, 0]);
    const share = Math.abs(at);
    return `rgb(${middle.map((m, i) => Math.round(m + (end[i] - m) * share)).join(' ')})`;
  }

  class HeatView {
    constructor(board, figure) {
      this.canvas = element('canvas', {'aria-hidden': 'true'});
      this.plot = element('div', {class: 'plot', role: 'img', tabindex: '0'}, this.canvas);
      this.readout = element('output', {class: 'readout'});
      this.parts = [this.plot, this.readout];
      this.size = new ResizeObserver(() => this.draw());
      this.at = [0, 0];
      this.plot.addEventListener('keydown', (event) => this.onKey(event));
      this.plot.addEventListener('pointermove', (event) => this.onPointer(event));
      this.update(figure);
    }

    update(figure) {
      this.figure = figure;
      const finite = figure.z.flat().filter((v) => v !== null && v > 0);
      this.most = finite.reduce((a, b) => Math.max(a, b), 0);
      this.least = finite.reduce((a, b) => Math.min(a, b), Infinity);
      // At least a factor of two, so that rounding does not look like a storm.
      this.reach = Math.max(Math.log10(2), Math.log10(this.most), -Math.log10(this.least));
      this.plot.setAttribute('aria-label', `Heat map: ${figure.title}, ${figure.y_axis.label} over ` +
        `${figure.x_axis.label}, values from ${number(this.least)} to ${number(this.most)}.  Arrow keys read values.`);
      this.draw();
    }

    show() {
      this.visible = true;
      this.size.observe(this.plot);
    }

    draw() {
      if (!this.visible) return;
      const {x, z, x_axis, y_axis} = this.figure, width = this.plot.clientWidth, scale = devicePixelRatio;
      if (x.length === 0) return;
      this.canvas.width = width * scale;
      this.canvas.height = HEIGHT * scale;
      this.canvas.style.cssText = `width:${width}px;height:${HEIGHT}px`;
      const c = this.canvas.getContext('2d');
      c.scale(scale, scale);
      const box = this.box = {left: 44, top: 6, width: width - 44 - 70, height: HEIGHT - 46};
      const w = box.width / x.length, h = box.height / z.length;
      // Whole pixels of the device: between halves one would see seams.
      const pixel = (value) => Math.round(value * scale) / scale;
      z.forEach((row, y) => row.forEach((value, column) => {
        c.fillStyle = heatColour(value, this.reach);
        const left = pixel(box.left + column * w), top = pixel(box.top + box.height - (y + 1) * h);
        c.fillRect(left, top, pixel(box.left + (column + 1) * w) - left, pixel(box.top + box.height - y * h) - top);
      }));
      c.fillStyle = style('--faint');
      c.font = '12px system-ui, sans-serif';
      c.textAlign = 'center';
      for (const share of [0, 0.5, 1]) {
        const column = Math.round(share * (x.length - 1)), row = Math.round(share * (z.length - 1));
        c.fillText(number(x[column]), box.left + (column + 0.5) * w, box.top + box.height + 16);
        c.textAlign = 'right';
        c.fillText(String(row), box.left - 6, box.top + box.height - (row + 0.5) * h + 4);
        c.textAlign = 'center';
      }
      c.fillText(x_axis.label, box.left + box.width / 2, HEIGHT - 8);
      c.save();
      c.translate(12, box.top + box.height / 2);
      c.rotate(-Math.PI / 2);
      c.fillText(y_axis.label, 0, 0);
      c.restore();
      this.drawScale(c, box, width);
    }

    // The colours' own axis, from the least to the largest value.
    drawScale(c, box, width) {
      const from = Math.log10(this.least), to = Math.max(Math.log10(this.most), from + 1e-9);
      const left = width - 62;
      for (let i = 0; i < box.height; ++i) {
        c.fillStyle = heatColour(10 ** (from + (to - from) * i / box.height), this.reach);
        c.fillRect(left, box.top + box.height - i - 1, 12, 1.5);
      }
      c.fillStyle = style('--faint');
      c.textAlign = 'left';
      const short = (value) => value >= 1e5 ? value.toExponential(1).replace('e+', 'e') : number(Number(value.toPrecision(3)));
      c.fillText(short(this.most), left + 15, box.top + 10);
      c.fillText(short(this.least), left + 15, box.top + box.height);
    }

    read(column, row) {
      const {x, z, x_axis, y_axis} = this.figure;
      if (!(row in z) || !(column in x)) return;
      this.at = [column, row];
      this.readout.textContent = `${x_axis.label} ${number(x[column])}, ${y_axis.label} ${row}: ${number(z[row][column])}`;
    }

    onPointer(event) {
      if (!this.box) return;
      const {left, top, width, height} = this.box, {x, z} = this.figure;
      const bounds = this.plot.getBoundingClientRect();
      this.read(Math.floor((event.clientX - bounds.left - left) / width * x.length),
                Math.floor((top + height - (event.clientY - bounds.top)) / height * z.length));
    }

    onKey(event) {
      const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};
      const move = moves[event.key];
      if (!move) return;
      this.read(this.at[0] + move[0], this.at[1] + move[1]);
      event.preventDefault();
    }
  }

  // ---- Matrices and tables.

  class MatrixView {
    constructor(board, figure) {
      this.body = element('div', {class: 'matrices'});
      this.parts = [this.body];
      this.update(figure);
    }

    update(figure) {
      this.figure = figure;
      this.draw();
    }

    show() {}

    draw() {
      this.body.replaceChildren(...this.figure.matrices.map(({label, values}) => {
        const n = Math.round(Math.sqrt(values.length)), index = [...Array(n).keys()];
        const most = values.reduce((a, v) => Math.max(a, Math.abs(v)), 1e-12);
        const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
        const short = (value) => Math.abs(value) < 1e4 ? value.toFixed(3) : value.toExponential(2);
        const cell = (value) => {
          const made = element('td', {}, short(value));
          const share = Math.round(45 * Math.abs(value) / most);
          made.style.background = `color-mix(in srgb, ${value < 0 ? '#0b63ce' : '#bc4c00'} ${share}%, transparent)`;
          return made;
        };
        const head = element('tr', {}, element('td', {}), ...index.map((j) => element('th', {scope: 'col'}, String(j))),
                             element('th', {scope: 'col', class: 'sum'}, 'row sum'));
        const rows = index.map((i) => element('tr', {}, element('th', {scope: 'row'}, String(i)),
          ...index.map((j) => cell(values[i * n + j])),
          element('td', {class: 'sum'}, short(sum(index.map((j) => values[i * n + j]))))));
        const sums = element('tr', {class: 'sums'}, element('th', {scope: 'row'}, 'column sum'),
          ...index.map((j) => element('td', {}, short(sum(index.map((i) => values[i * n + j]))))),
          element('td', {class: 'sum'}));
        return element('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${this.figure.title}: ${label}`},
          element('table', {}, element('caption', {}, label), element('thead', {}, head),
                  element('tbody', {}, ...rows, sums)));
      }));
    }
  }

  class TableView {
    constructor(board, figure) {
      this.body = element('div');
      this.parts = [this.body];
      this.update(figure);
    }

    update(figure) {
      this.figure = figure;
      this.body.replaceChildren(tableElement(figure, figure.title));
    }

    show() {}
    draw() {}
  }

  const VIEWS = {lines: LineView, heat: HeatView, timeline: makeTimelineView({element, number, style}), matrices: MatrixView, table: TableView};

  // The frame around a view: heading, caption, data link, table.
  function frame(figure, view) {
    const title = element('h2', {id: `${figure.id}-title`}, figure.title);
    const caption = element('p', {}, figure.caption);
    const data = element('a', {href: `#${figure.id}`, download: `${figure.id}.csv`,
                               'aria-label': `data of ${figure.title}, CSV`}, 'data');
    data.addEventListener('click', () => {
      data.href = URL.createObjectURL(new Blob([csv(view.figure)], {type: 'text/csv'}));
      setTimeout(() => URL.revokeObjectURL(data.href), 60000);
    });
    const more = element('div', {class: 'more'}, data);
    if (['lines', 'heat', 'timeline'].includes(figure.type)) {
      const table = element('details', {}, element('summary', {}, 'table'));
      table.addEventListener('toggle', () => {
        while (table.children.length > 1) table.lastChild.remove();
        if (table.open) table.append(tableElement(asTable(view.figure), `${figure.title}, as a table`));
      });
      more.append(table);
    }
    const wide = ['table', 'matrices', 'timeline'].includes(figure.type);
    const outer = element('figure', {id: figure.id, 'aria-labelledby': `${figure.id}-title`, class: wide ? 'wide' : ''},
                          element('figcaption', {}, title, caption), ...view.parts, more);
    return {outer, title, caption};
  }

  // What a figure of which only the heading is known is made of.
  const EMPTY = {x: [], z: [], lines: [], matrices: [], panels: [], columns: [], rows: []};

  // Draws what is near the screen, and keeps up with new figures and with the theme.
  function board(root, labels) {
    const entries = new Map();
    let byLabel = looks(labels);
    const made = {look: (label) => byLabel.get(label) ?? {colour: style('--ink'), dash: []}};
    const near = new IntersectionObserver((seen) => {
      for (const {isIntersecting, target} of seen) {
        const entry = entries.get(target.id);
        if (!entry) continue;
        entry.near = isIntersecting;
        if (isIntersecting) entry.view.show();
      }
    }, {rootMargin: '800px'});
    const showAll = () => entries.forEach(({view}) => view.show());
    const changeTheme = () => {
      byLabel = looks(labels);
      entries.forEach(({view}) => {
        view.makeKeys?.();
        view.draw();
      });
    };
    addEventListener('beforeprint', showAll);
    dark.addEventListener('change', changeTheme);
    root.classList.add('figures');
    made.show = (figures) => {
      const ids = new Set(figures.map(({id}) => id));
      for (const [id, {outer, view}] of entries) {
        if (ids.has(id)) continue;
        view.chart?.destroy();
        outer.remove();
        entries.delete(id);
      }
      for (const figure of figures) {
        const known = entries.get(figure.id);
        if (known) {
          known.title.textContent = figure.title;
          known.caption.textContent = figure.caption;
          if (!figure.stub) known.view.update(figure);
          continue;
        }
        const view = new VIEWS[figure.type](made, figure.stub ? {...EMPTY, ...figure} : figure);
        const parts = frame(figure, view);
        entries.set(figure.id, {view, ...parts});
        root.append(parts.outer);
        near.observe(parts.outer);
      }
    };
    made.showAll = showAll;
    // The figures on the screen, or near it, and the stretch of x where one has zoomed in.
    made.visible = () => [...entries].filter(([, entry]) => entry.near)
      .map(([id, {view}]) => ({id, stretch: view.zoomed?.() ?? null}));
    made.close = () => {
      near.disconnect();
      removeEventListener('beforeprint', showAll);
      dark.removeEventListener('change', changeTheme);
      entries.forEach(({view}) => view.chart?.destroy());
    };
    return made;
  }

  return {board, element, number};
})();
