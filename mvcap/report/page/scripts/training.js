// Everything of the page is at hand by now: the script stands at its end.

startTheme();
