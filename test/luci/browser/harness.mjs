// What every browser test shares: Chromium, and the rules that hold on each page.
import { createRequire } from 'node:module';
import { mkdirSync } from 'node:fs';

const { chromium } = createRequire(process.env.BROWSER_MODULES + '/')('playwright-core');

const FLAGS = [
	'--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
	'--disable-component-update', '--disable-sync',
];

/** A failed expectation. */
export function check(ok, text) {
	if (!ok)
		throw new Error(text);
}

/** A browser whose pages may only talk to the router. */
export class Browser {
	constructor(base, out) {
		this.base = base;
		this.out = out;
		this.faults = [];
		this.clicks = 0;
		mkdirSync(out, { recursive: true });
	}

	async open(options) {
		this.browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
		this.context = await this.browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
		this.page = await this.context.newPage();
		this.page.setDefaultTimeout(30000);
		this.page.on('console', m => {
			if (m.type() == 'error' || m.type() == 'warning')
				this.faults.push(this.page.url() + ': console: ' + m.text() + ' ' + m.location().url);
		});
		this.page.on('pageerror', e => this.faults.push(this.page.url() + ': ' + e.stack));
		this.page.on('request', r => {
			if (!r.url().startsWith(this.base) && !r.url().startsWith('blob:') && !r.url().startsWith('data:'))
				this.faults.push('a request off the router: ' + r.url());
		});

		return this.page;
	}

	/** Opens a page of ours and waits until its view is there. */
	async go(name) {
		await this.page.goto(this.base + '/cgi-bin/luci/admin/services/routerd/' + name);
		await this.page.waitForSelector('#view h2');
	}

	/** One click of a person. */
	async click(target) {
		this.clicks++;
		await (typeof target == 'string' ? this.page.locator(target) : target).first().click();
	}

	button(name) {
		return this.page.getByRole('button', { name: name, exact: true });
	}

	link(name) {
		return this.page.getByRole('link', { name: name, exact: true });
	}

	/** Nothing on the page is what a program shows by mistake. */
	async sound(what) {
		const text = await this.page.innerText('#view');
		const wrong = /.*(\[object |\bundefined\b|\bNaN\b|\bnull\b).*/.exec(text);

		check(!wrong, what + ' shows: ' + (wrong || [])[0]);
	}

	async shot(name) {
		await this.sound(name);
		await this.page.screenshot({ path: this.out + '/' + name + '.png', fullPage: true });
	}

	/** Names for every control, and no page that is wider than the screen. */
	async accessible(what, scope) {
		const nameless = await this.page.evaluate(scope => Array.from(document.querySelectorAll(scope + ' input, ' + scope + ' select, ' + scope + ' textarea, ' + scope + ' button, ' + scope + ' a'))
			.filter(n => n.offsetParent !== null && n.type != 'hidden')
			.filter(n => !(n.getAttribute('aria-label') || n.textContent.trim() || (n.labels && n.labels.length && n.labels[0].textContent.trim()) || n.title || (n.type == 'submit' && n.value)))
			.map(n => n.outerHTML.slice(0, 120)), scope);

		check(!nameless.length, what + ': controls without a name: ' + nameless.join(' '));
	}

	async fits(what) {
		const width = await this.page.evaluate(() => [ document.scrollingElement.scrollWidth, window.innerWidth ]);

		check(width[0] <= width[1], what + ': the page is ' + width[0] + ' wide on a screen of ' + width[1]);
	}

	/** Every control that can be seen gets the focus by the Tab key. They are told apart
	 * by their place: a page that is kept current makes them anew meanwhile. */
	async keyboard(what, scope) {
		const at = blur => this.page.evaluate(([ scope, blur ]) => {
			const all = Array.from(document.querySelectorAll([ 'input', 'select', 'textarea', 'button', 'a[href]' ].map(t => scope + ' ' + t).join(', ')))
				.filter(e => e.offsetParent !== null && !e.disabled);

			if (blur) {
				document.activeElement.blur();
				window.scrollTo(0, 0);
			}

			return [ all.length, all.indexOf(document.activeElement) ];
		}, [ scope, blur ]);
		const wanted = (await at(true))[0];
		const seen = new Set();

		for (let i = 0; i < wanted + 60 && seen.size < wanted; i++) {
			await this.page.keyboard.press('Tab');
			const place = (await at(false))[1];

			if (place >= 0)
				seen.add(place);
		}
		check(wanted > 0, what + ': there is no control');
		check(seen.size == wanted, what + ': the keyboard reaches ' + seen.size + ' of ' + wanted + ' controls');
	}

	async close() {
		check(!this.faults.length, 'faults');
		await this.browser.close();
	}

	/** Tells what went wrong and what there is to see, and ends. */
	async fail(e, name) {
		await this.shot(name + '-failed').catch(() => {});
		console.error(e.stack + '\n' + this.faults.join('\n') + '\n' + (await this.page.innerText('body').catch(() => '')).slice(0, 2000));
		process.exit(1);
	}
}
