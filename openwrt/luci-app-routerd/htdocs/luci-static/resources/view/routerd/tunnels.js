'use strict';
'require view';
'require poll';
'require dom';
'require ui';
'require form';
'require routerd.api as api';
'require routerd.show as show';

const INTERVAL = 3;       /* seconds */
const TEST_TIME = 20;     /* seconds that a test waits for the other end */
const LONGEST = 64 << 10; /* octets of a wg-quick file */

function nameOption(s) {
	const o = s.option(form.Value, 'name', _('Name'), _('1 to 12 of a-z, 0-9 and _; the device is called rd-NAME.'));

	o.rmempty = false;
	o.validate = (id, value) => /^[a-z0-9_]{1,12}$/.test(value) || _('1 to 12 of a-z, 0-9 and _ are allowed');

	return o;
}

function keyOption(s, name, title, description) {
	const o = s.option(form.Value, name, title, description);

	o.validate = (id, value) => value == '' || /^[A-Za-z0-9+\/]{42}[AEIMQUYcgkosw048]=$/.test(value) || _('A WireGuard key is 44 characters that end in =');

	return o;
}

/* A free name for a new tunnel. */
function freeName(taken) {
	let name = 'home';

	for (let i = 2; taken.indexOf(name) >= 0; i++)
		name = 'home' + i;

	return name;
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	load: function() {
		return this.look();
	},

	/* What is not to be had is an error: one that ended load would be shown by LuCI,
	 * which takes its text for HTML. */
	look: function() {
		return Promise.all([
			api.tunnels().then(r => r.tunnels, err => err),
			api.status().then(s => s.tunnels, err => err)
		]);
	},

	render: function(found) {
		this.list = E('div', {});
		this.forms = E('div', {});
		this.names = [];
		this.draw(found);
		poll.add(() => this.look().then(f => this.draw(f)), INTERVAL);

		return this.renderForms().then(() => E('div', {}, [
			show.style(),
			E('h2', {}, [ _('Tunnels') ]),
			E('p', {}, [ _('Listed services go through the first of these that works. A private key is kept on the router and is never shown.') ]),
			this.list,
			E('h3', {}, [ _('Add a tunnel') ]),
			this.forms
		]));
	},

	draw: function(found) {
		const live = {}, stopped = found[1] instanceof Error;

		if (found[0] instanceof Error)
			return show.refresh(this.list, show.failure(found[0]));
		this.names = found[0].map(t => t.name);
		if (!stopped)
			found[1].forEach(t => live[t.name] = t);
		show.refresh(this.list, [
			stopped ? show.failure(found[1], [ show.button(_('Start routerd'), 'apply', ui.createHandlerFn(this, () => api.start().catch(show.notify))) ]) : '',
			show.table([ _('Tunnel'), _('State'), _('Other end'), _('Traffic'), _('Actions') ],
				found[0].map((t, i) => this.row(t, live[t.name], i)), _('There is no tunnel yet: paste the file that your VPN provider gave you below.'))
		]);
	},

	row: function(t, live, index) {
		const problem = t.problem || (live && live.reason);

		return [
			[ E('strong', {}, [ t.name ]), E('div', { 'class': 'rd-reason' }, [ t.device, live && live.backend ? ' · ' + live.backend : '' ]) ],
			[
				show.badge(t.enabled ? (live ? live.state : 'unknown') : 'disabled'),
				problem ? show.reason(problem) : '',
				live && live.last_handshake_s != null ? E('div', { 'class': 'rd-reason' }, [ _('handshake %s ago').replace('%s', show.duration(live.last_handshake_s)) ]) : ''
			],
			[
				(live && live.endpoint) || t.endpoints.join(' ') || '–',
				t.public_key ? E('div', { 'class': 'rd-reason' }, [ _('public key of this router'), ': ', E('code', {}, [ t.public_key ]) ]) : ''
			],
			live ? [ E('div', { 'class': 'rd-count' }, [ '↓ ' + show.bytes(live.rx_bytes) ]), E('div', { 'class': 'rd-count' }, [ '↑ ' + show.bytes(live.tx_bytes) ]) ] : '–',
			E('div', { 'class': 'rd-actions' }, [
				t.enabled ? show.button(_('Test'), 'neutral', ui.createHandlerFn(this, 'test', t.name)) : '',
				show.button(t.enabled ? _('Switch off') : _('Switch on'), 'neutral', ui.createHandlerFn(this, 'change', t.name, t.enabled ? 'disable' : 'enable')),
				index > 0 ? show.button(_('Prefer'), 'neutral', ui.createHandlerFn(this, 'change', t.name, 'prefer')) : '',
				show.button(_('Remove'), 'remove', ui.createHandlerFn(this, 'ask', t.name))
			])
		];
	},

	/* After a change: look again at once. */
	again: function() {
		if (document.activeElement)
			document.activeElement.blur();

		return this.look().then(f => this.draw(f));
	},

	change: function(name, action) {
		return api.changeTunnel(name, action).then(() => this.again(), show.notify);
	},

	ask: function(name) {
		ui.showModal([ _('Remove tunnel %s?').replace('%s', name) ], [
			E('p', {}, [ _('Its keys are deleted with it. Listed services with no other tunnel are blocked or go direct, as their fallback says.') ]),
			E('div', { 'class': 'right rd-actions' }, [
				show.button(_('Keep it'), '', ui.hideModal),
				show.button(_('Remove'), 'remove', ui.createHandlerFn(this, () => api.removeTunnel(name).then(() => {
					ui.hideModal();

					return this.again();
				}, err => { ui.hideModal(); show.notify(err); })))
			])
		]);
	},

	/* Looks until the tunnel is up or the time is over, and says what it saw. */
	test: function(name) {
		const end = Date.now() + TEST_TIME * 1000;
		const text = E('p', { 'class': 'spinning', 'aria-live': 'polite' }, [ _('Waiting for the other end ...') ]);
		const close = E('div', { 'class': 'right' }, [ show.button(_('Close'), '', ui.hideModal) ]);

		ui.showModal([ _('Test of tunnel %s').replace('%s', name) ], [ text, close ]);

		const tell = node => { text.classList.remove('spinning'); dom.content(text, node); };
		const step = () => api.status().then(s => {
			const t = s.tunnels.filter(u => u.name == name)[0];

			if (t && t.state == 'up')
				return tell([ show.badge('up'), ' ', _('The other end answers; last handshake %s ago.').replace('%s', show.duration(t.last_handshake_s)),
					t.rtt_ms != null ? ' ' + _('Round trip %s ms.').replace('%s', Math.round(t.rtt_ms)) : '' ]);
			if (Date.now() > end)
				return tell([ show.badge(t ? t.state : 'unknown'), ' ', (t && t.reason) || _('The daemon does not know this tunnel.') ]);

			return new Promise(done => window.setTimeout(done, 1000)).then(step);
		}).catch(err => tell(show.failure(err)));

		return step();
	},

	renderForms: function() {
		const name = freeName(this.names);
		const data = {
			hand: { name: name, addresses: [], endpoint: '', public_key: '', preshared_key: '', allowed_ips: [], mtu: '', persistent_keepalive: '' },
			device: { name: name, device: '' }
		};
		const hand = this.handForm(data), device = this.deviceForm(data);

		return Promise.all([ hand.render(), device.render() ]).then(nodes => {
			const panes = E('div', {}, [
				E('div', { 'data-tab': 'paste', 'data-tab-title': _('From a file'), 'data-tab-active': 'true' }, [ this.pastePane(name) ]),
				E('div', { 'data-tab': 'hand', 'data-tab-title': _('By hand') }, [ nodes[0],
					show.button(_('Add this tunnel'), 'add', ui.createHandlerFn(this, 'create', hand, data)) ]),
				E('div', { 'data-tab': 'device', 'data-tab-title': _('Existing interface') }, [ nodes[1],
					show.button(_('Use this interface'), 'add', ui.createHandlerFn(this, 'attach', device, data)) ])
			]);

			dom.content(this.forms, [ panes ]);
			ui.tabs.initTabGroup(panes.childNodes);
		});
	},

	pastePane: function(name) {
		this.pasteName = E('input', { 'type': 'text', 'id': 'rd-name', 'class': 'cbi-input-text', 'value': name, 'maxlength': 12, 'spellcheck': 'false' });
		this.pasteText = E('textarea', { 'id': 'rd-text', 'class': 'rd-paste cbi-input-textarea', 'spellcheck': 'false', 'autocomplete': 'off',
			'placeholder': '[Interface]\nPrivateKey = …\nAddress = …\n\n[Peer]\nPublicKey = …\nEndpoint = …' });
		this.pasteError = E('div', {});

		return E('div', {}, [
			E('p', {}, [ _('Paste the WireGuard file (wg-quick) that your VPN provider or your own server gave you, or choose it.') ]),
			E('div', { 'class': 'rd-line' }, [
				E('label', { 'for': 'rd-name' }, [ _('Name'), this.pasteName ]),
				E('label', { 'for': 'rd-file' }, [ _('File'), E('input', { 'type': 'file', 'id': 'rd-file', 'accept': '.conf,text/plain', 'change': ev => this.choose(ev.target) }) ])
			]),
			E('label', { 'for': 'rd-text' }, [ _('Contents of the file') ]),
			this.pasteText,
			this.pasteError,
			E('div', { 'class': 'rd-line' }, [ show.button(_('Import'), 'add', ui.createHandlerFn(this, 'import')) ])
		]);
	},

	choose: function(input) {
		const file = input.files[0];

		if (!file)
			return;
		if (file.size > LONGEST)
			return dom.content(this.pasteError, show.message('error', _('This is no WireGuard file: it is too large.')));

		file.text().then(text => { this.pasteText.value = text; dom.content(this.pasteError, ''); });
	},

	import: function() {
		const name = this.pasteName.value.trim();

		dom.content(this.pasteError, '');

		return api.importTunnel(name, this.pasteText.value, false).then(r => this.added(r), err => {
			dom.content(this.pasteError, show.message('error', _('Not imported:'), err.message.split('\n').map(line => E('p', {}, [ line ]))));
		});
	},

	added: function(r) {
		this.pasteText.value = '';
		this.pasteName.value = freeName(this.names.concat([ r.name ]));
		ui.addNotification(null, E('div', {}, [
			E('p', {}, [ _('Tunnel %s is added.').replace('%s', r.name) ]),
			r.public_key ? E('p', {}, [ _('public key of this router'), ': ', E('code', {}, [ r.public_key ]) ]) : '',
			r.applied === false ? E('p', {}, [ _('routerd is not running: it is used from the next start.') ]) : ''
		].concat((r.notes || []).map(n => E('p', { 'class': 'rd-reason' }, [ n ])))), r.applied === false ? 'warning' : 'success');

		return this.again();
	},

	handForm: function(data) {
		const m = new form.JSONMap(data);
		const s = m.section(form.NamedSection, 'hand', 'hand', null, _('A key pair is made on the router; give the public key, which is shown afterwards, to the other end.'));
		let o;

		nameOption(s);
		o = s.option(form.DynamicList, 'addresses', _('Addresses'), _('Of this router inside the tunnel, such as 10.9.0.2/32.'));
		o.datatype = 'ipaddr';
		o.rmempty = false;
		o = s.option(form.Value, 'endpoint', _('Endpoint'), _('HOST:PORT of the other end, such as vpn.example.net:51820.'));
		o.rmempty = false;
		o.validate = (id, value) => /^(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):[0-9]{1,5}$/.test(value) || _('HOST:PORT is needed');
		keyOption(s, 'public_key', _('Public key'), _('Of the other end.')).rmempty = false;
		keyOption(s, 'preshared_key', _('Preshared key'), _('If the other end uses one.')).password = true;
		o = s.option(form.DynamicList, 'allowed_ips', _('Networks'), _('Behind the other end; empty: everything.'));
		o.datatype = 'ipaddr';
		o = s.option(form.Value, 'mtu', _('MTU'), _('Empty: what fits.'));
		o.datatype = 'range(576,9000)';
		o.optional = true;
		o = s.option(form.Value, 'persistent_keepalive', _('Keepalive'), _('Seconds; empty: 25.'));
		o.datatype = 'range(1,65535)';
		o.optional = true;

		return m;
	},

	deviceForm: function(data) {
		const m = new form.JSONMap(data);
		const s = m.section(form.NamedSection, 'device', 'device', null, _('An interface that somebody else sets up: AmneziaWG, OpenVPN, another WireGuard.'));

		nameOption(s);

		const o = s.option(form.Value, 'device', _('Device or network'), _('Such as awg0 or tun0.'));

		o.rmempty = false;
		o.datatype = 'maxlength(15)';

		return m;
	},

	create: function(m, data) {
		return m.parse().then(() => {
			const t = m.data.data.hand, text = v => v == null ? '' : String(v);

			return api.createTunnel(text(t.name), L.toArray(t.addresses), text(t.public_key), text(t.preshared_key), text(t.endpoint),
				L.toArray(t.allowed_ips), text(t.mtu), text(t.persistent_keepalive)).then(r => this.added(r), show.notify);
		}, () => {});
	},

	attach: function(m, data) {
		return m.parse().then(() => {
			const t = m.data.data.device;

			return api.attachTunnel(t.name, t.device).then(r => this.added({ name: t.name, applied: r.applied }), show.notify);
		}, () => {});
	}
});
