// Every page in light, dark and narrow: pages.mjs BASE OUT PREFIX [real]
import { Browser, check } from './harness.mjs';

const [ base, out, prefix, real ] = process.argv.slice(2);
const looks = {
	light: { colorScheme: 'light' },
	dark: { colorScheme: 'dark' },
	narrow: { colorScheme: 'light', viewport: { width: 360, height: 740 } },
};

for (const look in looks) {
	const b = new Browser(base, out);
	const page = await b.open(looks[look]);

	try {
		for (const name of [ 'overview', 'destinations', 'tunnels', 'diagnostics' ]) {
			await b.go(name);
			if (name == 'overview' || name == 'tunnels')
				await page.waitForSelector('#view table, #view .alert-message');
			if (look == 'light') {
				// LuCI's own tables have boxes without a name.
				await b.accessible(name, real && name == 'destinations' ? '.rd-page' : '#view');
				if (name == 'tunnels' || name == 'diagnostics')
					await b.keyboard(name, '#view');
			}
			await b.fits(prefix + name + ' ' + look);
			await b.shot(prefix + name + '-' + look);
		}
		await b.close();
	} catch (e) {
		await b.fail(e, prefix + look);
	}
}
console.log(JSON.stringify({ ok: true }));
