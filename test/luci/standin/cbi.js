'use strict';
/* Stands in for LuCI's cbi.js: the globals that pages use. Texts are looked up by
 * themselves; LuCI looks up their hash. */

function _(text, context) {
	const key = (context != null ? context + '\x01' : '') + text;

	return (window.TEXTS && window.TEXTS[key]) || text;
}

/* E(name, attributes, children) makes an element. */
function E(name, attributes, children) {
	if (Array.isArray(name)) {
		const fragment = document.createDocumentFragment();

		append(fragment, name);

		return fragment;
	}

	const node = document.createElement(name);

	if (attributes != null && (typeof attributes != 'object' || attributes instanceof Node || Array.isArray(attributes))) {
		children = attributes;
		attributes = {};
	}
	for (const key in attributes) {
		if (typeof attributes[key] == 'function')
			node.addEventListener(key, attributes[key]);
		else if (attributes[key] != null)
			node.setAttribute(key, attributes[key]);
	}
	append(node, children);

	return node;
}

/* Only what is in a list becomes text: LuCI takes a string by itself for HTML, and
 * what is missing in a list for a word. */
function append(node, child) {
	if (child == null)
		return null;
	/* A list in a list is no list of children to LuCI: it becomes its text. */
	if (Array.isArray(child))
		child.forEach(c => node.appendChild(c instanceof Node ? c : document.createTextNode(String(c))));
	else if (typeof child == 'function')
		return append(node, child(node));
	else if (child instanceof Node)
		node.appendChild(child);
	else
		node.innerHTML = String(child);

	return node.lastChild;
}
