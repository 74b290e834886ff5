'use strict';
'require baseclass';
'require dom';
'require form';
'require ui';
'require routerd.api as api';

/* Picks services of the catalogue: a form option whose value is the list of the
 * ids. The catalogue is asked for once. */

const categories = {
	exchange: () => _('Exchanges'),
	pool: () => _('Mining pools'),
	analytics: () => _('Analytics'),
	wallet: () => _('Wallets'),
	management: () => _('Management')
};

let catalogue = null;

function services() {
	catalogue = catalogue || api.catalogue([]).then(r => r.services, err => { catalogue = null; throw err; });

	return catalogue;
}

/* What a service is found by. */
function haystack(s) {
	return [ s.id, s.name, s.category ].concat(s.domains).join(' ').toLowerCase();
}

const Widget = ui.AbstractElement.extend({
	__init__: function(value, all, options) {
		this.value = L.toArray(value);
		this.all = all;
		this.options = options || {};
	},

	render: function() {
		const id = this.options.id;
		const search = E('input', { 'type': 'search', 'id': id, 'placeholder': _('Search: name or domain'), 'aria-label': _('Search services'), 'input': () => this.filter() });
		const summary = E('p', { 'class': 'rd-reason', 'aria-live': 'polite' });
		const node = E('div', { 'class': 'rd-picker', 'id': id ? id + '.picker' : null }, [ search, summary ]);

		Object.keys(categories).forEach(c => {
			const mine = this.all.filter(s => s.category == c);

			if (!mine.length)
				return;
			node.appendChild(E('fieldset', { 'data-category': c }, [ E('legend', {}, [ categories[c]() ]) ].concat(mine.map(s =>
				E('label', { 'title': s.domains.join(' '), 'data-words': haystack(s) }, [
					E('input', { 'type': 'checkbox', 'value': s.id, 'checked': this.value.indexOf(s.id) >= 0 ? '' : null, 'change': () => this.summarise() }), s.name
				])))));
		});

		return this.bind(node);
	},

	bind: function(node) {
		this.node = node;
		this.setChangeEvents(node, 'change');
		dom.bindClassInstance(node, this);
		this.filter();

		return node;
	},

	/* Shows what matches every word, and what is picked already. */
	filter: function() {
		const words = this.node.querySelector('input[type=search]').value.toLowerCase().split(/\s+/).filter(w => w);

		this.node.querySelectorAll('fieldset').forEach(group => {
			let shown = 0;

			group.querySelectorAll('label').forEach(l => {
				const fits = words.every(w => l.getAttribute('data-words').indexOf(w) >= 0);

				l.style.display = fits ? '' : 'none';
				shown += fits ? 1 : 0;
			});
			group.style.display = shown ? '' : 'none';
		});
		this.summarise();
	},

	summarise: function() {
		const picked = this.getValue();

		/* In a list: LuCI takes a text by itself for HTML. */
		dom.content(this.node.querySelector('p'), [ picked.length ? _('Picked: %s').replace('%s', picked.join(', ')) : _('None picked.') ]);
	},

	/* Services that are set but unknown to this catalogue are kept. */
	getValue: function() {
		const boxes = Array.from(this.node.querySelectorAll('input[type=checkbox]'));
		const known = boxes.map(b => b.value);

		return this.value.filter(v => known.indexOf(v) < 0).concat(boxes.filter(b => b.checked).map(b => b.value));
	},

	setValue: function(value) {
		this.value = L.toArray(value);
		this.node.querySelectorAll('input[type=checkbox]').forEach(b => b.checked = this.value.indexOf(b.value) >= 0);
		this.summarise();
	}
});

const Option = form.Value.extend({
	__name__: 'Routerd.ServicePicker',

	renderWidget: function(section_id, option_index, cfgvalue) {
		return services().catch(() => []).then(all =>
			new Widget(cfgvalue != null ? cfgvalue : this.default, all, { id: this.cbid(section_id) }).render());
	}
});

return baseclass.extend({
	categories: categories,
	Option: Option
});
