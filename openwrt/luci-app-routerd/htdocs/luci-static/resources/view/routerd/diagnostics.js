'use strict';
'require view';
'require poll';
'require dom';
'require ui';
'require routerd.api as api';
'require routerd.show as show';

const INTERVAL = 3; /* seconds */
const BATCH = 4;    /* targets that are checked in one call, which has 25 seconds */

function pane(name, title, content) {
	return E('div', { 'data-tab': name, 'data-tab-title': title }, content);
}

function field(id, label, attributes) {
	const input = E('input', Object.assign({ 'id': id, 'type': 'text', 'class': 'cbi-input-text', 'spellcheck': 'false', 'autocapitalize': 'off' }, attributes));

	return [ E('label', { 'for': id }, [ label, input ]), input ];
}

function table(rows) {
	return show.table([ _('Target'), _('Verdict'), _('Path'), _('Outcome'), _('Round trip') ], rows, _('Nothing to check.'));
}

/* One target: what each path made of it. */
function checked(c) {
	return c.paths.map(p => [
		[ E('strong', {}, [ c.target ]), E('div', { 'class': 'rd-reason' }, [ c.destination ]) ],
		[ show.badge(c.verdict || 'unknown'), c.reason ? show.reason(c.reason) : '' ],
		show.path(p.path),
		[ show.badge(p.outcome), p.layer ? ' (' + p.layer + ')' : '', p.detail ? E('div', { 'class': 'rd-reason' }, [ p.detail ]) : '' ],
		show.milliseconds(p.rtt_ms)
	]);
}

function address(a) {
	const notes = [];

	if ((a.names || []).length)
		notes.push(_('of %s').replace('%s', a.names.join(', ')));
	if ((a.clients || []).length)
		notes.push(_('known to %s only').replace('%s', a.clients.join(', ')));
	if ((a.shared_with || []).length)
		notes.push(_('shared with %s').replace('%s', a.shared_with.join(', ')));

	return [ a.address, a.learned_from, show.duration(a.age_s), show.duration(a.expires_s), notes.join('; ') ];
}

function explained(w) {
	const rows = [
		[ _('Path'), show.path(w.path) + (w.device ? ' (' + w.device + ')' : '') ],
		[ _('Destination'), w.destination ? w.destination + ', ' + show.policy(w.policy) : _('none: nothing that is listed matches') ],
		[ _('Rule'), w.rule || '–' ],
		[ _('Reason'), w.reason ]
	];

	if (w.mark)
		rows.push([ _('In the kernel'), 'mark ' + w.mark + ', table ' + w.table ]);

	return [
		E('h4', {}, [ w.query + (w.client ? ' ← ' + w.client : '') ]),
		show.table([ _('What'), _('Answer') ], rows),
		w.addresses.length ? show.table([ _('Address'), _('Learned from'), _('Age'), _('Expires in'), _('Remarks') ], w.addresses.map(address)) : ''
	];
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load: function() {
		return Promise.all([
			api.status().catch(err => err),
			L.resolveDefault(api.hosts(), {})
		]);
	},

	render: function(found) {
		const status = found[0], panes = E('div', {}, [
			this.checkPane(),
			this.whyPane(found[1]),
			this.livePane('flows', _('Connections'), () => api.flows().then(r => this.flows(r))),
			this.livePane('events', _('Events'), () => api.events(0).then(r => this.events(r))),
			this.doctorPane(),
			this.reportPane()
		]);

		window.setTimeout(() => ui.tabs.initTabGroup(panes.childNodes), 0);

		return E('div', {}, [
			show.style(),
			E('h2', {}, [ _('Diagnostics') ]),
			status instanceof Error ? show.failure(status) : '',
			panes
		]);
	},

	/* What is to be checked: what was typed, or every target that there is. */
	targets: function(typed) {
		return typed ? Promise.resolve([ typed ]) : api.checks().then(r => r.checks.map(c => c.target).filter((t, i, all) => all.indexOf(t) == i));
	},

	/* Runs the checks a few targets at a time, so that results show as soon as
	 * they are there. */
	checkPane: function() {
		const what = field('rd-check', _('Name, address of a page, or empty for everything'), { 'placeholder': 'api.example.org' });
		const progress = E('div', { 'aria-live': 'polite' }), result = E('div', { 'class': 'rd-output' });

		const run = () => this.targets(what[1].value.trim()).then(all => {
			const rows = [];
			const tell = (n, next) => dom.content(progress, [
				E('progress', { 'max': all.length || 1, 'value': n, 'aria-label': _('Progress') }), ' ',
				next ? _('Checking %s ...').replace('%s', next) : _('Done: %s.').replace('%s', n + '/' + all.length)
			]);
			const step = at => {
				if (at >= all.length)
					return tell(all.length);
				tell(at, all[at]);

				return api.check(all.slice(at, at + BATCH)).then(r => {
					r.checks.forEach(c => rows.push.apply(rows, checked(c)));
					dom.content(result, table(rows));

					return step(at + BATCH);
				});
			};

			dom.content(result, all.length ? '' : table(rows));

			return step(0);
		}).catch(err => dom.content(progress, show.failure(err)));

		return pane('check', _('Check'), [
			E('p', {}, [ _('Tries listed services over every path, layer by layer: name, connection, TLS, answer, transfer.') ]),
			E('div', { 'class': 'rd-line' }, [ what[0], show.button(_('Check now'), 'action', ui.createHandlerFn(this, run)) ]),
			progress, result
		]);
	},

	whyPane: function(hosts) {
		const what = field('rd-why', _('Name or address'), { 'placeholder': 'www.example.org' });
		const client = field('rd-client', _('For this device (empty: any)'), { 'list': 'rd-clients', 'placeholder': '192.168.1.40' });
		const result = E('div', { 'class': 'rd-output', 'aria-live': 'polite' });
		const known = [];

		Object.keys(hosts).forEach(mac => L.toArray(hosts[mac].ipaddrs || hosts[mac].ipv4).forEach(ip =>
			known.push(E('option', { 'value': ip }, [ hosts[mac].name || mac ]))));

		const run = () => api.why(what[1].value, client[1].value).then(w => dom.content(result, explained(w)), err => dom.content(result, show.failure(err)));

		return pane('why', _('Why'), [
			E('p', {}, [ _('Tells which path a name or an address takes, by which rule, and why.') ]),
			E('form', { 'class': 'rd-line', 'submit': ev => { ev.preventDefault(); run(); } }, [
				what[0], client[0], E('datalist', { 'id': 'rd-clients' }, known),
				show.button(_('Ask'), 'action', ui.createHandlerFn(this, run)),
				E('input', { 'type': 'submit', 'style': 'display:none' })
			]),
			result
		]);
	},

	/* A pane that is kept current while it is looked at. */
	livePane: function(name, title, get) {
		const content = E('div', { 'class': 'rd-output' }, [ E('em', {}, [ _('Loading ...') ]) ]);
		const node = pane(name, title, [ content ]);
		const refresh = () => get().then(c => show.refresh(content, c), err => show.refresh(content, show.failure(err)));

		node.addEventListener('cbi-tab-active', refresh);
		poll.add(() => node.getAttribute('data-tab-active') == 'true' ? refresh() : Promise.resolve(), INTERVAL);

		return node;
	},

	flows: function(r) {
		return [
			E('p', {}, [ r.total > r.flows.length ? _('The newest %s of %t connections that are steered.').replace('%s', r.flows.length).replace('%t', r.total) : _('All connections that are steered.') ]),
			show.table([ _('Destination'), _('Path'), _('From'), _('To'), _('State'), _('Age'), _('Received'), _('Sent'), _('Round trip') ], r.flows.slice().reverse().map(f => [
				f.destination, show.path(f.path), f.source,
				[ f.name || f.target, E('div', { 'class': 'rd-reason' }, [ (f.name ? f.target + ' ' : '') + f.protocol ]) ],
				show.badge(f.state), show.duration(f.age_s), show.bytes(f.rx_bytes), show.bytes(f.tx_bytes),
				show.milliseconds(f.rtt_ms)
			]), _('No connection is steered now.'))
		];
	},

	events: function(r) {
		return show.table([ _('Time'), _('What'), _('Concerns'), _('Change'), _('Reason') ], r.events.slice().reverse().map(e => [
			show.time(e.time), show.badge(e.kind), [ e.destination, e.tunnel ].filter(x => x).join(' · ') || '–',
			[ e.from, e.to ].filter(x => x).map(show.word).join(' → '), e.reason
		]), _('Nothing has happened since the start.'));
	},

	doctorPane: function() {
		const result = E('div', { 'class': 'rd-output' }, [ E('em', {}, [ _('Loading ...') ]) ]);
		const run = () => api.doctor().then(r => dom.content(result, show.table([ _('What'), _('Finding'), _('To do') ],
			r.findings.map(f => [ [ show.badge(f.level), ' ', show.topic(f.topic) ], f.text, f.mend || '–' ]))), err => dom.content(result, show.failure(err)));
		const node = pane('doctor', _('Doctor'), [
			E('p', {}, [ _('Looks at kernel, modules, firewall, DNS, clock and settings, and says how to mend what is wrong.') ]),
			show.button(_('Look again'), 'action', ui.createHandlerFn(this, run)), result
		]);

		node.addEventListener('cbi-tab-active', run);

		return node;
	},

	reportPane: function() {
		const result = E('div', { 'aria-live': 'polite' });
		const run = () => api.report().then(r => {
			const link = E('a', { 'href': URL.createObjectURL(new Blob([ r.text ], { type: 'text/plain' })), 'download': r.name, 'class': 'btn cbi-button cbi-button-apply' }, [ _('Save %s').replace('%s', r.name) ]);

			dom.content(result, [ link, E('pre', { 'class': 'rd-output' }, [ r.text ]) ]);
		}, err => dom.content(result, show.failure(err)));

		return pane('report', _('Report'), [
			E('p', {}, [ _('Everything that somebody who helps needs to know. Keys are removed; names and addresses are not: read it before you send it.') ]),
			show.button(_('Make a report'), 'action', ui.createHandlerFn(this, run)), result
		]);
	}
});
