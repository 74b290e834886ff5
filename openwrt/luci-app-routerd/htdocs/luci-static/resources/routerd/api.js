'use strict';
'require baseclass';
'require rpc';

/* The ubus object routerd. Each function gives a promise of the reply; a reply
 * that is a failure rejects it with an Error that has a code: "not_running",
 * "usage", "unsupported" (by this version), "failed", or "refused" where rpcd
 * itself does not let us ask. */

function declare(method, params) {
	const call = rpc.declare({ object: 'routerd', method: method, params: params });

	return function() {
		return Promise.resolve(call.apply(null, arguments)).then(reply => {
			if (reply == null || typeof(reply) != 'object')
				throw failure(_('The router does not answer: log in again, or restart rpcd (error %s).').replace('%s', String(reply)), 'refused');

			if (reply.error)
				throw failure(reply.error, reply.code, reply.problems);

			return reply;
		});
	};
}

function failure(text, code, problems) {
	const err = new Error(text);

	err.code = code;
	err.problems = problems || [];

	return err;
}

return baseclass.extend({
	status: declare('status'),
	why: declare('why', [ 'query', 'client' ]),
	flows: declare('flows'),
	events: declare('events', [ 'since' ]),
	doctor: declare('doctor'),
	catalogue: declare('catalogue'),
	lists: declare('lists'),
	validate: declare('validate'),
	report: declare('report'),
	checks: declare('checks'),
	check: declare('check', [ 'what' ]),
	history: declare('history', [ 'destination' ]),
	tunnels: declare('tunnel_list'),
	importTunnel: declare('tunnel_import', [ 'name', 'text', 'replace' ]),
	createTunnel: declare('tunnel_create', [ 'name', 'addresses', 'public_key', 'preshared_key', 'endpoint', 'allowed_ips', 'mtu', 'persistent_keepalive' ]),
	attachTunnel: declare('tunnel_attach', [ 'name', 'device' ]),
	changeTunnel: declare('tunnel_change', [ 'name', 'action' ]),
	removeTunnel: declare('tunnel_remove', [ 'name' ]),
	reload: declare('reload'),
	start: declare('start'),
	updateLists: declare('lists_update', [ 'name' ]),

	/* The names of hosts by address, as far as the router knows them. */
	hosts: rpc.declare({ object: 'luci-rpc', method: 'getHostHints', expect: { '': {} } })
});
