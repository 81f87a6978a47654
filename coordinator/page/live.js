// The live page: asks for the jobs, and for the figures that are on the screen, every two seconds while somebody looks.
'use strict';

(() => {
  const {element, number} = Charts;
  const INTERVAL = 2000;  // milliseconds
  const MOST_JOBS = 4;
  const get = (id) => document.getElementById(id);
  // The address holds what is shown: #a&b are two jobs side by side.
  const chosen = new Set(location.hash.slice(1).split('&').filter((name) => name !== '').map(decodeURIComponent));
  let board = null, boardKey = '', states = new Map(), paused = false, timer = 0, asking = false, again = false;

  async function ask(path) {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(`${path.split('?')[0]}: ${(await answer.text()).trim()}`);
    return answer.json();
  }

  function choose(name, shown) {
    shown ? chosen.add(name) : chosen.delete(name);
    history.replaceState(null, '', '#' + [...chosen].map(encodeURIComponent).join('&'));
    refresh();
  }

  // ---- Jobs: rows stay the elements that they are, so that a keyboard's focus stays too.

  function rowOf(name) {
    const known = get(`job-${name}`);
    if (known) return known;
    const box = element('input', {type: 'checkbox', 'aria-label': `show ${name}`});
    box.checked = chosen.has(name);
    box.addEventListener('change', () => choose(name, box.checked));
    const cells = [...Array(8).keys()].map(() => element('td'));
    cells[7].className = 'words';
    return element('tr', {id: `job-${name}`}, element('td', {}, box), element('th', {scope: 'row'}, name), ...cells);
  }

  function showJobs({jobs, workers}) {
    get('workers').textContent = `Workers: ${workers.busy} busy, ${workers.idle} idle, ${workers.lost} lost`;
    if (chosen.size === 0 && jobs.length > 0) {
      chosen.add((jobs.find(({state}) => state === 'RUNNING') ?? jobs[0]).name);
    }
    const rows = jobs.map((job) => {
      const row = rowOf(job.name), last = job.last_step ?? {};
      const texts = [job.state, `${number(last.step ?? 0)} / ${number(job.total_steps)}`, number(last.loss),
                     number(last.grad_norm), `${number(last.gain_forward)} / ${number(last.gain_backward)}`,
                     number(last.tokens_per_second && Math.round(last.tokens_per_second)), job.workers.length, job.reason];
      texts.forEach((text, i) => { row.cells[i + 2].textContent = text; });
      const box = row.querySelector('input');
      box.checked = chosen.has(job.name);
      box.disabled = !box.checked && chosen.size >= MOST_JOBS;
      return row;
    });
    const body = get('jobs');
    if (rows.length !== body.rows.length || rows.some((row, i) => row !== body.rows[i])) body.replaceChildren(...rows);
    const changes = jobs.filter(({name, state}) => states.has(name) && states.get(name) !== state)
      .map(({name, state, reason}) => `${name} is ${state}${reason ? ': ' + reason : ''}`);
    if (changes.length > 0) get('changes').textContent = changes.join('; ');
    states = new Map(jobs.map(({name, state}) => [name, state]));
  }

  // ---- Figures, events, specs.

  function showFigures({labels, figures, runs}) {
    if (labels.join('\n') !== boardKey) {
      boardKey = labels.join('\n');
      board?.close();
      get('figures').replaceChildren();
      board = Charts.board(get('figures'), labels);
      get('details').replaceChildren();
    }
    board.show(figures);
    for (const run of runs) showDetails(run);
  }

  function detail(id, summary, content) {
    const known = get(id);
    if (known) return known;
    const made = element('details', {id}, element('summary', {}, summary), content);
    get('details').append(made);
    return made;
  }

  function showDetails({name, yaml, events, directory}) {
    detail(`spec-${name}`, `Spec of ${name}`, element('pre', {tabindex: '0', 'aria-label': `Spec of ${name}`}, yaml));
    const list = detail(`events-${name}`, `Events of ${name}, in ${directory}`, element('ul', {class: 'events'})).querySelector('ul');
    const newest = events.length > 0 ? events[0].time + events.length : '';
    if (list.dataset.newest === newest) return;
    list.dataset.newest = newest;
    list.replaceChildren(...events.map(({time, attempt, words}) => element('li', {}, `${time} UTC, attempt ${attempt}: ${words}`)));
  }

  // ---- Asking.

  // What is on the screen, as the server is asked for it.
  const looks = () => (board?.visible() ?? [])
    .map(({id, stretch}) => stretch === null ? id : `${id}:${stretch.min}:${stretch.max}`);

  async function refresh() {
    clearTimeout(timer);
    if (asking) {
      again = true;  // what is asked for has changed meanwhile
      return;
    }
    asking = true;
    let soon = false;
    try {
      const jobs = await ask('api/jobs');
      showJobs(jobs);
      const names = [...chosen].filter((name) => states.has(name));
      if (names.length > 0) {
        const shown = looks();
        const query = new URLSearchParams([...names.map((name) => ['job', name]), ...shown.map((look) => ['show', look]),
                                           ['points', document.documentElement.clientWidth]]);
        const answer = await ask(`api/figures?${query}`);
        showFigures(answer);
        soon = answer.more || looks().some((look) => !shown.includes(look)) || shown.length === 0;
      }
      get('trouble').textContent = '';
    } catch (error) {
      get('trouble').textContent = `No answer from the coordinator (${error.message}); trying again`;
    }
    asking = false;
    soon ||= again;
    again = false;
    if (!paused && !document.hidden) timer = setTimeout(refresh, soon ? 50 : INTERVAL);
  }

  get('pause').addEventListener('click', () => {
    paused = !paused;
    get('pause').setAttribute('aria-pressed', String(paused));
    get('pause').textContent = paused ? 'Go on' : 'Pause';
    if (!paused) refresh();
  });
  document.addEventListener('visibilitychange', () => { if (!document.hidden && !paused) refresh(); });
  // What has come to the screen is asked for at once.
  let moved = 0;
  const look = () => {
    clearTimeout(moved);
    moved = setTimeout(() => { if (!paused) refresh(); }, 150);
  };
  addEventListener('scroll', look, {passive: true});
  get('figures').addEventListener('look', look);
  refresh();
})();
