'use strict';
/* Stands in for LuCI's client library: classes, the loader of pages, rpc, uci,
 * poll, dom, view and ui, as far as routerd's pages use them and as LuCI's
 * documentation describes them. Forms are in form.js. */

/* Classes: extend gives a constructor; `this.super(name, args)` calls above. */
function Class() {}

Class.extend = function(properties) {
	const above = this;
	const made = function(...args) {
		if (this.__init__)
			this.__init__(...args);
	};

	made.prototype = Object.create(above.prototype);
	Object.assign(made.prototype, properties);
	made.prototype.constructor = made;
	made.prototype.super = function(name, args) {
		let at = Object.getPrototypeOf(this);

		while (at && !Object.prototype.hasOwnProperty.call(at, name))
			at = Object.getPrototypeOf(at);

		return Object.getPrototypeOf(at)[name].apply(this, args || []);
	};
	made.extend = Class.extend;
	made.singleton = Class.singleton;

	return made;
};
Class.singleton = function(properties, ...args) {
	return new (this.extend(properties))(...args);
};

const instances = new WeakMap();

const dom = {
	append: append,
	content: (node, children) => { node.replaceChildren(); return append(node, children); },
	elem: n => n instanceof Node,
	bindClassInstance: (node, instance) => { instances.set(node, instance); return instance; },
	findClassInstance: node => { while (node && !instances.has(node)) node = node.parentNode; return node ? instances.get(node) : null; },
	callClassMethod: (node, name, ...args) => { const i = dom.findClassInstance(node); return i && i[name] ? i[name](...args) : null; }
};

let counter = 1;

const rpc = {
	declare: o => (...args) => {
		const params = {};

		(o.params || []).forEach((name, i) => { if (args[i] !== undefined) params[name] = args[i]; });

		return fetch('/ubus/', {
			method: 'POST', headers: { 'Content-Type': 'application/json' },
			body: JSON.stringify({ jsonrpc: '2.0', id: counter++, method: 'call', params: [ L.env.sessionid, o.object, o.method, params ] })
		}).then(r => r.json()).then(reply => {
			if (reply.error)
				throw new Error(reply.error.message);

			let data = reply.result.length > 1 ? reply.result[1] : reply.result[0];

			for (const key in o.expect || {}) {
				const part = key == '' ? data : (data || {})[key];

				data = part != null && typeof part == typeof o.expect[key] ? part : o.expect[key];
			}

			return data;
		});
	}
};

const poll = {
	add: (fn, interval) => {
		const again = () => window.setTimeout(() => Promise.resolve(document.hidden ? null : fn()).catch(() => {}).then(again), (interval || L.env.pollinterval) * 1000);

		again();

		return true;
	}
};

const callGet = rpc.declare({ object: 'uci', method: 'get', params: [ 'config' ], expect: { values: {} } });
const callAdd = rpc.declare({ object: 'uci', method: 'add', params: [ 'config', 'type', 'name', 'values' ], expect: { section: '' } });
const callSet = rpc.declare({ object: 'uci', method: 'set', params: [ 'config', 'section', 'values' ] });
const callDelete = rpc.declare({ object: 'uci', method: 'delete', params: [ 'config', 'section', 'options' ] });
const callOrder = rpc.declare({ object: 'uci', method: 'order', params: [ 'config', 'sections' ] });
const callChanges = rpc.declare({ object: 'uci', method: 'changes', expect: { changes: {} } });

/* Settings: what was loaded, and what of it is to be saved. */
const uci = {
	loaded: {},
	added: [], changed: {}, removed: [], ordered: false,

	load: config => callGet(config).then(values => { uci.loaded[config] = values; return config; }),
	sections: (config, type) => Object.values(uci.loaded[config] || {}).filter(s => !type || s['.type'] == type).sort((a, b) => a['.index'] - b['.index']),
	get: (config, id, option) => { const s = (uci.loaded[config] || {})[id]; return s ? (option == null ? s : s[option]) : undefined; },
	set: (config, id, option, value) => {
		const s = uci.loaded[config][id];

		if (!s)
			return;
		if (value == null || value === '')
			delete s[option];
		else
			s[option] = value;
		(uci.changed[id] = uci.changed[id] || {})[option] = value == null || value === '' ? null : value;
	},
	unset: (config, id, option) => uci.set(config, id, option, null),
	add: (config, type, name) => {
		const all = uci.sections(config);

		uci.loaded[config][name] = { '.name': name, '.type': type, '.anonymous': false, '.index': all.length ? all[all.length - 1]['.index'] + 1 : 0 };
		uci.added.push(name);

		return name;
	},
	remove: (config, id) => {
		delete uci.loaded[config][id];
		if (uci.added.indexOf(id) >= 0)
			uci.added = uci.added.filter(a => a != id);
		else
			uci.removed.push(id);
	},
	move: (config, id, other, after) => {
		const all = uci.sections(config).filter(s => s['.name'] != id), moved = uci.loaded[config][id];
		const at = all.findIndex(s => s['.name'] == other) + (after ? 1 : 0);

		all.splice(at, 0, moved);
		all.forEach((s, i) => s['.index'] = i);
		uci.ordered = true;
	},
	save: () => {
		const config = 'routerd', tasks = [];
		const step = fn => tasks.push(fn);

		uci.removed.forEach(id => step(() => callDelete(config, id)));
		uci.added.forEach(id => step(() => callAdd(config, uci.loaded[config][id]['.type'], id, {})));
		Object.keys(uci.changed).forEach(id => {
			const set = {}, gone = [];

			if (!uci.loaded[config][id])
				return;
			Object.keys(uci.changed[id]).forEach(o => uci.changed[id][o] == null ? gone.push(o) : set[o] = uci.changed[id][o]);
			if (gone.length && uci.added.indexOf(id) < 0)
				step(() => callDelete(config, id, gone));
			if (Object.keys(set).length)
				step(() => callSet(config, id, set));
		});
		if (uci.ordered)
			step(() => callOrder(config, uci.sections(config).map(s => s['.name'])));

		return tasks.reduce((before, t) => before.then(t), Promise.resolve()).then(() => {
			uci.added = []; uci.removed = []; uci.changed = {}; uci.ordered = false;
		});
	},
	changes: () => callChanges()
};

/* A widget: it renders a node and gives its value. */
const AbstractElement = Class.extend({
	getValue: function() { return this.node.value; },
	setValue: function(v) { this.node.value = v; },
	isValid: function() { return true; },
	triggerValidation: function() { return true; },
	setChangeEvents: function(node, ...events) {
		events.forEach(e => node.addEventListener(e, () => node.dispatchEvent(new CustomEvent('widget-change', { bubbles: true }))));
	},
	setUpdateEvents: function() {}
});

const tabs = {
	initTabGroup: panes => {
		panes = Array.from(panes);

		const group = panes[0].parentNode, menu = E('ul', { 'class': 'cbi-tabmenu' });
		const active = panes.findIndex(p => p.getAttribute('data-tab-active') == 'true');
		const choose = name => panes.forEach((p, i) => {
			const on = p.getAttribute('data-tab') == name;

			p.setAttribute('data-tab-active', on);
			p.style.display = on ? '' : 'none';
			menu.children[i].className = on ? 'cbi-tab' : 'cbi-tab-disabled';
			if (on)
				p.dispatchEvent(new CustomEvent('cbi-tab-active', { detail: { tab: name } }));
		});

		panes.forEach(p => menu.appendChild(E('li', { 'data-tab': p.getAttribute('data-tab') }, [
			E('a', { 'href': '#', 'click': ev => { ev.preventDefault(); choose(p.getAttribute('data-tab')); } }, [ p.getAttribute('data-tab-title') ])
		])));
		group.parentNode.insertBefore(menu, group);
		choose(panes[Math.max(0, active)].getAttribute('data-tab'));
	}
};

const ui = {
	AbstractElement: AbstractElement,
	tabs: tabs,
	showModal: (title, children, ...classes) => {
		ui.hideModal();

		const modal = E('div', { 'id': 'modal_overlay', 'role': 'dialog', 'aria-modal': 'true' }, [ E('div', { 'class': [ 'modal', ...classes ].join(' ') }, [ title ? E('h4', {}, title) : '' ].concat(children)) ]);

		document.body.appendChild(modal);

		return modal.firstChild;
	},
	hideModal: () => { const m = document.getElementById('modal_overlay'); if (m) m.remove(); },
	addNotification: (title, children, ...classes) => {
		const box = E('div', { 'class': [ 'alert-message', 'notification', ...classes ].join(' ') }, [
			E('button', { 'class': 'btn', 'style': 'float:right', 'click': ev => ev.target.parentNode.remove() }, [ _('Dismiss') ]), title ? E('h4', {}, title) : '' ].concat(children));

		document.getElementById('maincontent').prepend(box);

		return box;
	},
	createHandlerFn: (ctx, fn, ...args) => {
		const call = typeof fn == 'string' ? ctx[fn] : fn;

		return ev => {
			const node = ev.currentTarget;

			node.disabled = true;
			node.classList.add('spinning');

			return Promise.resolve(call.apply(ctx, args.concat([ ev ]))).finally(() => { node.disabled = false; node.classList.remove('spinning'); });
		};
	},
	changes: {
		apply: () => fetch('/cgi-bin/luci/admin/uci/apply_rollback', { method: 'POST' }).then(r => {
			if (!r.ok)
				throw new Error('apply: ' + r.status);

			return fetch('/cgi-bin/luci/admin/uci/confirm', { method: 'POST' });
		}).then(() => { window.location.reload(); })
	},
	instantiateView: path => L.require('view.' + path.replace(/\//g, '.'))
};

/* A page: load, then render, then the buttons of its foot. */
const view = Class.extend({
	__init__: function() {
		const node = document.getElementById('view');

		Promise.resolve(this.load()).then(found => this.render(found)).then(content => {
			dom.content(node, [ content, this.addFooter() ]);
		}).catch(err => { ui.addNotification(err.name, E('pre', {}, err.message), 'danger'); throw err; });
	},
	load: () => null,
	maps: () => Array.from(document.querySelectorAll('.cbi-map')).map(n => dom.findClassInstance(n)),
	handleSave: function() { return Promise.all(this.maps().map(m => m.save())); },
	handleSaveApply: function() { return this.handleSave().then(() => ui.changes.apply()); },
	handleReset: function() { window.location.reload(); },
	addFooter: function() {
		if (!this.handleSave)
			return '';

		return E('div', { 'class': 'cbi-page-actions' }, [
			E('button', { 'class': 'btn cbi-button cbi-button-apply important', 'click': ui.createHandlerFn(this, 'handleSaveApply') }, [ _('Save & Apply') ]),
			E('button', { 'class': 'btn cbi-button cbi-button-save', 'click': ui.createHandlerFn(this, 'handleSave') }, [ _('Save') ]),
			E('button', { 'class': 'btn cbi-button cbi-button-reset', 'click': ui.createHandlerFn(this, 'handleReset') }, [ _('Reset') ])
		]);
	}
});

const builtin = { baseclass: Class, dom: dom, rpc: rpc, uci: uci, poll: poll, ui: ui, view: view };

/* A module begins with lines of 'require NAME [as ALIAS]'. */
class LuCI {
	constructor(env) {
		this.env = env;
		this.modules = {};
		Object.assign(this, {
			toArray: v => v == null ? [] : (Array.isArray(v) ? v : (typeof v == 'object' ? [ v ] : String(v).trim().split(/\s+/).filter(w => w))),
			isObject: v => v != null && typeof v == 'object',
			resolveDefault: (v, d) => Promise.resolve(v).catch(() => d),
			url: (...parts) => this.env.scriptname + '/' + parts.join('/'),
			resource: (...parts) => this.env.resource + '/' + parts.join('/'),
			bind: (fn, self, ...args) => fn.bind(self, ...args)
		});
	}

	require(name) {
		if (builtin[name])
			return Promise.resolve(builtin[name]);
		this.modules[name] = this.modules[name] || this.fetch(name);

		return this.modules[name];
	}

	fetch(name) {
		return fetch(this.resource(name.replace(/\./g, '/') + '.js')).then(r => {
			if (!r.ok)
				throw new Error(name + ': ' + r.status);

			return r.text();
		}).then(source => {
			const wanted = Array.from(source.matchAll(/^'require ([\w.]+)(?: as (\w+))?';$/gm));

			return Promise.all(wanted.map(w => this.require(w[1]))).then(modules => {
				const made = new Function('L', ...wanted.map(w => w[2] || w[1].replace(/\./g, '_')), source + '\n//# sourceURL=' + name).call(window, this, ...modules);

				return new made();
			});
		});
	}
}

window.LuCI = LuCI;
