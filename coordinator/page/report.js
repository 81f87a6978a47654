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

  // report.html#only=ID,ID is these figures alone: what a picture for a paper is taken of.
  const only = new URLSearchParams(location.hash.slice(1)).get('only')?.split(',') ?? [];
  const figures = only.map((id) => document.getElementById(id)).filter((figure) => figure !== null);
  if (figures.length > 0) {
    document.body.classList.add('alone');
    main.classList.toggle('one', figures.length === 1);
    figures.forEach((figure) => figure.classList.add('alone-figure'));
    board.showAll();
  }
})();
