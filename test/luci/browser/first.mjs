// From an empty page to a steered exchange: first.mjs BASE OUT TUNNEL-FILE
import { readFileSync } from 'node:fs';
import { Browser, check } from './harness.mjs';

const [ base, out, file ] = process.argv.slice(2);
const b = new Browser(base, out);
const page = await b.open();

try {
	await b.go('overview');
	await page.getByText('There is no tunnel yet, so nothing is steered').waitFor();
	await b.shot('first-1-empty');
	await b.click(b.link('Add a tunnel'));
	await page.waitForSelector('#rd-text');

	// What is wrong is said, and nothing is lost.
	await page.fill('#rd-text', '[Interface]\nPrivateKey = nonsense\nPostUp = reboot\n');
	await b.button('Import').click();
	await page.getByText('Not imported').waitFor();
	await b.shot('first-2-refused');

	await page.fill('#rd-text', readFileSync(file, 'utf8'));
	await b.click(b.button('Import'));
	await page.getByText('Tunnel home is added.').waitFor();
	check(!(await page.content()).includes(/PrivateKey = (\S+)/.exec(readFileSync(file, 'utf8'))[1]), 'the private key is on the page');
	await page.locator('.rd-good', { hasText: 'up' }).first().waitFor();
	await b.shot('first-3-tunnel');

	await b.go('overview');
	await page.getByText(/All is well|Listed services work/).waitFor();
	await b.shot('first-4-steered');
	await b.close();
	console.log(JSON.stringify({ clicks: b.clicks }));
} catch (e) {
	await b.fail(e, 'first');
}
