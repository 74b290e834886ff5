// Settings that hold HTML are shown as the text they are: hostile.mjs BASE OUT
import { Browser, check } from './harness.mjs';

const [ base, out ] = process.argv.slice(2);
const b = new Browser(base, out);
const page = await b.open();
const wrong = [];
let known = 0; // parts that are not to be there, of this page

/** Notes where a setting became a part of the page, which would run it, or is not shown
 * where it is to be. */
async function look(what, scope) {
	const parts = await page.locator('img[src="x"]').count();

	if (parts > known)
		wrong.push(what + ' takes a setting for HTML');
	else if (scope && !(await page.locator(scope).innerText()).includes('<img src=x'))
		wrong.push(what + ' does not show what is set');
	known = parts;
}

async function go(name) {
	await b.go(name);
	known = 0;
}

try {
	for (const name of [ 'overview', 'diagnostics' ]) {
		await go(name);
		await look(name);
	}
	// What is refused is told on a page that is there all the same.
	await go('tunnels');
	await page.getByText('settings are not valid').waitFor();
	await look('tunnels', '#view');
	await go('destinations');
	await look('the list of destinations', 'tr[data-sid="hostile"]');
	await page.locator('tr[data-sid="hostile"]').getByRole('button', { name: 'Edit' }).click();
	await page.locator('.modal .rd-picker').waitFor();
	await look('the picker', '.modal .rd-picker p');
	for (const tab of [ 'how', 'who', 'checks' ]) {
		await page.locator('.modal [data-tab="' + tab + '"] a').first().click();
		await look('the tab ' + tab);
	}
	check(!wrong.length, wrong.join('\n'));
	await b.close();
	console.log(JSON.stringify({ ok: true }));
} catch (e) {
	await b.fail(e, 'hostile');
}
