'use strict';
'require view';
'require form';
'require uci';
'require ui';
'require routerd.api as api';
'require routerd.picker as picker';
'require routerd.show as show';

/* The same syntax as the daemon's; it has the last word. */
function checkName(value) {
	const name = value.replace(/^(full:|domain:)/i, '').replace(/^(\*\.|\.)/, '').replace(/\.$/, '');

	if (/:\/\//.test(value))
		return _('The address of a page: write the name alone, such as example.org');
	if (/^[0-9.]+(\/[0-9]+)?$/.test(name) || /:.*:/.test(name))
		return _('This is an address: it belongs in the field below');
	if (name.length > 253 || !/^([a-z0-9_-]{1,63}\.)+[a-z0-9_-]{1,63}$/i.test(name))
		return _('A name such as example.org, or full:api.example.net, is needed');

	return true;
}

function checkTarget(value) {
	return /^(https?|tls|tcp|stratum\+tcp|stratum\+ssl):\/\/[^\s]+$/.test(value) || _('https://, http://, tls://, tcp://, stratum+tcp:// or stratum+ssl:// is needed');
}

/* A list's values are checked one by one. */
function each(check) {
	return (section_id, value) => value == null || value === '' || check(String(value));
}

function choices(o, hosts) {
	Object.keys(hosts).sort().forEach(mac => {
		const h = hosts[mac], ip = L.toArray(h.ipaddrs || h.ipv4)[0];

		if (h.name || ip)
			o.value(mac.toLowerCase(), [ h.name, ip, mac.toLowerCase() ].filter(x => x).join(' · '));
	});
}

function mainSection(m) {
	const s = m.section(form.NamedSection, 'main', 'routerd', _('Settings'));
	let o;

	s.addremove = false;
	o = s.option(form.Flag, 'enabled', _('Enabled'), _('Off: all traffic is direct.'));
	o.default = o.enabled;
	o.rmempty = false;
	o = s.option(form.DynamicList, 'lan', _('Clients\' networks'), _('Networks or devices whose clients are steered.'));
	o.default = 'lan';
	o = s.option(form.Value, 'wan', _('Direct path'), _('Network or device; empty: that of the default route.'));
	o.optional = true;
	o = s.option(form.Flag, 'own_traffic', _('This router too'), _('Its own connections follow the same rules.'));
	o.default = o.enabled;
	o.rmempty = false;
	o = s.option(form.ListValue, 'dns', _('Names'), _('How addresses of listed names are found.'));
	o.value('secure', _('looked up through the tunnel'));
	o.value('observe', _('only learned from clients\' lookups'));
	o.default = 'secure';
	o = s.option(form.DynamicList, 'resolver', _('Resolvers'), _('https:// (DoH), tls:// (DoT), udp:// or tcp://, tried in order.'));
	o.validate = each(v => /^(https|tls|udp|tcp):\/\/[^\s]+$/.test(v) || _('https://, tls://, udp:// or tcp:// is needed'));
	o = s.option(form.Flag, 'ipv6', _('IPv6'));
	o.default = o.enabled;
	o.rmempty = false;
	o = s.option(form.Flag, 'flow_offload', _('Flow offload'), _('Established connections pass routing and firewall chains by: full speed.'));
	o.default = o.enabled;
	o.rmempty = false;
}

function whatTab(s) {
	let o;

	o = s.taboption('what', form.Value, 'label', _('Label'));
	o.datatype = 'maxlength(64)';
	o = s.taboption('what', form.MultiValue, 'category', _('Whole categories'), _('Services that are added to them later are taken too.'));
	Object.keys(picker.categories).forEach(c => o.value(c, picker.categories[c]()));
	o.modalonly = true;
	o = s.taboption('what', picker.Option, 'service', _('Single services'));
	o.modalonly = true;
	o = s.taboption('what', form.DynamicList, 'domain', _('Own names'), _('example.org with all below it; full:api.example.net that name only.'));
	o.validate = each(checkName);
	o.modalonly = true;
	o = s.taboption('what', form.DynamicList, 'address', _('Own addresses'), _('An address or a network, such as 203.0.113.0/24.'));
	o.datatype = 'ipaddr';
	o.modalonly = true;
	o = s.taboption('what', form.DynamicList, 'file', _('Files'), _('With one rule a line, on the router.'));
	o.validate = each(v => /^\/[^\s]+$/.test(v) || _('The whole path is needed, such as /etc/routerd/my.list'));
	o.modalonly = true;
}

function howTab(s, tunnels) {
	let o;

	o = s.taboption('how', form.ListValue, 'policy', _('Path'));
	[ 'tunnel', 'auto', 'direct', 'block' ].forEach(p => o.value(p, show.policy(p)));
	o.default = 'tunnel';
	/* LuCI takes a text for HTML, and an unknown policy is shown as it is. */
	o.textvalue = id => E('span', {}, [ show.policy(uci.get('routerd', id, 'policy') || 'tunnel') ]);
	o = s.taboption('how', form.DynamicList, 'tunnel', _('Tunnels'), _('In order of preference; none: every tunnel by its rank.'));
	tunnels.forEach(t => o.value(t));
	o.validate = each(v => tunnels.indexOf(v) >= 0 || _('There is no such tunnel'));
	o.depends('policy', 'tunnel');
	o.depends('policy', 'auto');
	o.modalonly = true;
	o = s.taboption('how', form.ListValue, 'fallback', _('While no tunnel works'));
	o.value('block', _('shut off: nothing leaves directly'));
	o.value('direct', _('go direct'));
	o.default = 'block';
	o.depends('policy', 'tunnel');
	o.depends('policy', 'auto');
	o.modalonly = true;
}

function whoTab(s, hosts) {
	[ [ 'client', _('Only for'), _('Devices by MAC, address or network; none: all.') ],
		[ 'exclude_client', _('Not for'), _('These devices go direct.') ] ].forEach(x => {
		const o = s.taboption('who', form.DynamicList, x[0], x[1], x[2]);

		choices(o, hosts);
		o.datatype = 'or(macaddr,ipaddr)';
		o.modalonly = true;
	});
}

function checksTab(s) {
	let o;

	o = s.taboption('checks', form.DynamicList, 'check', _('Own checks'), _('Beside those of the catalogue, such as https://api.example.org/ping.'));
	o.validate = each(checkTarget);
	o.modalonly = true;
	o = s.taboption('checks', form.Value, 'check_interval', _('Interval'), _('Seconds between checks.'));
	o.datatype = 'range(10,86400)';
	o.placeholder = '60';
	o.optional = true;
	o.modalonly = true;
}

function summary(id) {
	const some = [ 'category', 'service', 'domain', 'address', 'file' ].reduce((all, name) => all.concat(L.toArray(uci.get('routerd', id, name))), []);

	return some.slice(0, 4).map(v => picker.categories[v] ? picker.categories[v]() : v).join(', ') + (some.length > 4 ? ' … (' + some.length + ')' : '') || _('nothing yet');
}

function destinationSection(m, tunnels, hosts) {
	const s = m.section(form.GridSection, 'destination', null,
		_('What is listed here takes the path that you choose; everything else goes direct. Where two list the same, the one that stands first counts.'));
	let o;

	s.addremove = true;
	s.anonymous = false;
	s.sortable = true;
	s.nodescriptions = true;
	s.addbtntitle = _('Add a destination');
	s.modaltitle = id => _('Destination %s').replace('%s', id);
	s.tab('what', _('What'));
	s.tab('how', _('How'));
	s.tab('who', _('For whom'));
	s.tab('checks', _('Checks'));
	o = s.taboption('what', form.Flag, 'enabled', _('Enabled'));
	o.default = o.enabled;
	o.rmempty = false;
	o.editable = true;
	whatTab(s);
	o = s.taboption('what', form.DummyValue, '_summary', _('Lists'));
	o.modalonly = false;
	o.cfgvalue = id => summary(id);
	howTab(s, tunnels);
	whoTab(s, hosts);
	checksTab(s);
}

function listSection(m, destinations) {
	const s = m.section(form.GridSection, 'list', _('Lists of others'), _('Fetched and kept current by routerd; what is not plausible is left out.'));
	let o;

	s.addremove = true;
	s.anonymous = false;
	s.nodescriptions = true;
	s.addbtntitle = _('Add a list');
	s.modaltitle = id => _('List %s').replace('%s', id);
	o = s.option(form.Value, 'url', _('Address'), _('http://, https:// or file://'));
	o.rmempty = false;
	o.validate = (id, value) => /^(https?|file):\/\/[^\s]+$/.test(value) || _('http://, https:// or file:// is needed');
	o = s.option(form.ListValue, 'format', _('Format'));
	[ 'auto', 'plain', 'hosts', 'dnsmasq', 'v2fly', 'clash' ].forEach(f => o.value(f));
	o.default = 'auto';
	o = s.option(form.ListValue, 'destination', _('Destination'));
	destinations.forEach(d => o.value(d));
	o.rmempty = false;
	o = s.option(form.Value, 'interval', _('Interval'), _('Seconds; once a day: 86400.'));
	o.datatype = 'range(300,2592000)';
	o.placeholder = '86400';
	o.modalonly = true;
}

return view.extend({
	load: function() {
		return Promise.all([
			L.resolveDefault(api.hosts(), {}),
			api.validate().then(r => r.problems, () => []),
			uci.load('routerd')
		]);
	},

	render: function(found) {
		const problems = found[1].filter(p => p.level == 'error');
		const name = s => s['.name'];
		const tunnels = uci.sections('routerd', 'tunnel').map(name), destinations = uci.sections('routerd', 'destination').map(name);
		const m = new form.Map('routerd', null);

		destinationSection(m, tunnels, found[0]);
		listSection(m, destinations);
		mainSection(m);

		return m.render().then(node => E('div', {}, [
			show.style(),
			E('h2', {}, [ _('Destinations') ]),
			problems.length ? show.message('error', _('The settings are refused; the last good ones stay in force.'), problems.map(p =>
				E('p', {}, [ [ p.section, p.option, p.value ].filter(x => x).join(' · '), ': ', p.text, p.mend ? '; ' + p.mend : '' ]))) : '',
			tunnels.length ? '' : show.message('notice', _('There is no tunnel yet: until there is one nothing is steered.'), [ show.go(_('Add a tunnel'), 'tunnels', 'action') ]),
			node
		]));
	}
});
