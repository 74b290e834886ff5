// A day's work on every page: work.mjs BASE OUT PUBLIC-KEY
import { Browser, check } from './harness.mjs';

const [ base, out, peer ] = process.argv.slice(2);
const b = new Browser(base, out);
const page = await b.open();

/** A destination is edited in a dialogue; what is typed is judged at once. */
async function destinations() {
	await b.go('destinations');
	await page.locator('tr[data-sid="exchanges"]').getByRole('button', { name: 'Edit' }).click();

	const modal = page.locator('.modal');

	await modal.locator('.rd-picker input[type=search]').fill('f2pool');
	check(await modal.locator('.rd-picker label:visible').count() == 1, 'the search does not find one service');
	await modal.locator('.rd-picker label:visible input').check();
	const own = modal.locator('[data-name="domain"] input[type=text]').first();

	await own.pressSequentially('https://wrong.example/');
	await own.press('Enter');
	check(await modal.locator('.cbi-dynlist li, .cbi-dynlist .item', { hasText: 'wrong.example' }).count() == 0, 'the address of a page is taken for a name');
	await b.shot('work-destination-what');
	await own.fill('');
	await own.pressSequentially('mine.example');
	await own.press('Enter');
	await modal.locator('[data-tab="how"] a').first().click();
	await b.shot('work-destination-how');
	await modal.locator('[data-tab="who"] a').first().click();
	await b.shot('work-destination-who');
	await modal.getByRole('button', { name: 'Save', exact: true }).click();
	await modal.waitFor({ state: 'hidden' });
	await b.shot('work-destinations');
	await Promise.all([ page.waitForEvent('load', { timeout: 60000 }), page.locator('.cbi-page-actions').getByText('Save & Apply').first().click() ]);
	await page.waitForSelector('tr[data-sid="exchanges"]');
}

/** A tunnel is made by hand, tested, and removed again. */
async function tunnels() {
	await b.go('tunnels');
	await b.button('Test').first().click();
	await page.getByText('The other end answers').waitFor();
	await b.shot('work-test');
	await b.button('Close').click();
	await page.locator('[data-tab="hand"] a').first().click();

	const hand = page.locator('div[data-tab="hand"]');

	await hand.locator('[data-name="name"] input').fill('mine');
	await hand.locator('[data-name="addresses"] input[type=text]').first().pressSequentially('10.99.0.2/32');
	await hand.locator('[data-name="addresses"] input[type=text]').first().press('Enter');
	await hand.locator('[data-name="endpoint"] input').fill('22.50.0.9:51820');
	await hand.locator('[data-name="public_key"] input').fill(peer);
	await b.shot('work-by-hand');
	await b.button('Add this tunnel').click();
	await page.getByText('Tunnel mine is added.').waitFor();

	const row = page.locator('tr', { has: page.locator('strong', { hasText: /^mine$/ }) });

	await row.getByRole('button', { name: 'Prefer' }).click();
	await page.waitForFunction(() => document.querySelector('.rd-table strong').textContent == 'mine');
	await row.getByRole('button', { name: 'Switch off' }).click();
	await row.locator('.rd-badge', { hasText: 'off' }).waitFor();
	await row.getByRole('button', { name: 'Remove' }).click();
	await page.locator('.modal').getByRole('button', { name: 'Remove' }).click();
	await row.waitFor({ state: 'detached' });
}

async function diagnostics() {
	await b.go('diagnostics');
	await b.button('Check now').click();
	await page.locator('[data-tab="check"] [aria-live]').getByText(/Done|cannot do that/).waitFor({ timeout: 120000 });
	await b.shot('work-check');
	await page.locator('[data-tab="why"] a').first().click();
	await page.getByLabel('Name or address').fill('www.binance.com');
	await b.button('Ask').click();
	await page.getByText('binance.com', { exact: true }).first().waitFor();
	await b.shot('work-why');
	for (const tab of [ 'flows', 'events', 'doctor' ]) {
		await page.locator('[data-tab="' + tab + '"] a').first().click();
		await page.locator('div[data-tab="' + tab + '"] table').waitFor();
		await b.shot('work-' + tab);
	}
	await page.locator('[data-tab="report"] a').first().click();
	await b.button('Make a report').click();
	const [ file ] = await Promise.all([ page.waitForEvent('download'), page.locator('a[download]').click() ]);
	check(/^routerd-report-.*\.txt$/.test(file.suggestedFilename()), 'the report is called ' + file.suggestedFilename());
	const text = await page.locator('div[data-tab="report"] pre').innerText();
	check(text.includes('== doctor') && text.includes("config destination 'exchanges'"), 'the report lacks parts');
	check(!/[A-Za-z0-9+\/]{43}=/.test(text), 'the report holds a key');
}

try {
	await destinations();
	await tunnels();
	await diagnostics();
	await b.close();
	console.log(JSON.stringify({ ok: true }));
} catch (e) {
	await b.fail(e, 'work');
}
