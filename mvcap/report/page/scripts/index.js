// Everything of the page is at hand by now: the script stands at its end.

startTheme();
paintWritten();
let openDetails = null;
const turntable = DATA.turntables.length ? startTurntable(() => openDetails) : { has: () => false, show: () => {} };
openDetails = startDetails(turntable);
startBrowser(openDetails);
