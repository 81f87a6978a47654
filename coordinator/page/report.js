// The report: everything that it shows stands in the page itself.
'use strict';

(() => {
  const {element} = Charts;
  const report = JSON.parse(document.getElementById('report').textContent);
  const main = document.getElementById('figures');
  // Lines that are no run's, as a formula's, have colours too.
  const lines = report.figures.flatMap((figure) => figure.lines ?? []).map(({label}) => label);
  const board = Charts.board(main, [...new Set([...report.labels, ...lines])]);
  board.show(report.figures);

  const contents = report.figures.map(({id, title}) => element('li', {}, element('a', {href: `#${id}`}, title)));
  document.getElementById('contents').append(...contents);
  const specs = document.getElementById('specs');
  for (const {name, directory, yaml} of report.runs) {
    const text = element('pre', {tabindex: '0', 'aria-label': `Spec of ${name}`}, yaml);
    specs.append(element('details', {}, element('summary', {}, `${name}: ${directory}`), text));
  }

  // report.html#only=ID is that figure alone: what a picture for a paper is taken of.
  const only = new URLSearchParams(location.hash.slice(1)).get('only');
  const figure = only === null ? null : document.getElementById(only);
  if (figure !== null) {
    document.body.classList.add('alone');
    figure.classList.add('alone-figure');
    board.showAll();
  }
})();
