'use strict';
'require baseclass';
'require dom';
'require ui';

/* Small renderers: numbers, states and tables. Each takes data and gives text or
 * a node, and asks nobody. */

function number(n, digits) {
	return new Intl.NumberFormat(document.documentElement.lang || undefined, { maximumFractionDigits: digits }).format(n);
}

function bytes(n) {
	const units = [ _('B', 'unit'), _('KiB', 'unit'), _('MiB', 'unit'), _('GiB', 'unit'), _('TiB', 'unit') ];
	let i = 0;

	for (n = +n || 0; n >= 1024 && i < units.length - 1; i++)
		n /= 1024;

	return number(n, (i && n < 10) ? 1 : 0) + ' ' + units[i];
}

function duration(s) {
	if (s == null)
		return '–';

	s = Math.max(0, Math.round(s));

	if (s < 120)
		return number(s, 0) + ' ' + _('s', 'seconds');
	if (s < 7200)
		return number(s / 60, 0) + ' ' + _('min', 'minutes');
	if (s < 172800)
		return number(s / 3600, 0) + ' ' + _('h', 'hours');

	return number(s / 86400, 0) + ' ' + _('d', 'days');
}

/* What the daemon's words mean to a person, and how grave they are. */
const words = {
	up: [ 'good', () => _('up') ],
	ok: [ 'good', () => _('works') ],
	reachable: [ 'good', () => _('reachable directly') ],
	applied: [ 'good', () => _('applied') ],
	open: [ 'good', () => _('open') ],
	connecting: [ 'warn', () => _('connecting') ],
	degraded: [ 'warn', () => _('degraded') ],
	'new': [ 'warn', () => _('opening') ],
	note: [ 'info', () => _('note') ],
	warning: [ 'warn', () => _('warning') ],
	interfered: [ 'warn', () => _('interfered with') ],
	service_refused: [ 'warn', () => _('refused by the service') ],
	down: [ 'bad', () => _('down') ],
	error: [ 'bad', () => _('error') ],
	fault: [ 'bad', () => _('fault') ],
	service_down: [ 'bad', () => _('service is down') ],
	offline: [ 'bad', () => _('line is down') ],
	blocked: [ 'info', () => _('blocked') ],
	unknown: [ 'info', () => _('not known yet') ],
	disabled: [ 'info', () => _('off') ],
	closing: [ 'info', () => _('closing') ],
	/* outcomes of a check */
	dns_timeout: [ 'bad', () => _('no answer to the lookup') ],
	dns_nxdomain: [ 'bad', () => _('the name is said not to exist') ],
	dns_tampered: [ 'bad', () => _('forged answer to the lookup') ],
	tcp_timeout: [ 'bad', () => _('connecting times out') ],
	tcp_refused: [ 'bad', () => _('connection refused') ],
	tcp_unreachable: [ 'bad', () => _('not to be reached') ],
	tls_reset: [ 'bad', () => _('reset in the handshake') ],
	tls_timeout: [ 'bad', () => _('the handshake times out') ],
	tls_bad_certificate: [ 'bad', () => _('wrong certificate') ],
	http_reset: [ 'bad', () => _('reset after the request') ],
	http_timeout: [ 'bad', () => _('no answer to the request') ],
	http_block_page: [ 'bad', () => _('page of a block') ],
	http_error: [ 'warn', () => _('the service reports an error') ],
	stratum_timeout: [ 'bad', () => _('the pool does not answer') ],
	stratum_reset: [ 'bad', () => _('the session with the pool is reset') ],
	stratum_rejected: [ 'warn', () => _('the pool refuses') ],
	stalled: [ 'bad', () => _('the transfer stalls') ],
	path_down: [ 'info', () => _('the path is down') ],
	/* kinds of events */
	path: [ 'info', () => _('path') ],
	verdict: [ 'info', () => _('verdict') ],
	tunnel: [ 'info', () => _('tunnel') ],
	config: [ 'info', () => _('settings') ]
};

/* What a finding of doctor is about. */
const topics = {
	daemon: () => _('daemon'),
	settings: () => _('settings'),
	tunnel: () => _('tunnel'),
	dns: () => _('names'),
	bypass: () => _('past the router'),
	kernel: () => _('kernel'),
	modules: () => _('kernel modules'),
	firewall: () => _('firewall'),
	offload: () => _('flow offload'),
	clock: () => _('clock'),
	memory: () => _('memory')
};

/* Labels of the first settings, and whole sentences of the daemon's. */
const sentences = {
	'Exchanges': () => _('Exchanges'),
	'Mining pools': () => _('Mining pools'),
	'Analytics, wallets, management': () => _('Analytics, wallets, management'),
	'policy block': () => _('blocked by its policy'),
	'policy direct': () => _('always direct by its policy'),
	'policy auto: the direct path is preferred': () => _('the direct path is preferred while it works'),
	'no tunnel is set up: nothing is steered until there is one': () => _('no tunnel is set up: nothing is steered until there is one'),
	'fallback direct: no tunnel is set up': () => _('no tunnel is set up: it goes direct meanwhile'),
	'fallback block: no tunnel is set up': () => _('no tunnel is set up: it is shut off meanwhile'),
	'it works over the direct path': () => _('it works over the direct path'),
	'not checked yet': () => _('not checked yet'),
	'no handshake yet': () => _('no handshake yet'),
	'the peer is silent': () => _('the other end is silent'),
	'the tunnel is being made': () => _('the tunnel is being made')
};

function sentence(text) {
	return sentences[text] ? sentences[text]() : String(text);
}

function milliseconds(ms) {
	if (ms == null)
		return '–';

	return (ms < 1 ? '<' + number(1, 0) : number(ms, 0)) + ' ' + _('ms', 'milliseconds');
}

/* A word of the daemon in the reader's language; a new one as it is. */
function word(w) {
	return words[w] ? words[w][1]() : String(w == null ? '' : w);
}

function tone(w) {
	return words[w] ? words[w][0] : (w && /^[a-z]+_/.test(w) ? 'bad' : 'info');
}

/* Tone by colour and by sign, for those who see no colours. */
function badge(w, title) {
	const t = tone(w);

	return E('span', { 'class': 'rd-badge rd-' + t, 'title': title || null }, [
		E('span', { 'aria-hidden': 'true' }, [ { good: '● ', warn: '▲ ', bad: '✖ ', info: '○ ' }[t] ]),
		word(w)
	]);
}

function path(p) {
	return p == 'direct' ? _('direct') : (p == 'block' ? _('nowhere') : String(p || '–'));
}

function policy(p) {
	return {
		tunnel: _('always by tunnel'),
		auto: _('by tunnel when needed'),
		direct: _('always direct'),
		block: _('blocked')
	}[p] || String(p || '');
}

/* A table that becomes a list of cards where the screen is narrow. */
function table(titles, rows, empty) {
	return E('table', { 'class': 'table cbi-section-table rd-table' }, [
		E('tr', { 'class': 'tr table-titles' }, titles.map(t => E('th', { 'class': 'th', 'scope': 'col' }, [ t ])))
	].concat(rows.length
		? rows.map(cells => E('tr', { 'class': 'tr' }, cells.map((c, i) =>
			E('td', { 'class': 'td', 'data-title': titles[i] }, Array.isArray(c) ? c : [ c == null ? '' : c ]))))
		: [ E('tr', { 'class': 'tr placeholder' }, E('td', { 'class': 'td', 'colspan': titles.length }, E('em', {}, [ empty ]))) ]));
}

function button(text, style, action) {
	return E('button', { 'type': 'button', 'class': 'btn cbi-button ' + (style ? 'cbi-button-' + style : ''), 'click': action }, [ text ]);
}

/* A link to another page of ours, that looks like a button. */
function go(text, page, style) {
	return E('a', { 'class': 'btn cbi-button cbi-button-' + (style || 'neutral'), 'href': L.url('admin/services/routerd/' + page) }, [ text ]);
}

function message(kind, text, more) {
	return E('div', { 'class': 'alert-message ' + kind, 'role': kind == 'error' ? 'alert' : 'status' }, [ E('p', {}, [ text ]) ].concat(more || []));
}

/* What went wrong, for a person: how grave it is, and paragraphs. */
function wrong(err) {
	if (err.code == 'not_running')
		return [ 'warning', [ _('routerd is not running: nothing changes, and what was steered still is.') ] ];
	if (err.code == 'unsupported')
		return [ 'notice', [ _('This version of routerd cannot do that.') ] ];

	return [ 'error', [ err.message ].concat((err.problems || []).map(p =>
		[ p.section, p.option, p.value ].filter(x => x).join(' · ') + ': ' + p.text + (p.mend ? '; ' + p.mend : ''))) ];
}

function paragraphs(lines) {
	return lines.map(l => E('p', {}, [ l ]));
}

function failure(err, more) {
	const w = wrong(err);

	return message(w[0], w[1][0], paragraphs(w[1].slice(1)).concat(more || []));
}

/* A notification is a box by itself. */
function notify(err) {
	const w = wrong(err);

	ui.addNotification(null, E('div', {}, paragraphs(w[1])), w[0] == 'notice' ? 'info' : 'danger');
}

const NS = 'http://www.w3.org/2000/svg';

function svg(name, attributes, children) {
	const node = document.createElementNS(NS, name);

	for (let key in attributes)
		node.setAttribute(key, attributes[key]);
	(children || []).forEach(c => node.appendChild(c));

	return node;
}

function titled(text) {
	const t = document.createElementNS(NS, 'title');

	t.textContent = text;

	return t;
}

/* One box a slot, oldest first: slots are {outcome, tone, text}; without an outcome
 * nothing is known of that time. */
function strip(slots, label) {
	const width = 240, height = 14, step = width / Math.max(1, slots.length);

	return svg('svg', { 'class': 'rd-strip', 'viewBox': '0 0 ' + width + ' ' + height, 'role': 'img', 'aria-label': label, 'preserveAspectRatio': 'none' },
		slots.map((s, i) => svg('rect', {
			'x': (i * step).toFixed(2), 'y': 0, 'width': Math.max(0.5, step - 0.4).toFixed(2), 'height': height,
			'class': s.outcome ? 'rd-fill-' + s.tone : 'rd-fill-none'
		}, [ titled(s.text || word(s.outcome || 'unknown')) ])));
}

/* A line through values, from the first that is known; gaps stay gaps. */
function spark(values, label) {
	const width = 120, height = 24, few = 12;

	values = values.slice(Math.max(0, Math.min(values.findIndex(v => v != null), values.length - few)));

	const most = Math.max.apply(null, values.filter(v => v != null).concat([ 1 ]));
	let d = '', pen = 'M';

	values.forEach((v, i) => {
		if (v == null)
			return (pen = 'M');
		d += pen + (i * width / Math.max(1, values.length - 1)).toFixed(1) + ' ' + (height - 2 - v / most * (height - 4)).toFixed(1);
		pen = 'L';
	});

	return svg('svg', { 'class': 'rd-spark', 'viewBox': '0 0 ' + width + ' ' + height, 'role': 'img', 'aria-label': label }, [
		svg('path', { 'd': d || 'M0 0', 'fill': 'none', 'stroke': 'currentColor', 'stroke-width': 1.5 }), titled(label)
	]);
}

return baseclass.extend({
	bytes: bytes,
	duration: duration,
	milliseconds: milliseconds,
	word: word,
	tone: tone,
	badge: badge,
	path: path,
	policy: policy,
	table: table,
	button: button,
	go: go,
	message: message,
	failure: failure,
	notify: notify,
	strip: strip,
	spark: spark,

	/* What a destination is called. */
	label: function(d) {
		return sentence(d.label || d.name);
	},

	/* What a finding is about, a new one as it is. */
	topic: function(t) {
		return topics[t] ? topics[t]() : String(t);
	},

	/* Why something is as it is, small. */
	reason: function(text) {
		return E('div', { 'class': 'rd-reason' }, [ sentence(text) ]);
	},

	time: function(t) {
		return new Date(t).toLocaleString(document.documentElement.lang || undefined, { dateStyle: 'short', timeStyle: 'medium' });
	},

	rate: function(n) {
		return bytes(n) + _('/s', 'per second');
	},

	/* The style of our pages; loaded once. */
	style: function() {
		return E('link', { 'rel': 'stylesheet', 'href': L.resource('routerd/routerd.css') });
	},

	/* Replaces what a node holds, but keeps what has the keyboard's focus. */
	refresh: function(node, content) {
		if (!node.contains(document.activeElement))
			dom.content(node, content);
	}
});
