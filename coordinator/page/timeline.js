// A step's pipeline as it ran above the pipeline as it was planned: a panel each, in it a row for each queue of each
// rank, in that a box for each instruction.  Part of charts.js, whose helpers it is given.
'use strict';

const makeTimelineView = ({element, number, style}) => {
  const BAR = 18, PANEL_HEAD = 24, PANEL_FOOT = 26;  // pixels
  // Boxes say what they are in letters too; transfers, reductions and the step's end are grey.
  const OPS = {
    'forward': ['#0b63ce', '#ffffff', 'F'], 'backward': ['#bc4c00', '#ffffff', 'B'], 'backward-input': ['#bc4c00', '#ffffff', 'B'],
    'backward-weight': ['#8a6100', '#ffffff', 'W'], 'recompute': ['#8b3fc2', '#ffffff', 'R'], 'optimizer': ['#0f7b4b', '#ffffff', 'O'],
  };
  const OTHER_OP = ['#7d8791', '#ffffff', ''];
  const WORDS = [['forward', 'F: forward'], ['backward', 'B: backward, of the input'], ['backward-weight', 'W: backward, of weights'],
                 ['recompute', 'R: recompute'], ['optimizer', 'O: optimizer'], ['', 'transfers and sums']];

  return class TimelineView {
    constructor(board, figure) {
      this.canvas = element('canvas', {'aria-hidden': 'true'});
      this.plot = element('div', {class: 'plot', role: 'img', tabindex: '0'}, this.canvas);
      this.readout = element('output', {class: 'readout'});
      this.keys = element('ul', {class: 'keys', 'aria-label': 'What the boxes are'}, ...WORDS.map(([op, words]) => {
        const swatch = element('span', {class: 'swatch', 'aria-hidden': 'true'});
        swatch.style.background = (OPS[op] ?? OTHER_OP)[0];
        return element('li', {}, swatch, words);
      }));
      this.parts = [this.keys, this.plot, this.readout];
      this.size = new ResizeObserver(() => this.draw());
      this.stretch = [0, 1];  // what is shown of each panel's length
      this.plot.addEventListener('keydown', (event) => this.onKey(event));
      this.plot.addEventListener('pointermove', (event) => this.onPointer(event));
      this.plot.addEventListener('dblclick', () => this.look([0, 1]));
      this.update(figure);
    }

    update(figure) {
      this.figure = figure;
      // Where a reader is: the numbers of a panel and of a box in it.
      if (this.at && !figure.panels[this.at[0]]?.spans[this.at[1]]) this.at = null;
      this.plot.setAttribute('aria-label', `Timeline: ${figure.title}.  ${figure.panels.map(({label, rows, spans}) =>
        `${label}: ${rows.length} queues, ${spans.length} instructions`).join('; ')}.  Arrow keys read them, ` +
        'page down goes to the other timeline, plus and minus zoom, 0 shows all.');
      this.draw();
    }

    show() {
      this.visible = true;
      this.size.observe(this.plot);
    }

    // Places of the panels, in pixels.
    layout() {
      const width = this.plot.clientWidth, left = Math.min(150, Math.round(width / 3));
      let top = 0;
      return this.figure.panels.map((panel) => {
        const place = {panel, left, top: top + PANEL_HEAD, width: width - left - 8, height: panel.rows.length * BAR};
        top = place.top + place.height + PANEL_FOOT;
        return {...place, bottom: top};
      });
    }

    x({panel, left, width}, time) {
      const [from, to] = this.stretch;
      return left + (time / (panel.length || 1) - from) / (to - from) * width;
    }

    draw() {
      if (!this.visible || this.figure.panels.length === 0) return;
      const places = this.layout(), width = this.plot.clientWidth, scale = devicePixelRatio;
      const height = places[places.length - 1].bottom;
      this.canvas.width = width * scale;
      this.canvas.height = height * scale;
      this.canvas.style.cssText = `width:${width}px;height:${height}px`;
      const c = this.canvas.getContext('2d');
      c.scale(scale, scale);
      places.forEach((place, at) => this.drawPanel(c, place, this.at?.[0] === at ? this.at[1] : -1));
    }

    drawPanel(c, place, chosen) {
      const {panel, left, top, width, height} = place;
      c.fillStyle = style('--ink');
      c.font = '600 13px system-ui, sans-serif';
      c.textAlign = 'left';
      c.fillText(panel.label, 0, top - 8);
      c.font = '11px system-ui, sans-serif';
      panel.rows.forEach((row, y) => {
        c.fillStyle = y % 2 === 0 ? style('--ground') : style('--raised');
        c.fillRect(left, top + y * BAR, width, BAR);
        c.fillStyle = style('--faint');
        c.fillText(row, 0, top + y * BAR + 13, left - 6);
      });
      c.save();
      c.beginPath();
      c.rect(left, top, width, height);
      c.clip();
      panel.spans.forEach((span, index) => this.drawSpan(c, place, span, index === chosen));
      c.restore();
      c.fillStyle = style('--faint');
      const [from, to] = this.stretch;
      for (const share of [0, 0.5, 1]) {
        c.textAlign = ['left', 'center', 'right'][share * 2];
        const time = panel.length * (from + (to - from) * share);
        c.fillText(`${number(Number(time.toPrecision(4)))}${share === 1 ? ' ms' : ''}`, left + width * share, top + height + 14);
      }
    }

    drawSpan(c, place, [row, start, end, op, words], chosen) {
      const [ground, ink, letter] = OPS[op] ?? OTHER_OP;
      const left = this.x(place, start), wide = Math.max(1, this.x(place, end) - left), top = place.top + row * BAR;
      if (left > place.left + place.width || left + wide < place.left) return;
      c.fillStyle = ground;
      c.fillRect(left, top + 2, wide > 3 ? wide - 1 : wide, BAR - 4);
      if (chosen) {
        c.strokeStyle = style('--ink');
        c.lineWidth = 2;
        c.strokeRect(left, top + 1, wide, BAR - 2);
      }
      const text = letter + (words.match(/micro-batch (\d+)/)?.[1] ?? '');
      if (letter === '' || wide < 8 * text.length + 4) return;
      c.fillStyle = ink;
      c.textAlign = 'center';
      c.fillText(text, left + wide / 2, top + 13);
    }

    read(at, index) {
      const panel = this.figure.panels[at], span = panel.spans[index];
      if (!span) return;
      const [row, start, end, , words] = span;
      this.at = [at, index];
      this.readout.textContent = `${panel.label}, ${panel.rows[row]}: ${words}, ` +
        `from ${number(Number(start.toPrecision(5)))} to ${number(Number(end.toPrecision(5)))} ms`;
      this.draw();
    }

    onPointer(event) {
      const bounds = this.plot.getBoundingClientRect(), x = event.clientX - bounds.left, y = event.clientY - bounds.top;
      this.layout().forEach((place, at) => {
        const row = Math.floor((y - place.top) / BAR);
        const index = place.panel.spans.findIndex((span) => span[0] === row && this.x(place, span[1]) <= x && x <= this.x(place, span[2]));
        if (index >= 0) this.read(at, index);
      });
    }

    // The box of another row that starts last before this one's end.
    beside(panel, index, step) {
      const [row, , end] = panel.spans[index];
      let found = index;
      panel.spans.forEach((span, i) => { if (span[0] === row + step && (span[1] < end || found === index)) found = i; });
      return found;
    }

    onKey(event) {
      const {panels} = this.figure;
      if (panels.length === 0) return;
      const [at, index] = this.at ?? [0, -1], panel = panels[at], now = Math.max(0, index);
      switch (event.key) {
        case 'ArrowLeft': this.read(at, Math.max(0, index - 1)); break;
        case 'ArrowRight': this.read(at, Math.min(panel.spans.length - 1, index + 1)); break;
        case 'ArrowUp': this.read(at, this.beside(panel, now, -1)); break;
        case 'ArrowDown': this.read(at, this.beside(panel, now, 1)); break;
        case 'Home': this.read(at, 0); break;
        case 'End': this.read(at, panel.spans.length - 1); break;
        case 'PageDown': case 'PageUp': this.read((at + 1) % panels.length, 0); break;
        case '+': case '=': this.zoom(0.5); break;
        case '-': this.zoom(2); break;
        case '0': case 'Escape': this.look([0, 1]); break;
        default: return;
      }
      event.preventDefault();
    }

    // Around the box that was read last.
    zoom(factor) {
      const [from, to] = this.stretch, panel = this.figure.panels[this.at?.[0]];
      const [, start, end] = panel?.spans[this.at[1]] ?? [];
      const middle = panel ? (start + end) / 2 / panel.length : (from + to) / 2;
      const half = Math.max((to - from) * factor / 2, 1e-4);
      this.look([Math.max(0, middle - half), Math.min(1, middle + half)]);
    }

    look(stretch) {
      this.stretch = stretch;
      this.draw();
    }
  };
};
