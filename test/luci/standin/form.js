'use strict';
'require baseclass';
'require dom';
'require uci';
'require ui';

/* Stands in for LuCI's forms: maps of sections of options over settings or over
 * an object. */

const ipv4 = v => /^(\d{1,3})(\.\d{1,3}){3}$/.test(v) && v.split('.').every(n => +n < 256);
const ipv6 = v => v.indexOf(':') >= 0 && /^[0-9a-f:.]+$/i.test(v);

function isAddress(v) {
	const parts = v.split('/');

	return (ipv4(parts[0]) && (parts.length == 1 || (/^\d+$/.test(parts[1]) && +parts[1] <= 32))) ||
		(ipv6(parts[0]) && (parts.length == 1 || (/^\d+$/.test(parts[1]) && +parts[1] <= 128)));
}

/* A text as HTML. */
function escaped(text) {
	return E('span', {}, [ text ]).innerHTML;
}

/* Says why a value is not of a datatype, or true. */
function ofType(type, v) {
	let m;

	if (type == 'ipaddr')
		return isAddress(v) || 'valid IP address';
	if (type == 'macaddr')
		return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(v) || 'valid MAC address';
	if ((m = /^range\((\d+),(\d+)\)$/.exec(type)))
		return (/^\d+$/.test(v) && +v >= +m[1] && +v <= +m[2]) || 'value between ' + m[1] + ' and ' + m[2];
	if ((m = /^maxlength\((\d+)\)$/.exec(type)))
		return v.length <= +m[1] || 'value with at most ' + m[1] + ' characters';
	if ((m = /^or\((.*)\)$/.exec(type)))
		return m[1].split(',').some(t => ofType(t, v) === true) || 'one of ' + m[1];
	throw new Error('the stand-in has no datatype ' + type);
}

const Value = baseclass.extend({
	__name__: 'CBI.Value',

	__init__: function(map, section, option, title, description) {
		Object.assign(this, { map: map, section: section, option: option, title: title, description: description, keylist: [], vallist: [], deps: [] });
	},
	value: function(key, text) { this.keylist.push(String(key)); this.vallist.push(text == null ? String(key) : text); },
	depends: function(name, value) { this.deps.push([ name, value ]); },
	cbid: function(id) { return 'widget.cbid.' + this.map.config + '.' + id + '.' + this.option; },
	cfgvalue: function(id) { return this.map.get(id, this.option); },
	initial: function(id) { const v = this.cfgvalue(id); return v != null ? v : this.default; },
	renderWidget: function(id, index, value) {
		return E('input', { 'id': this.cbid(id), 'type': this.password ? 'password' : 'text', 'class': 'cbi-input-text', 'value': value == null ? '' : value, 'placeholder': this.placeholder });
	},
	/* Without a description where it stands in a table. */
	render: function(id, bare) {
		return Promise.resolve(this.renderWidget(id, 0, this.initial(id))).then(node => {
			const error = E('div', { 'class': 'cbi-value-error', 'role': 'alert' });

			this.nodes = this.nodes || {};
			this.nodes[id] = node;
			[ 'input', 'change', 'widget-change' ].forEach(e => node.addEventListener(e, () => { this.check(id); this.section.showDepending(id); }));

			const field = E('div', { 'class': 'cbi-value-field' }, [ node, error, !bare && this.description ? E('div', { 'class': 'cbi-value-description' }, [ this.description ]) : '' ]);

			return bare ? field : E('div', { 'class': 'cbi-value', 'data-name': this.option }, [ E('label', { 'class': 'cbi-value-title', 'for': this.cbid(id) }, [ this.title ]), field ]);
		});
	},
	formvalue: function(id) { const n = this.nodes[id], w = dom.findClassInstance(n); return w && w.node == n ? w.getValue() : n.value; },
	active: function(id) { return !this.deps.length || this.deps.some(d => this.section.valueOf(id, d[0]) == d[1]); },
	/* What is wrong with one value; null: nothing. */
	wrong: function(id, one) {
		const typed = this.datatype ? ofType(this.datatype, String(one)) : true, own = this.validate ? this.validate(id, one) : true;

		if (typed !== true)
			return _('Expecting: %s').replace('%s', typed);

		return own === true ? null : String(own);
	},
	problem: function(id) {
		const v = this.formvalue(id), all = Array.isArray(v) ? v : [ v ];

		if (v == null || v === '' || (Array.isArray(v) && !v.length))
			return this.rmempty === false && !this.optional ? _('Expecting: non-empty value') : null;

		return all.map(one => this.wrong(id, one)).filter(x => x)[0] || null;
	},
	check: function(id) {
		const why = this.active(id) ? this.problem(id) : null, box = this.nodes[id].parentNode && this.nodes[id].parentNode.querySelector('.cbi-value-error');

		if (box)
			dom.content(box, [ why || '' ]);

		return why;
	},
	write: function(id, v) { this.map.set(id, this.option, v); },
	parse: function(id) {
		if (!this.active(id))
			return this.map.set(id, this.option, null);

		const v = this.formvalue(id), empty = v == null || v === '' || (Array.isArray(v) && !v.length);

		if (empty || (this.rmempty !== false && !Array.isArray(v) && v === this.default))
			return this.map.get(id, this.option) != null ? this.map.set(id, this.option, null) : null;
		if (JSON.stringify(v) != JSON.stringify(this.map.get(id, this.option)))
			this.write(id, v);
	},
	/* HTML, or a node. */
	textvalue: function(id) { const v = this.cfgvalue(id), i = this.keylist.indexOf(String(v)); return escaped(i >= 0 ? this.vallist[i] : (v == null ? '–' : String(v))); }
});

const Flag = Value.extend({
	enabled: '1', disabled: '0',
	renderWidget: function(id, index, value) { return E('input', { 'id': this.cbid(id), 'type': 'checkbox', 'aria-label': this.title, 'checked': value == this.enabled ? '' : null }); },
	formvalue: function(id) { return this.nodes[id].checked ? this.enabled : this.disabled; }
});

const ListValue = Value.extend({
	renderWidget: function(id, index, value) {
		return E('select', { 'id': this.cbid(id), 'class': 'cbi-input-select' }, this.keylist.map((k, i) => E('option', { 'value': k, 'selected': k == value ? '' : null }, [ this.vallist[i] ])));
	}
});

const MultiValue = Value.extend({
	renderWidget: function(id, index, value) {
		const on = L.toArray(value);

		return E('div', { 'id': this.cbid(id), 'role': 'group', 'aria-label': this.title }, this.keylist.map((k, i) => E('label', {}, [ E('input', { 'type': 'checkbox', 'value': k, 'checked': on.indexOf(k) >= 0 ? '' : null }), ' ', this.vallist[i], ' ' ])));
	},
	formvalue: function(id) { return Array.from(this.nodes[id].querySelectorAll('input:checked')).map(n => n.value); }
});

const DynamicList = Value.extend({
	renderWidget: function(id, index, value) {
		const items = E('ul', { 'class': 'cbi-dynlist-items' }), list = this.keylist.length ? this.cbid(id) + '.choices' : null;
		const input = E('input', { 'id': this.cbid(id), 'type': 'text', 'class': 'cbi-input-text', 'list': list, 'placeholder': this.placeholder });
		const node = E('div', { 'class': 'cbi-dynlist' }, [ items, input,
			list ? E('datalist', { 'id': list }, this.keylist.map((k, i) => E('option', { 'value': k }, [ this.vallist[i] ]))) : '',
			E('button', { 'type': 'button', 'class': 'btn cbi-button cbi-button-add', 'aria-label': this.title + ': +', 'click': () => take() }, [ '+' ]) ]);
		const add = v => items.appendChild(E('li', { 'data-value': v }, [ v + ' ', E('button', { 'type': 'button', 'class': 'btn', 'aria-label': '× ' + v, 'click': ev => { ev.currentTarget.parentNode.remove(); node.dispatchEvent(new Event('change')); } }, [ '×' ]) ]));
		/* What is wrong is not added. */
		const take = () => {
			const v = input.value.trim();

			if (v && this.wrong(id, v))
				return input.focus();
			if (v)
				add(v);
			input.value = '';
			node.dispatchEvent(new Event('change'));
		};

		input.addEventListener('keydown', ev => { if (ev.key == 'Enter') { ev.preventDefault(); take(); } });
		L.toArray(value).forEach(add);

		return node;
	},
	/* What is typed but not added yet counts. */
	formvalue: function(id) {
		const typed = this.nodes[id].querySelector('input').value.trim();

		return Array.from(this.nodes[id].querySelectorAll('li')).map(n => n.getAttribute('data-value')).concat(typed ? [ typed ] : []);
	}
});

const DummyValue = Value.extend({
	renderWidget: function(id, index, value) { return E('span', {}, [ value ]); },
	formvalue: () => null,
	parse: () => null
});

const Section = baseclass.extend({
	__init__: function(map, title, description) { Object.assign(this, { map: map, title: title, description: description, children: [], tabs: [] }); },
	option: function(type, ...args) { const o = new type(this.map, this, ...args); this.children.push(o); return o; },
	tab: function(name, title) { this.tabs.push([ name, title ]); },
	taboption: function(name, ...args) { const o = this.option(...args); o.tab = name; return o; },
	/* The options of a section as they stand in a form, in tabs where there are some. */
	renderOptions: function(id) {
		const options = this.children.filter(o => o.modalonly !== false);

		return Promise.all(options.map(o => o.render(id))).then(nodes => {
			const box = E('div', { 'class': 'cbi-section-node' });

			if (!this.tabs.length)
				dom.append(box, nodes);
			else {
				const panes = E('div', {}, this.tabs.map(t => E('div', { 'data-tab': t[0], 'data-tab-title': t[1] }, nodes.filter((n, i) => options[i].tab == t[0]))));

				box.appendChild(panes);
				ui.tabs.initTabGroup(panes.childNodes);
			}
			this.showDepending(id);

			return box;
		});
	},
	valueOf: function(id, name) { const o = this.children.filter(c => c.option == name)[0]; return o && o.nodes && o.nodes[id] ? o.formvalue(id) : null; },
	showDepending: function(id) {
		this.children.forEach(o => {
			const frame = o.nodes && o.nodes[id] && o.nodes[id].closest('.cbi-value');

			if (frame && o.deps.length)
				frame.style.display = o.active(id) ? '' : 'none';
		});
	},
	shown: function(id) { return this.children.filter(o => o.nodes && o.nodes[id]); },
	checkAll: function(id) {
		const bad = this.shown(id).map(o => o.check(id)).filter(x => x);

		if (bad.length)
			throw new Error(bad.join('; '));
	},
	parseOne: function(id) { this.checkAll(id); this.shown(id).forEach(o => o.parse(id)); }
});

const NamedSection = Section.extend({
	__init__: function(map, id, type, title, description) { this.super('__init__', [ map, title, description ]); this.id = id; },
	render: function() {
		return this.renderOptions(this.id).then(n => E('div', { 'class': 'cbi-section' }, [ this.title ? E('h3', {}, [ this.title ]) : '', this.description ? E('div', { 'class': 'cbi-section-descr' }, [ this.description ]) : '', n ]));
	},
	parse: function() { this.parseOne(this.id); }
});

/* A table of sections; a section's options are edited in a dialogue. */
const GridSection = Section.extend({
	__init__: function(map, type, title, description) { this.super('__init__', [ map, title, description ]); this.type = type; },
	ids: function() { return uci.sections(this.map.config, this.type).map(s => s['.name']); },
	render: function() { this.node = E('div', { 'class': 'cbi-section' }); return this.draw().then(() => this.node); },
	draw: function() {
		const columns = this.children.filter(o => !o.modalonly), ids = this.ids();

		return Promise.all(ids.map((id, at) => Promise.all(columns.map(o => o.editable ? o.render(id, true) : o.textvalue(id))).then(cells => this.row(columns, ids, id, at, cells)))).then(rows => dom.content(this.node, [
			this.title ? E('h3', {}, [ this.title ]) : '', this.description ? E('div', { 'class': 'cbi-section-descr' }, [ this.description ]) : '',
			E('table', { 'class': 'table cbi-section-table rd-table' }, [ E('tr', { 'class': 'tr table-titles' }, [ E('th', { 'class': 'th' }, [ _('Name') ]) ].concat(columns.map(o => E('th', { 'class': 'th' }, [ o.title ])), E('th', { 'class': 'th' }, [ '' ])))].concat(rows)),
			this.addremove ? this.addRow() : ''
		]));
	},
	row: function(columns, ids, id, at, cells) {
		const move = by => () => { uci.move(this.map.config, id, ids[at + by], by > 0); this.draw(); };

		return E('tr', { 'class': 'tr', 'data-sid': id }, [ E('td', { 'class': 'td', 'data-title': _('Name') }, [ id ]) ].concat(cells.map((c, i) => E('td', { 'class': 'td', 'data-title': columns[i].title }, c)), E('td', { 'class': 'td' }, [ E('div', { 'class': 'rd-actions' }, [
			this.sortable && at > 0 ? E('button', { 'type': 'button', 'class': 'btn', 'aria-label': '↑ ' + id, 'click': move(-1) }, [ '↑' ]) : '',
			this.sortable && at < ids.length - 1 ? E('button', { 'type': 'button', 'class': 'btn', 'aria-label': '↓ ' + id, 'click': move(1) }, [ '↓' ]) : '',
			E('button', { 'type': 'button', 'class': 'btn cbi-button cbi-button-edit', 'click': () => this.edit(id) }, [ _('Edit') ]),
			this.addremove ? E('button', { 'type': 'button', 'class': 'btn cbi-button cbi-button-remove', 'click': () => { uci.remove(this.map.config, id); this.draw(); } }, [ _('Delete') ]) : ''
		]) ])));
	},
	addRow: function() {
		const name = E('input', { 'type': 'text', 'class': 'cbi-section-create-name', 'aria-label': this.addbtntitle });

		return E('div', { 'class': 'cbi-section-create' }, [ name, E('button', { 'type': 'button', 'class': 'btn cbi-button cbi-button-add', 'click': () => {
			if (!/^[a-zA-Z0-9_]+$/.test(name.value) || uci.get(this.map.config, name.value))
				return name.focus();
			this.edit(uci.add(this.map.config, this.type, name.value), true);
		} }, [ this.addbtntitle ]) ]);
	},
	edit: function(id, fresh) {
		return this.renderOptions(id).then(n => ui.showModal(this.modaltitle(id), [ n, E('div', { 'class': 'right rd-actions' }, [
			E('button', { 'type': 'button', 'class': 'btn', 'click': () => { if (fresh) uci.remove(this.map.config, id); ui.hideModal(); this.draw(); } }, [ _('Dismiss') ]),
			E('button', { 'type': 'button', 'class': 'btn cbi-button cbi-button-positive important', 'click': () => { try { this.parseOne(id); } catch (e) { return; } ui.hideModal(); this.draw(); } }, [ _('Save') ])
		]) ]));
	},
	parse: function() { this.ids().forEach(id => this.children.filter(o => o.editable && o.nodes && o.nodes[id]).forEach(o => o.parse(id))); }
});

const Map = baseclass.extend({
	__init__: function(config, title) { Object.assign(this, { config: config, title: title, children: [] }); },
	section: function(type, ...args) { const s = new type(this, ...args); this.children.push(s); return s; },
	get: function(id, option) { return uci.get(this.config, id, option); },
	set: function(id, option, v) { uci.set(this.config, id, option, v); },
	render: function() {
		return Promise.all(this.children.map(s => s.render())).then(nodes => {
			const node = E('div', { 'class': 'cbi-map' }, [ this.title ? E('h2', {}, [ this.title ]) : '' ].concat(nodes));

			dom.bindClassInstance(node, this);

			return node;
		});
	},
	parse: function() { return new Promise((done, failed) => { try { this.children.forEach(s => s.parse()); done(); } catch (e) { failed(e); } }); },
	save: function() { return this.parse().then(() => uci.save()); }
});

const JSONMap = Map.extend({
	__init__: function(data, title) { this.super('__init__', [ 'json', title ]); this.data = { data: data }; },
	get: function(id, option) { const v = this.data.data[id][option]; return v === '' ? null : v; },
	set: function(id, option, v) { this.data.data[id][option] = v; }
});

return baseclass.extend({
	Map: Map, JSONMap: JSONMap, NamedSection: NamedSection, GridSection: GridSection,
	Value: Value, Flag: Flag, ListValue: ListValue, MultiValue: MultiValue, DynamicList: DynamicList, DummyValue: DummyValue
});
