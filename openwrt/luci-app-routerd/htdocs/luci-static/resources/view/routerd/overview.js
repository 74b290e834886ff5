'use strict';
'require view';
'require poll';
'require dom';
'require ui';
'require routerd.api as api';
'require routerd.show as show';

const INTERVAL = 5; /* seconds */

/* The state in one sentence, with how grave it is. */
function sentence(s, findings) {
	if (!s.running && s.problems.some(p => p.indexOf('settings refused') == 0))
		return [ 'error', _('The settings are refused: nothing is steered until they are mended.') ];
	if (!s.running)
		return [ 'warning', _('routerd is switched off: all traffic is direct.') ];
	if (!s.tunnels.length)
		return [ 'warning', _('There is no tunnel yet, so nothing is steered: all traffic is direct.') ];

	const down = s.destinations.filter(d => d.state == 'down');
	const weak = s.destinations.filter(d => d.state == 'degraded');

	if (down.length)
		return [ 'error', _('These do not work: %s.').replace('%s', names(down)) ];
	if (weak.length || s.problems.length || findings.some(f => f.level == 'error' || f.level == 'warning'))
		return [ 'warning', _('Listed services work, but not all is as it should be.') ];

	return [ 'success', _('All is well: %s.').replace('%s', names(s.destinations.filter(d => d.state != 'blocked'), d => show.label(d) + ' ' + (d.path == 'direct' ? _('direct') : _('by %s').replace('%s', d.path)))) ];
}

function names(destinations, text) {
	return destinations.map(text || show.label).join('; ') || _('no destination is set up');
}

/* The button that mends a finding, where a page of ours can. */
function remedy(finding, s) {
	if (finding.topic == 'daemon')
		return show.button(_('Start routerd'), 'apply', ui.createHandlerFn(this, () => api.start().catch(show.notify)));
	if (finding.topic == 'tunnel' || (finding.topic == 'settings' && s && !s.tunnels.length))
		return show.go(_('Set up a tunnel'), 'tunnels', 'action');
	if (finding.topic == 'settings')
		return show.go(_('Mend the settings'), 'destinations', 'action');

	return '';
}

function wrong(findings, s) {
	const order = [ 'error', 'warning' ];
	const grave = findings.filter(f => order.indexOf(f.level) >= 0)
		.sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level));

	if (!grave.length)
		return '';

	return E('div', { 'class': 'cbi-section' }, [
		E('h3', {}, [ _('What is wrong') ]),
		show.table([ _('What'), _('Finding'), _('To do') ], grave.map(f => [
			[ show.badge(f.level), ' ', show.topic(f.topic) ],
			f.text,
			E('div', {}, [ f.mend || '', ' ', remedy(f, s) ])
		]))
	]);
}

function tunnels(s) {
	return E('div', { 'class': 'cbi-section' }, [
		E('h3', {}, [ _('Tunnels') ]),
		show.table([ _('Tunnel'), _('State'), _('Handshake'), _('Round trip'), _('Received'), _('Sent') ], s.tunnels.map(t => [
			t.name + ' (' + t.device + ')',
			[ show.badge(t.state), t.reason ? show.reason(t.reason) : '' ],
			t.last_handshake_s == null ? _('never') : _('%s ago').replace('%s', show.duration(t.last_handshake_s)),
			show.milliseconds(t.rtt_ms),
			show.bytes(t.rx_bytes),
			show.bytes(t.tx_bytes)
		]), _('There is no tunnel yet.'))
	]);
}

/* One slot of the history. Where most of its checks were good, what was not is no
 * more than a warning. */
function slot(s) {
	const outcome = s.outcome || (s.checks ? 'ok' : '');

	return {
		outcome: outcome,
		tone: outcome != 'ok' && s.ok * 2 > s.checks ? 'warn' : show.tone(outcome),
		text: show.time(s.begin) + ': ' + (s.checks ? show.word(outcome) + ' (' + s.ok + '/' + s.checks + ')' : _('not checked'))
	};
}

/* What was found over each path in the last day. */
function outcomes(history, d) {
	return E('div', { 'class': 'rd-outcomes' }, (history || []).filter(h => h.destination == d.name && h.slots.length).map(h => E('div', { 'class': 'rd-outcome' }, [
		E('span', { 'class': 'rd-reason rd-name' }, [ show.path(h.path), h.ok_rate == null ? '' : ' ' + Math.round(h.ok_rate * 100) + ' %' ]),
		show.strip(h.slots.map(slot), _('Outcomes of the last day: %s').replace('%s', show.path(h.path))),
		h.slots.filter(s => s.rtt_ms != null).length < 2 ? '' : show.spark(h.slots.map(s => s.rtt_ms), _('Round trip of the last day: %s').replace('%s', show.path(h.path))),
		E('span', { 'class': 'rd-reason rd-ms', 'title': _('Round trip of the last day: %s').replace('%s', show.path(h.path)) }, [ show.milliseconds(h.rtt_ms) ])
	])));
}

function destinations(s, history) {
	return E('div', { 'class': 'cbi-section' }, [
		E('h3', {}, [ _('Destinations') ]),
		show.table([ _('Destination'), _('Path'), _('State'), _('Connections'), _('Received'), _('Sent') ], s.destinations.map(d => [
			[ E('strong', {}, [ show.label(d) ]), E('div', { 'class': 'rd-reason' }, [ show.policy(d.policy) ]) ],
			show.path(d.path),
			[
				show.badge(d.state), ' ', d.verdict ? show.badge(d.verdict, d.verdict_reason) : '',
				d.reason ? show.reason(d.reason) : '',
				outcomes(history, d)
			],
			String(d.flows),
			show.bytes(d.rx_bytes),
			show.bytes(d.tx_bytes)
		]), _('No destination is set up: all traffic is direct.')),
		(history || []).some(h => h.slots.some(x => x.checks)) || !s.destinations.length ? '' : E('p', { 'class': 'rd-reason' }, [ _('There is no history of checks.') ])
	]);
}

/* Octets of listed services by kind of path, both directions. */
function totals(s) {
	const sum = { tunnel: 0, direct: 0 };

	s.destinations.forEach(d => {
		if (d.path != 'block')
			sum[d.path == 'direct' ? 'direct' : 'tunnel'] += d.rx_bytes + d.tx_bytes;
	});

	return sum;
}

/* Traffic since the last look; a path that changed in between may show less
 * than nothing, which is no traffic. */
function meters(s, before, seconds) {
	const now = totals(s);
	const rate = kind => before && seconds > 0 ? show.rate(Math.max(0, now[kind] - before[kind]) / seconds) : '–';

	return E('div', { 'class': 'rd-meters', 'aria-live': 'off' }, [
		E('div', { 'class': 'rd-meter' }, [ _('Listed services by tunnel'), E('b', {}, [ rate('tunnel') ]) ]),
		E('div', { 'class': 'rd-meter' }, [ _('Listed services directly'), E('b', {}, [ rate('direct') ]) ]),
		E('div', { 'class': 'rd-meter' }, [ _('Known addresses'), E('b', {}, [ String(s.dataplane.addresses), ' / ', String(s.dataplane.max_addresses) ]) ]),
		E('div', { 'class': 'rd-meter' }, [ _('Running for'), E('b', {}, [ show.duration(s.uptime_s) ]) ])
	]);
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load: function() {
		return this.look();
	},

	/* Everything that the page shows; a part that is not to be had is null. */
	look: function() {
		return Promise.all([
			api.status().catch(err => err),
			api.doctor().then(r => r.findings, () => []),
			this.lastDay()
		]);
	},

	/* The history changes slowly and is long: it is asked for once a minute. */
	lastDay: function() {
		if (!this.day || Date.now() - this.dayAt > 60000) {
			this.dayAt = Date.now();
			this.day = api.history('').then(r => r.history, () => null);
		}

		return this.day;
	},

	render: function(found) {
		const page = E('div', { 'class': 'rd-page' });

		this.draw(page, found);
		poll.add(() => this.look().then(f => this.draw(page, f)), INTERVAL);

		return E('div', {}, [ show.style(), E('h2', {}, [ _('Overview') ]), page ]);
	},

	draw: function(page, found) {
		const s = found[0];

		if (s instanceof Error) {
			this.before = null;

			return show.refresh(page, [
				show.failure(s, s.code == 'not_running'
					? [ show.button(_('Start routerd'), 'apply', ui.createHandlerFn(this, () => api.start().catch(show.notify))) ] : []),
				wrong(found[1].filter(f => f.topic != 'daemon'), null)
			]);
		}

		const told = sentence(s, found[1]), now = Date.now();

		show.refresh(page, [
			show.message(told[0], told[1], s.running && !s.tunnels.length ? [ show.go(_('Add a tunnel'), 'tunnels', 'action') ] : []),
			wrong(found[1], s),
			s.problems.length ? E('ul', {}, s.problems.map(p => E('li', {}, [ p ]))) : '',
			s.running ? meters(s, this.before, (now - this.at) / 1000) : '',
			tunnels(s),
			destinations(s, found[2])
		]);
		this.before = totals(s);
		this.at = now;
	}
});
